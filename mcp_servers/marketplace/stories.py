"""Scenes on the marketplace that use every tool and meet every rule, and tasks whose steps have one order."""

from __future__ import annotations

from typing import Any, NamedTuple

from palaestra.mcp_servers.framework.stories import Teller

Found = dict[str, Any]


class Own(NamedTuple):
    """The user's own auctions."""

    led: str
    below_reserve: str
    ignored: str
    unsold: str


class Others(NamedTuple):
    """Others' auctions, by how the user stands in them."""

    unbid: str
    rival: str
    led: str
    late: str
    outbid: str
    over: str
    dear: str


def _user(tell: Teller) -> Found:
    found: Found = tell.items("list_sellers", is_user=True)[0]
    return found


def _own(tell: Teller) -> Own:
    """The user's auctions, told apart by their bids and reserve."""
    mine = tell.items("list_listings", seller_id=_user(tell)["seller_id"])
    opened = [row for row in mine if row["status"] == "open"]
    plain = [row["listing_id"] for row in opened if row["reserve_price"] == 0]
    led = next(key for key in plain if tell.items("list_bids", listing_id=key))
    return Own(
        led,
        next(row["listing_id"] for row in opened if row["reserve_price"]),
        next(key for key in plain if key != led),
        next(row["listing_id"] for row in mine if row["status"] == "unsold"),
    )


def _others(tell: Teller) -> Others:
    """Others' auctions: those the user has bid in, and what the running ones look like."""
    user = _user(tell)
    standing = [row["listing_id"] for row in tell.items("list_bids", bidder_id=user["seller_id"], status="standing")]
    beaten = tell.items("list_bids", bidder_id=user["seller_id"], status="outbid")[0]["listing_id"]
    ends = {row["listing_id"]: row["ends_at"] for row in tell.items("list_listings", status="open")}
    over, late, led = sorted(standing, key=lambda key: (str(ends[key]), key))
    running = [row for row in tell.items("browse_auctions") if not row["is_own"]]
    return Others(
        next(row["listing_id"] for row in running if not row["bids"] and row["least_next_bid"] <= 2_500),
        tell.items("browse_auctions", watched_only=True)[0]["listing_id"],
        led,
        late,
        beaten,
        over,
        next(row["listing_id"] for row in running if row["least_next_bid"] == user["balance"] + 10_000),
    )


def _auction(tell: Teller, listing_id: str) -> Found:
    """A running auction as it is browsed."""
    found: Found = next(row for row in tell.items("browse_auctions") if row["listing_id"] == listing_id)
    return found


def _standing(tell: Teller, listing_id: str) -> str:
    return str(tell.items("list_bids", listing_id=listing_id, status="standing")[0]["bid_id"])


def _sale_of(tell: Teller, listing_id: str) -> str:
    return str(tell.items("list_sales", listing_id=listing_id)[0]["sale_id"])


# -- stories -------------------------------------------------------------------------------------------------------


def outbid_a_rival(tell: Teller) -> None:
    """The watched item is bought above a rival's bid; others are over, one's own, too dear, or too late to retract."""
    own, other = _own(tell), _others(tell)
    least = _auction(tell, other.rival)["least_next_bid"]
    tell.refused("auction_is_running", "place_bid", listing_id=other.over, amount=50_000)
    tell.refused("listing_is_not_own", "place_bid", listing_id=own.led, amount=50_000)
    tell.refused("bid_reaches_minimum", "place_bid", listing_id=other.rival, amount=least - 1)
    dear = _auction(tell, other.dear)["start_price"]
    tell.refused("free_money_covers_bid", "place_bid", listing_id=other.dear, amount=dear)
    tell.refused("conflict", "create_listing_watch", listing_id=other.rival)
    tell.refused("bid_is_own", "retract_bid", bid_id=_standing(tell, other.rival))
    lost = tell.items("list_bids", listing_id=other.outbid, bidder_id=_user(tell)["seller_id"])[0]["bid_id"]
    tell.refused("bid_is_standing", "retract_bid", bid_id=lost)
    tell.refused("end_is_twelve_hours_away", "retract_bid", bid_id=_standing(tell, other.late))
    bid = tell.call("place_bid", listing_id=other.rival, amount=least)
    tell.refused("listing_is_own", "accept_bid", bid_id=bid["bid_id"])
    tell.refused("user_takes_part", "conclude_auction", listing_id=other.unbid)
    bought = tell.call("conclude_auction", listing_id=other.rival)
    assert (bought["status"], bought["highest_bid"]) == ("sold", least)  # noqa: S101 - a story holds its server to its rules
    tell.refused("auction_is_undecided", "conclude_auction", listing_id=other.rival)
    sale = {"sale_id": _sale_of(tell, other.rival), "verdict": "positive", "text": "Merci beaucoup !"}
    tell.call("leave_feedback", **sale)
    tell.refused("feedback_is_new", "leave_feedback", **sale)
    assert tell.call("show_seller_record", seller_id=bought["seller_id"])["positive"] >= 1  # noqa: S101


def free_the_money(tell: Teller) -> None:
    """A bid is retracted, the rival leads again, and the money pays for something dearer."""
    other = _others(tell)
    dear = _auction(tell, other.dear)["start_price"]
    retracted = _standing(tell, other.led)
    tell.call("retract_bid", bid_id=retracted)
    assert _standing(tell, other.led) != retracted  # noqa: S101
    tell.call("place_bid", listing_id=other.dear, amount=dear)
    tell.call("create_listing_watch", listing_id=other.led)
    tell.call("conclude_auction", listing_id=other.over)


