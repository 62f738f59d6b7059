"""Scenes in the chain that use every tool and meet every rule, and tasks that go in one order only."""

from __future__ import annotations

from typing import Any, NamedTuple

from palaestra.mcp_servers.framework.stories import Teller

NOW = "2026-03-02T09:00:00Z"
DAY = 86_400


class _Chain(NamedTuple):
    """The stores by what is the matter with them, and their stock."""

    empty: str
    full: str
    poor: str
    renovating: str
    stock: dict[str, list[dict[str, Any]]]

    def item(self, store: str, **wanted: int) -> dict[str, Any]:
        """The first line of a store with these values."""
        return next(line for line in self.stock[store] if all(line[name] == value for name, value in wanted.items()))

    def low(self, store: str) -> dict[str, Any]:
        """What the store has left a little of, and nobody has ordered."""
        lines = self.stock[store]
        return next(line for line in lines if 0 < line["available"] < line["reorder_point"] and line["coming"] == 0)

    def nearly_low(self) -> dict[str, Any]:
        """What the store without one item has two pieces above the reorder point of."""
        return next(line for line in self.stock[self.empty] if line["available"] == line["reorder_point"] + 2)


def _chain(tell: Teller) -> _Chain:
    stores = tell.items("list_stores")
    stock = {store["store_id"]: tell.items("show_store_inventory", store_id=store["store_id"]) for store in stores}
    return _Chain(
        next(key for key, lines in stock.items() if any(line["on_hand"] == 0 for line in lines)),
        next(key for key, lines in stock.items() if any(line["on_hand"] == line["capacity"] for line in lines)),
        next(store["store_id"] for store in stores if store["purchase_budget"] < 1_000),
        tell.items("list_stores", status="renovating")[0]["store_id"],
        stock,
    )


def _sent(item: dict[str, Any], source: str, target: str, quantity: int) -> dict[str, Any]:
    return {
        "source_store_id": source,
        "target_store_id": target,
        "store_item_id": item["store_item_id"],
        "quantity": quantity,
    }


def fetch_what_is_missing(tell: Teller) -> None:
    """An item is out in one store; another sends some, and a customer can have it held."""
    chain = _chain(tell)
    missing = chain.item(chain.empty, on_hand=0)
    best = tell.items("find_item_stock", store_item_id=missing["store_item_id"])[0]
    here = {"store_id": chain.empty, "store_item_id": missing["store_item_id"], "customer": "Ewa Kowalska"}
    tell.refused("stock_is_available", "hold_store_stock", **here, quantity=2)
    source = chain.full
    tell.refused("stores_differ", "transfer_store_stock", **_sent(missing, source, source, 5))
    tell.refused("both_stores_are_open", "transfer_store_stock", **_sent(missing, chain.renovating, chain.empty, 5))
    tell.refused("stock_is_available", "transfer_store_stock", **_sent(missing, source, chain.empty, 500))
    full = next(line for line in chain.stock[source] if line["on_hand"] == line["capacity"])
    tell.refused("store_has_room", "transfer_store_stock", **_sent(full, chain.empty, source, 1))
    sent = tell.call("transfer_store_stock", **_sent(missing, source, chain.empty, 5), note="for a customer")
    shipment = {"store_shipment_id": sent["store_shipment_id"]}
    received = tell.call("receive_store_shipment", **shipment)
    assert received["status"] == "received"  # noqa: S101 - a story holds its server to its rules
    tell.refused("shipment_is_in_transit", "receive_store_shipment", **shipment)
    held = tell.call("hold_store_stock", **here, quantity=2)
    tell.refused("store_is_open", "hold_store_stock", **{**here, "store_id": chain.renovating}, quantity=1)
    tell.call("release_stock_hold", stock_hold_id=held["stock_hold_id"])
    tell.refused("hold_is_active", "release_stock_hold", stock_hold_id=held["stock_hold_id"])
    assert best["available"] > 5  # noqa: S101


def order_what_is_low(tell: Teller) -> None:
    """Stock below its reorder point is ordered, where there is budget and room and nothing is on its way."""
    chain = _chain(tell)
    low, nearly = chain.low(chain.empty), chain.nearly_low()
    listed = tell.items("show_store_inventory", store_id=chain.empty, only_low=True)
    assert [low in listed, nearly in listed] == [True, False]  # noqa: S101
    order = {"store_id": chain.empty, "store_item_id": low["store_item_id"], "packs": 1}
    tell.refused("stock_is_low", "reorder_store_stock", **{**order, "store_item_id": nearly["store_item_id"]})
    tell.refused("store_is_open", "reorder_store_stock", **{**order, "store_id": chain.renovating})
    tell.refused("store_has_room", "reorder_store_stock", **{**order, "packs": 100})
    poor = {"store_id": chain.poor, "store_item_id": chain.low(chain.poor)["store_item_id"], "packs": 1}
    tell.refused("budget_covers_reorder", "reorder_store_stock", **poor)
    ordered = tell.call("reorder_store_stock", **order)
    tell.refused("nothing_is_coming", "reorder_store_stock", **order)
    shipment = {"store_shipment_id": ordered["store_shipment_id"]}
    tell.refused("shipment_is_near", "receive_store_shipment", **shipment)
    tell.wait(15 * DAY)
    tell.call("receive_store_shipment", **shipment)
    (found,) = tell.items("search_store_items", text=low["sku"])
    assert ordered["quantity"] == found["pack_size"]  # noqa: S101


