"""The marketplace keeps its books: one bid leads an auction, and money is held, freed or paid, never made."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.framework.values import to_iso
from palaestra.mcp_servers.marketplace import SERVER
from palaestra.mcp_servers.marketplace.auctions import least_bid
from palaestra.mcp_servers.marketplace.models import Bid, Feedback, Listing, Sale, Seller

DAY = 86_400


@pytest.fixture
def market() -> Episode:
    return EpisodeStore([SERVER]).open(seed=8)[1]


def rows(market: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = market.state("marketplace").database
    return database.every(model)


def call(market: Episode, tool: str, **arguments: Any) -> dict[str, Any]:
    return dispatch(market, tool, arguments).content


def money(market: Episode) -> int:
    """What is free and what standing bids hold."""
    held = [int(row["amount"]) for row in rows(market, Bid) if row["status"] == "standing"]
    return sum(held) + sum(int(row["balance"]) for row in rows(market, Seller))


def user_and_led(market: Episode) -> tuple[str, dict[str, Any]]:
    """The user, and the auction they lead that ends last, as it is browsed."""
    user = call(market, "list_sellers", is_user=True)["items"][0]["seller_id"]
    running = call(market, "browse_auctions")["items"]
    return user, [row for row in running if row["highest_bidder_id"] == user][-1]


def test_money_is_conserved_and_one_bid_leads_whatever_is_called(market: Episode) -> None:
    rng = stream(6, "bidding")
    before, succeeded = money(market), Counter[str]()
    for _ in range(480):
        name = str(rng.choice([tool.name for tool in SERVER.tools.values() if tool.kind == "verb"]))
        listing = rows(market, Listing)[int(rng.integers(len(rows(market, Listing))))]
        arguments = {
            "listing_id": listing["listing_id"],
            "bid_id": str(rng.choice([row["bid_id"] for row in rows(market, Bid)])),
            "sale_id": str(rng.choice([row["sale_id"] for row in rows(market, Sale)])),
            "amount": listing["start_price"] + int(rng.integers(0, 4_000)),
            "start_price": int(rng.integers(100, 900)),
            "ends_at": to_iso(market.state("marketplace").sources.now + 5 * DAY),
            "verdict": "neutral",
            "text": "fine",
        }
        if name == "conclude_auction" and rng.integers(12):
            continue  # it lets days pass, after which little is left to do
        wanted = market.tools[name].input_model.model_fields
        result = dispatch(market, name, {key: value for key, value in arguments.items() if key in wanted})
        succeeded[name] += not result.is_error
    assert money(market) == before
    assert succeeded["place_bid"] > 3
    assert succeeded["conclude_auction"] > 0
    leading = Counter(row["listing_id"] for row in rows(market, Bid) if row["status"] in ("standing", "won"))
    assert max(leading.values()) == 1
    sold = {row["listing_id"]: row["price"] for row in rows(market, Sale)}
    assert sold == {row["listing_id"]: row["amount"] for row in rows(market, Bid) if row["status"] == "won"}
    assert set(sold) == {row["listing_id"] for row in rows(market, Listing) if row["status"] == "sold"}


def test_a_retracted_bid_gives_way_to_the_next_that_can_be_paid(market: Episode) -> None:
    user, led = user_and_led(market)
    bids = sorted(
        (r for r in rows(market, Bid) if r["listing_id"] == led["listing_id"]), key=lambda r: int(r["amount"])
    )
    beaten, mine = bids
    balances = {row["seller_id"]: row["balance"] for row in rows(market, Seller)}
    assert call(market, "retract_bid", bid_id=mine["bid_id"])["status"] == "retracted"
    after = {row["seller_id"]: row["balance"] for row in rows(market, Seller)}
    assert after[user] - balances[user] == mine["amount"]
    assert balances[beaten["bidder_id"]] - after[beaten["bidder_id"]] == beaten["amount"]
    again = call(market, "place_bid", listing_id=led["listing_id"], amount=mine["amount"])
    assert again["status"] == "standing"


def test_a_raise_needs_the_difference_only(market: Episode) -> None:
    user, led = user_and_led(market)
    free = next(row["balance"] for row in rows(market, Seller) if row["seller_id"] == user)
    everything = free + led["highest_bid"]
    refused = call(market, "place_bid", listing_id=led["listing_id"], amount=everything + 1)
    assert refused["details"]["precondition"] == "free_money_covers_bid"
    assert call(market, "place_bid", listing_id=led["listing_id"], amount=everything)["status"] == "standing"
    assert [row["balance"] for row in rows(market, Seller) if row["seller_id"] == user] == [0]


def test_below_its_reserve_an_item_is_sold_by_acceptance_only(market: Episode) -> None:
    (item,) = (row for row in rows(market, Listing) if row["reserve_price"])
    (bid,) = (row for row in rows(market, Bid) if row["listing_id"] == item["listing_id"])
    saved = market.snapshot()
    assert call(market, "conclude_auction", listing_id=item["listing_id"])["status"] == "unsold"
    assert next(row["status"] for row in rows(market, Bid) if row["bid_id"] == bid["bid_id"]) == "lost"
    market.restore(saved)
    assert call(market, "accept_bid", bid_id=bid["bid_id"])["price"] == bid["amount"] < item["reserve_price"]


@given(st.integers(100, 10**6), st.none() | st.integers(100, 10**9))
def test_the_least_bid_beats_the_highest_by_a_twentieth(start: int, highest: int | None) -> None:
    least = least_bid(start, highest)
    assert least == start if highest is None else least - highest == max(100, highest // 20)


def test_the_world_holds_its_situations(market: Episode) -> None:
    now = market.state("marketplace").sources.now
    listings = rows(market, Listing)
    assert {row["status"] for row in listings} == {"open", "sold", "unsold"}
    assert sum(row["status"] == "open" and row["ends_at"] <= now for row in listings) == 1
    assert {row["arrives_at"] > now for row in rows(market, Sale)} == {True, False}
    assert any("SYSTEM" in row["description"] for row in listings)
    assert any("<|im_start|>" in row["text"] for row in rows(market, Feedback))