def sell_at_last(tell: Teller) -> None:
    """A bid is accepted early; what nobody wants, or not for its reserve, is offered again."""
    own, other = _own(tell), _others(tell)
    bids = tell.items("list_bids", listing_id=own.led)
    beaten = next(row["bid_id"] for row in bids if row["status"] == "outbid")
    again = {"start_price": 500, "ends_at": "2026-03-09T18:00:00Z"}
    tell.refused("bid_is_standing", "accept_bid", bid_id=beaten)
    tell.refused("listing_is_own", "relist_item", listing_id=other.unbid, **again)
    tell.refused("listing_is_unsold", "relist_item", listing_id=own.led, **again)
    tell.refused(
        "new_end_is_in_reach", "relist_item", listing_id=own.unsold, **again | {"ends_at": "2026-03-02T20:00:00Z"}
    )
    new = tell.call("relist_item", listing_id=own.unsold, **again)
    assert new["relisted_from_id"] == own.unsold  # noqa: S101
    ended = tell.call("conclude_auction", listing_id=own.below_reserve)
    assert ended["status"] == "unsold"  # noqa: S101
    sale = tell.call("accept_bid", bid_id=_standing(tell, own.led))
    feedback = {"verdict": "neutral", "text": "-"}
    tell.refused("item_has_arrived", "leave_feedback", sale_id=sale["sale_id"], **feedback)
    user = _user(tell)["seller_id"]
    foreign = next(row for row in tell.items("list_sales") if user not in (row["seller_id"], row["buyer_id"]))
    tell.refused("sale_is_own", "leave_feedback", sale_id=foreign["sale_id"], **feedback)


def hesitate_too_long(tell: Teller) -> None:
    """After two weeks the best bid can no longer be accepted, only the end awaited."""
    own = _own(tell)
    bid = _standing(tell, own.led)
    tell.wait(14 * 86_400)
    tell.refused("auction_is_running", "accept_bid", bid_id=bid)
    assert tell.call("conclude_auction", listing_id=own.led)["status"] == "sold"  # noqa: S101


STORIES = [outbid_a_rival, free_the_money, sell_at_last, hesitate_too_long]

# -- chains --------------------------------------------------------------------------------------------------------


def win_the_watched_item(tell: Teller) -> None:
    """Outbid the rival on the watched item, wait until it is there, and thank the seller."""
    item = _others(tell).rival
    tell.call("place_bid", listing_id=item, amount=_auction(tell, item)["least_next_bid"])
    tell.call("conclude_auction", listing_id=item)
    tell.call("leave_feedback", sale_id=_sale_of(tell, item), verdict="positive", text="Many thanks.")


def buy_the_dear_one(tell: Teller) -> None:
    """Retract a bid to free its money, put it on the dearest item instead, wait for it, and leave feedback."""
    other = _others(tell)
    price = _auction(tell, other.dear)["start_price"]
    tell.call("retract_bid", bid_id=_standing(tell, other.led))
    tell.call("place_bid", listing_id=other.dear, amount=price)
    tell.call("conclude_auction", listing_id=other.dear)
    tell.call("leave_feedback", sale_id=_sale_of(tell, other.dear), verdict="neutral", text="Dear, but good.")


def think_better_of_it(tell: Teller) -> None:
    """Bid, raise the bid, take the raise back, win at the first price, and leave feedback."""
    item = _others(tell).unbid
    price = _auction(tell, item)["start_price"]
    tell.call("place_bid", listing_id=item, amount=price)
    raised = tell.call("place_bid", listing_id=item, amount=price + 2_000)
    tell.call("retract_bid", bid_id=raised["bid_id"])
    tell.call("conclude_auction", listing_id=item)
    tell.call("leave_feedback", sale_id=_sale_of(tell, item), verdict="positive", text="As described.")


def sell_early_and_spend(tell: Teller) -> None:
    """Accept the bid on one's own item and bid the money on something dear."""
    own, other = _own(tell), _others(tell)
    price = _auction(tell, other.dear)["start_price"]
    tell.call("accept_bid", bid_id=_standing(tell, own.led))
    tell.call("place_bid", listing_id=other.dear, amount=price)


def sell_two_things(tell: Teller) -> None:
    """Accept a bid, wait for the end of another auction, and by then say how the buyer was."""
    own = _own(tell)
    sale = tell.call("accept_bid", bid_id=_standing(tell, own.led))
    tell.call("conclude_auction", listing_id=own.ignored)
    tell.call("leave_feedback", sale_id=sale["sale_id"], verdict="positive", text="Gerne wieder.")


def lower_the_price(tell: Teller) -> None:
    """An item misses its reserve; offer it without one, and keep an eye on the new auction."""
    item = _own(tell).below_reserve
    tell.call("conclude_auction", listing_id=item)
    new = tell.call("relist_item", listing_id=item, start_price=1_000, ends_at="2026-03-09T18:00:00Z")
    tell.call("create_listing_watch", listing_id=new["listing_id"], note="see whether anybody bids")


def nobody_wants_it(tell: Teller) -> None:
    """Offer an unsold item again, wait in vain, offer it for the least there is, and wait again."""
    item = _own(tell).unsold
    new = tell.call("relist_item", listing_id=item, start_price=1_000, ends_at="2026-03-06T18:00:00Z")["listing_id"]
    tell.call("conclude_auction", listing_id=new)
    last = tell.call("relist_item", listing_id=new, start_price=100, ends_at="2026-03-12T18:00:00Z")["listing_id"]
    tell.call("conclude_auction", listing_id=last)


CHAINS = [
    win_the_watched_item, buy_the_dear_one, think_better_of_it, sell_early_and_spend, sell_two_things,
    lower_the_price, nobody_wants_it,
]  # fmt: skip
