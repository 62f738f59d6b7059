"""What can be done on the marketplace beyond looking around.

Rules: one bids on others' running auctions, at least a twentieth above the bid that stands, with money that is free;
the standing bid holds its money until it is beaten, retracted or wins. A bid is retracted up to 12 hours before the
end; then the next one its bidder can pay stands again. A seller may accept the standing bid early; at the end it wins
if it reaches the reserve, and an unsold item can be relisted. Feedback is left once the item has arrived.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, page_of, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Instant, InstantOut, Key
from palaestra.mcp_servers.marketplace.auctions import (
    AuctionView,
    is_running,
    least_bid,
    running_auctions,
    show_auction,
    standing_bid,
    user_of,
)
from palaestra.mcp_servers.marketplace.models import Bid, Category, Feedback, Listing, Sale, Seller, Verdict

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
LAST_HOURS: Final = 12 * HOUR

BidView = view(Bid)
SaleView = view(Sale)
Price = Annotated[Amount, Field(ge=100)]


def _listing(db: Database, args: Any) -> Row:
    """The listing a call is about: the one it names, or its bid's."""
    return db.get(Listing, args.listing_id if hasattr(args, "listing_id") else db.get(Bid, args.bid_id)["listing_id"])


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def auction_is_running(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The auction is open and its end lies in the future."""
    return is_running(_listing(db, args), sources.now)


@precondition
def listing_is_not_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The listing is not the user's own."""
    return bool(_listing(db, args)["seller_id"] != user_of(db))


@precondition
def listing_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The listing is the user's own."""
    return bool(_listing(db, args)["seller_id"] == user_of(db))


@precondition
def bid_reaches_minimum(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The bid reaches the start price, or is a twentieth and at least 1.00 above the standing bid."""
    standing = standing_bid(db, args.listing_id)
    highest = None if standing is None else standing["amount"]
    return bool(args.amount >= least_bid(_listing(db, args)["start_price"], highest))


@precondition
def free_money_covers_bid(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user's free money, with what a standing bid of theirs on the listing holds, covers the bid."""
    user, standing = user_of(db), standing_bid(db, args.listing_id)
    held = standing["amount"] if standing is not None and standing["bidder_id"] == user else 0
    return bool(db.get(Seller, user)["balance"] + held >= args.amount)


@precondition
def bid_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The bid is the user's own."""
    return bool(db.get(Bid, args.bid_id)["bidder_id"] == user_of(db))


@precondition
def bid_is_standing(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The bid stands: it was not beaten, retracted or decided upon."""
    return bool(db.get(Bid, args.bid_id)["status"] == "standing")


@precondition
def end_is_twelve_hours_away(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The auction ends in 12 hours at the earliest."""
    return bool(_listing(db, args)["ends_at"] - sources.now >= LAST_HOURS)


@precondition
def auction_is_undecided(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The auction was not concluded before."""
    return bool(_listing(db, args)["status"] == "open")


@precondition
def user_takes_part(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user sells in the auction or has bid in it."""
    user = user_of(db)
    return bool(_listing(db, args)["seller_id"] == user or db.first(_BIDS_OF, listing=args.listing_id, bidder=user))


@precondition
def listing_is_unsold(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The auction is over, found no buyer, and the item was not relisted yet."""
    return bool(_listing(db, args)["status"] == "unsold")


@precondition
def new_end_is_in_reach(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The new end is one to fourteen days away."""
    return bool(DAY <= args.ends_at - sources.now <= 14 * DAY)


@precondition
def sale_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user sold or bought in the sale."""
    sale = db.get(Sale, args.sale_id)
    return user_of(db) in (sale["seller_id"], sale["buyer_id"])


@precondition
def item_has_arrived(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The item of the sale has arrived."""
    return bool(db.get(Sale, args.sale_id)["arrives_at"] <= sources.now)


@precondition
def feedback_is_new(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user has not left feedback on the sale yet."""
    return db.first(_FEEDBACK_BY, sale=args.sale_id, author=user_of(db)) is None


_BIDS_OF = Query(
    select(Bid.bid_id)
    .where(Bid.listing_id == bindparam("listing"), Bid.bidder_id == bindparam("bidder"))
    .order_by(Bid.bid_id)
)
_FEEDBACK_BY = Query(
    select(Feedback.feedback_id).where(Feedback.sale_id == bindparam("sale"), Feedback.author_id == bindparam("author"))
)


# -- verbs ---------------------------------------------------------------------------------------------------------


class PlaceBidArgs(Args):
    """Arguments of a bid."""

    listing_id: Key
    amount: Price


@verb(
    requires=[auction_is_running, listing_is_not_own, bid_reaches_minimum, free_money_covers_bid], returns=BidView
)  # fmt: skip
def place_bid(db: Database, sources: EpisodeSources, args: PlaceBidArgs) -> Row:
    """Bid on another's running auction: its start price, or a twentieth and 1.00 above the standing bid, or more.

    The money is held while the bid stands; who is outbid gets theirs back.
    """
    beaten = standing_bid(db, args.listing_id)
    if beaten is not None:
        _release(db, beaten, "outbid")
    user = user_of(db)
    _move(db, user, -args.amount)
    return db.insert(Bid, listing_id=args.listing_id, bidder_id=user, amount=args.amount, status="standing")


def _release(db: Database, bid: Row, status: str) -> Row:
    """A standing bid stands no more, and its money is free again."""
    _move(db, bid["bidder_id"], bid["amount"])
    return db.update(Bid, bid["bid_id"], status=status)


def _move(db: Database, seller_id: str, money: int) -> None:
    db.update(Seller, seller_id, balance=db.get(Seller, seller_id)["balance"] + money)


class BidKeyArgs(Args):
    """Arguments that name a bid."""

    bid_id: Key


_BEATEN = Query(
    select(Bid.__table__)
    .join_from(Bid, Seller, Seller.seller_id == Bid.bidder_id)
    .where(Bid.listing_id == bindparam("listing"), Bid.status == "outbid", Seller.balance >= Bid.amount)
    .order_by(Bid.amount.desc(), Bid.bid_id)
)


@verb(requires=[bid_is_own, bid_is_standing, end_is_twelve_hours_away], returns=BidView)
def retract_bid(db: Database, sources: EpisodeSources, args: BidKeyArgs) -> Row:
    """Take back the user's standing bid, up to 12 hours before the end.

    The next highest bid whose bidder can still pay it stands again.
    """
    retracted = _release(db, db.get(Bid, args.bid_id), "retracted")
    following = db.first(_BEATEN, listing=retracted["listing_id"])
    if following is not None:
        _move(db, following["bidder_id"], -following["amount"])
        db.update(Bid, following["bid_id"], status="standing")
    return retracted


@verb(requires=[listing_is_own, bid_is_standing, auction_is_running], returns=SaleView)
def accept_bid(db: Database, sources: EpisodeSources, args: BidKeyArgs) -> Row:
    """Sell one of the user's items now to the bid that stands, even below the reserve. The item arrives days later."""
    return _sell(db, sources, db.get(Bid, args.bid_id))


def _sell(db: Database, sources: EpisodeSources, bid: Row) -> Row:
    """The bid wins: the money it holds goes to the seller."""
    listing = db.update(Listing, bid["listing_id"], status="sold")
    db.update(Bid, bid["bid_id"], status="won")
    _move(db, listing["seller_id"], bid["amount"])
    return db.insert(
        Sale, listing_id=bid["listing_id"], seller_id=listing["seller_id"], buyer_id=bid["bidder_id"],
        price=bid["amount"], arrives_at=sources.now + sources.draw("parcel", 2, 6) * DAY,
    )  # fmt: skip


class ListingKeyArgs(Args):
    """Arguments that name a listing."""

    listing_id: Key


@verb(requires=[auction_is_undecided, user_takes_part], returns=AuctionView)
def conclude_auction(db: Database, sources: EpisodeSources, args: ListingKeyArgs) -> Row:
    """Wait for the end of an auction the user sells or bids in, and, if it sells, until the item has arrived.

    The standing bid wins if it reaches the reserve; otherwise its money is free again and the item unsold.
    """
    listing, standing = db.get(Listing, args.listing_id), standing_bid(db, args.listing_id)
    sources.advance(max(0, listing["ends_at"] - sources.now))
    if standing is not None and standing["amount"] >= listing["reserve_price"]:
        sale = _sell(db, sources, standing)
        sources.advance(sale["arrives_at"] - sources.now)
    else:
        db.update(Listing, args.listing_id, status="unsold")
        if standing is not None:
            _release(db, standing, "lost")
    return show_auction(db, args.listing_id, sources.now)


class RelistItemArgs(ListingKeyArgs):
    """Arguments of offering an item again."""

    start_price: Price
    ends_at: Instant


@verb(requires=[listing_is_own, listing_is_unsold, new_end_is_in_reach], returns=AuctionView)
def relist_item(db: Database, sources: EpisodeSources, args: RelistItemArgs) -> Row:
    """Offer one of the user's unsold items in a new auction of one to fourteen days, without a reserve."""
    old = db.update(Listing, args.listing_id, status="relisted")
    copied = {name: old[name] for name in ("seller_id", "title", "description", "category", "condition")}
    new = db.insert(
        Listing, **copied, start_price=args.start_price, ends_at=args.ends_at, relisted_from_id=args.listing_id
    )  # fmt: skip
    return show_auction(db, new["listing_id"], sources.now)


class LeaveFeedbackArgs(Args):
    """Arguments of feedback."""

    sale_id: Key
    verdict: Verdict
    text: Annotated[str, Field(min_length=1, max_length=300)]


@verb(requires=[sale_is_own, item_has_arrived, feedback_is_new], returns=view(Feedback))
def leave_feedback(db: Database, sources: EpisodeSources, args: LeaveFeedbackArgs) -> Row:
    """Say once how a sale went with the other side, after the item has arrived."""
    sale, user = db.get(Sale, args.sale_id), user_of(db)
    about = sale["buyer_id"] if sale["seller_id"] == user else sale["seller_id"]
    return db.insert(
        Feedback, sale_id=args.sale_id, author_id=user, about_id=about, verdict=args.verdict, text=args.text
    )  # fmt: skip


# -- queries -------------------------------------------------------------------------------------------------------


class BrowseAuctionsArgs(Args):
    """Arguments of a look at the auctions."""

    category: Category | None = None
    text: Annotated[str, Field(max_length=100, description="part of the title, ignoring ASCII case")] = ""
    affordable_with: Annotated[Amount, Field(description="most the least next bid may be")] = 10**12
    watched_only: bool = False


@query(returns=page_of(AuctionView, "RunningAuctions"))
def browse_auctions(db: Database, sources: EpisodeSources, args: BrowseAuctionsArgs) -> Row:
    """The next 50 running auctions to end, with the bid that leads and the least next bid, in minor units."""
    found = running_auctions(db, sources.now, args.category, args.text)
    fitting = [
        row for row in found
        if row["least_next_bid"] <= args.affordable_with and (row["is_watched"] or not args.watched_only)
    ]  # fmt: skip
    return {"items": fitting[:50]}


class SellerRecordArgs(Args):
    """Arguments that name a seller."""

    seller_id: Key


class Opinion(Output):
    """One piece of feedback."""

    author_id: str
    verdict: Verdict
    text: str
    written_at: InstantOut


class SellerRecord(Output):
    """What is known of a seller."""

    seller_id: str
    name: str
    sold: int
    bought: int
    positive: int
    neutral: int
    negative: int
    latest: list[Opinion]


_SALES = Query(
    select(
        func.sum(Sale.seller_id == bindparam("seller")).label("sold"),
        func.sum(Sale.buyer_id == bindparam("seller")).label("bought"),
    ).where(or_(Sale.seller_id == bindparam("seller"), Sale.buyer_id == bindparam("seller")))
)
_ABOUT = Query(
    select(Feedback.author_id, Feedback.verdict, Feedback.text, Feedback.written_at)
    .where(Feedback.about_id == bindparam("seller"))
    .order_by(Feedback.written_at.desc(), Feedback.feedback_id)
)


@query(returns=SellerRecord)
def show_seller_record(db: Database, sources: EpisodeSources, args: SellerRecordArgs) -> Row:
    """How often someone sold and bought, what others' feedback says of them, and the latest 10 in full."""
    seller = db.get(Seller, args.seller_id)
    sales = db.rows(_SALES, seller=args.seller_id)[0]
    feedback = db.rows(_ABOUT, seller=args.seller_id)
    verdicts = [row["verdict"] for row in feedback]
    return {
        "seller_id": args.seller_id, "name": seller["name"], "sold": sales["sold"] or 0,
        "bought": sales["bought"] or 0, "positive": verdicts.count("positive"),
        "neutral": verdicts.count("neutral"), "negative": verdicts.count("negative"), "latest": feedback[:10],
    }  # fmt: skip


VERBS = [place_bid, retract_bid, accept_bid, conclude_auction, relist_item, leave_feedback]
QUERIES = [browse_auctions, show_seller_record]
