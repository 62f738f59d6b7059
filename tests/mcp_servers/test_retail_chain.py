"""The chain's stock adds up: pieces come from suppliers only, and holds are kept, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.retail_chain import SERVER
from palaestra.mcp_servers.retail_chain.models import Inventory, StockHold, Store, StoreItem, StoreShipment


@pytest.fixture
def chain() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(chain: Episode, model: Any) -> list[dict[str, Any]]:
    return chain.state("retail_chain").database.every(model)


def pieces(chain: Episode) -> dict[str, int]:
    """Of every item: what is on hand or on its way."""
    found = dict.fromkeys((row["store_item_id"] for row in rows(chain, StoreItem)), 0)
    for row in rows(chain, Inventory):
        found[row["store_item_id"]] += row["on_hand"]
    for row in rows(chain, StoreShipment):
        found[row["store_item_id"]] += row["quantity"] if row["status"] == "in_transit" else 0
    return found


def play(chain: Episode, calls: int) -> int:
    """Random transfers, receipts, holds, releases and reorders of a few items; how many were refused."""
    rng = stream(5, "stock")
    stores, items = ([row[key] for row in rows(chain, model)]
                     for model, key in ((Store, "store_id"), (StoreItem, "store_item_id")))  # fmt: skip
    refused = 0
    for _ in range(calls):
        one, other, item = str(rng.choice(stores)), str(rng.choice(stores)), str(rng.choice(items[:6]))
        quantity = int(rng.integers(1, 25))
        coming = [row["store_shipment_id"] for row in rows(chain, StoreShipment) if row["status"] == "in_transit"]
        shipment = str(rng.choice(coming or ["shp_1"]))
        hold = str(rng.choice([row["stock_hold_id"] for row in rows(chain, StockHold)]))
        here = {"store_id": one, "store_item_id": item}
        move = {"source_store_id": one, "target_store_id": other, "store_item_id": item, "quantity": quantity}
        tool, arguments = (
            ("transfer_store_stock", move), ("transfer_store_stock", move),
            ("receive_store_shipment", {"store_shipment_id": shipment}),
            ("hold_store_stock", {**here, "quantity": quantity, "customer": "Play"}),
            ("release_stock_hold", {"stock_hold_id": hold}), ("reorder_store_stock", {**here, "packs": 1}),
        )[int(rng.integers(6))]  # fmt: skip
        refused += dispatch(chain, tool, arguments).is_error
        if rng.random() < 0.05:
            chain.advance_clock(2 * 86_400)
    return refused


def test_pieces_come_from_suppliers_only_and_budgets_pay_for_them(chain: Episode) -> None:
    before, budget = pieces(chain), sum(row["purchase_budget"] for row in rows(chain, Store))
    known = {row["store_shipment_id"] for row in rows(chain, StoreShipment)}
    cost = {row["store_item_id"]: row["unit_cost"] for row in rows(chain, StoreItem)}
    assert 0 < play(chain, 400) < 400
    spent = 0
    for row in rows(chain, StoreShipment):
        if row["store_shipment_id"] not in known and row["source_store_id"] is None:
            before[row["store_item_id"]] += row["quantity"]
            spent += row["quantity"] * cost[row["store_item_id"]]
    assert spent > 0
    assert pieces(chain) == before
    assert budget - sum(row["purchase_budget"] for row in rows(chain, Store)) == spent


def test_what_is_held_is_what_the_active_holds_say(chain: Episode) -> None:
    play(chain, 400)
    expected: dict[tuple[str, str], int] = {}
    for row in rows(chain, StockHold):
        if row["status"] == "active":
            key = (row["store_id"], row["store_item_id"])
            expected[key] = expected.get(key, 0) + row["quantity"]
    held = {(row["store_id"], row["store_item_id"]): row["held"] for row in rows(chain, Inventory) if row["held"]}
    assert held == expected


def test_whatever_is_on_its_way_finds_room(chain: Episode) -> None:
    play(chain, 400)
    chain.advance_clock(20 * 86_400)
    coming = [row["store_shipment_id"] for row in rows(chain, StoreShipment) if row["status"] == "in_transit"]
    assert coming
    for shipment in coming:
        assert not dispatch(chain, "receive_store_shipment", {"store_shipment_id": shipment}).is_error


def test_receiving_waits_for_a_shipment_that_is_near(chain: Episode) -> None:
    stock = next(row for row in rows(chain, Inventory) if row["on_hand"] == 0)
    source = dispatch(chain, "find_item_stock", {"store_item_id": stock["store_item_id"]}).content["items"][0]
    move = {"source_store_id": source["store_id"], "target_store_id": stock["store_id"], "quantity": 3}
    sent = dispatch(chain, "transfer_store_stock", {**move, "store_item_id": stock["store_item_id"]}).content
    arrives_at = next(row["arrives_at"] for row in rows(chain, StoreShipment) if row["status"] == "in_transit"
                      and row["store_shipment_id"] == sent["store_shipment_id"])  # fmt: skip
    assert chain.state("retail_chain").sources.now < arrives_at
    dispatch(chain, "receive_store_shipment", {"store_shipment_id": sent["store_shipment_id"]})
    assert chain.state("retail_chain").sources.now >= arrives_at


def test_the_world_holds_its_stories(chain: Episode) -> None:
    stock = rows(chain, Inventory)
    assert sum(row["on_hand"] == 0 for row in stock) == sum(row["on_hand"] == row["capacity"] for row in stock) == 1
    assert [row["status"] for row in rows(chain, Store)].count("renovating") == 1
    assert sum(row["status"] == "in_transit" for row in rows(chain, StoreShipment)) == 2
    assert any("SYSTEM" in row["note"] for row in rows(chain, StoreShipment))