def unpack_the_dock(tell: Teller) -> None:
    """What waits at the dock is received; what is days away is not; the last pieces held are let go."""
    chain = _chain(tell)
    coming = tell.items("list_store_shipments", status="in_transit", store_id=chain.empty)
    here, later = sorted(coming, key=lambda shipment: str(shipment["arrives_at"]))
    tell.call("receive_store_shipment", store_shipment_id=here["store_shipment_id"])
    tell.refused("shipment_is_near", "receive_store_shipment", store_shipment_id=later["store_shipment_id"])
    (hold,) = tell.items("list_stock_holds", store_id=chain.full, status="active")
    kept = {"store_item_id": hold["store_item_id"]}
    tell.refused("stock_is_available", "transfer_store_stock", **_sent(kept, chain.full, chain.empty, 1))
    tell.call("release_stock_hold", stock_hold_id=hold["stock_hold_id"])
    tell.call("transfer_store_stock", **_sent(kept, chain.full, chain.empty, 1))
    tell.refused("not_found", "find_item_stock", store_item_id=f"{kept['store_item_id']}0")


STORIES = [fetch_what_is_missing, order_what_is_low, unpack_the_dock]


# -- chains --------------------------------------------------------------------------------------------------------


def lend_stock_to_a_store(tell: Teller) -> None:
    """Send an item to the store without it, receive it, hold some, release that, and send all of it back."""
    chain = _chain(tell)
    missing = chain.item(chain.empty, on_hand=0)
    sent = tell.call("transfer_store_stock", **_sent(missing, chain.full, chain.empty, 10))
    tell.call("receive_store_shipment", store_shipment_id=sent["store_shipment_id"])
    here = {"store_id": chain.empty, "store_item_id": missing["store_item_id"], "customer": "Nia Mensah"}
    held = tell.call("hold_store_stock", **here, quantity=8)
    tell.call("release_stock_hold", stock_hold_id=held["stock_hold_id"])
    tell.call("transfer_store_stock", **_sent(missing, chain.empty, chain.full, 10))


def give_a_hold_to_another_store(tell: Teller) -> None:
    """Release the hold on all that is left of an item, send the pieces to another store, and receive them there."""
    chain = _chain(tell)
    (hold,) = tell.items("list_stock_holds", store_id=chain.full, status="active")
    tell.call("release_stock_hold", stock_hold_id=hold["stock_hold_id"])
    sent = tell.call("transfer_store_stock", **_sent(hold, chain.full, chain.empty, hold["quantity"]))
    tell.call("receive_store_shipment", store_shipment_id=sent["store_shipment_id"])


def promise_what_waits_at_the_dock(tell: Teller) -> None:
    """Receive the shipment at the dock and hold most of it for a customer."""
    chain = _chain(tell)
    coming = tell.items("list_store_shipments", status="in_transit", store_id=chain.empty)
    waiting = next(shipment for shipment in coming if shipment["arrives_at"] < NOW)
    tell.call("receive_store_shipment", store_shipment_id=waiting["store_shipment_id"])
    here = {"store_id": chain.empty, "store_item_id": waiting["store_item_id"], "customer": "Łukasz Nowak"}
    tell.call("hold_store_stock", **here, quantity=waiting["quantity"] - 2)


def hold_and_reorder(tell: Teller) -> None:
    """Hold so much that the item falls below its reorder point, reorder a pack, and release the hold after all."""
    chain = _chain(tell)
    here = {"store_id": chain.empty, "store_item_id": chain.nearly_low()["store_item_id"]}
    held = tell.call("hold_store_stock", **here, quantity=5, customer="Priya राव")
    tell.call("reorder_store_stock", **here, packs=1)
    tell.call("release_stock_hold", stock_hold_id=held["stock_hold_id"])


def help_out_and_reorder(tell: Teller) -> None:
    """Send pieces to another store, which brings the item below its reorder point, and reorder a pack."""
    chain = _chain(tell)
    nearly = chain.nearly_low()
    tell.call("transfer_store_stock", **_sent(nearly, chain.empty, chain.full, 4))
    tell.call("reorder_store_stock", store_id=chain.empty, store_item_id=nearly["store_item_id"], packs=1)


def make_room_first(tell: Teller) -> None:
    """Send pieces out of the store that has no room for more, send others there, and receive these."""
    chain = _chain(tell)
    full = next(line for line in chain.stock[chain.full] if line["on_hand"] == line["capacity"])
    tell.call("transfer_store_stock", **_sent(full, chain.full, chain.empty, 12))
    sent = tell.call("transfer_store_stock", **_sent(full, chain.poor, chain.full, 11))
    tell.call("receive_store_shipment", store_shipment_id=sent["store_shipment_id"])


CHAINS = [
    lend_stock_to_a_store, give_a_hold_to_another_store, promise_what_waits_at_the_dock, hold_and_reorder,
    help_out_and_reorder, make_room_first,
]  # fmt: skip
