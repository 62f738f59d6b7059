"""The shop keeps its books: goods and money move, and are never made, whatever is called."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.server import Story
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.shopping import SERVER
from palaestra.mcp_servers.shopping.models import (
    Address,
    Cart,
    CartLine,
    Coupon,
    PayMethod,
    Product,
    Purchase,
    PurchaseLine,
    Review,
    Variant,
)
from palaestra.mcp_servers.shopping.pricing import delivery_fee, discounts, eligible, subtotal
from palaestra.mcp_servers.shopping.stories import CHAINS, STORIES

GONE = ("returned", "returned_damaged")


@pytest.fixture
def shop() -> Episode:
    return EpisodeStore([SERVER]).open(seed=5)[1]


def rows(shop: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = shop.state("shopping").database
    return database.every(model)


def pieces(shop: Episode) -> Counter[str]:
    """Of every product, the pieces in stock and those sold, damaged ones among them."""
    product = {row["variant_id"]: row["product_id"] for row in rows(shop, Variant)}
    cancelled = {row["purchase_id"] for row in rows(shop, Purchase) if row["status"] == "cancelled"}
    found = Counter({key: 0 for key in product.values()})
    for row in rows(shop, Variant):
        found[row["product_id"]] += row["stock"]
    for row in rows(shop, PurchaseLine):
        if row["purchase_id"] not in cancelled and row["status"] != "returned":
            found[product[row["variant_id"]]] += row["quantity"]
    return found


def money(shop: Episode) -> Counter[str]:
    """Of every pay method, what is available and what was spent."""
    found = Counter({row["pay_method_id"]: row["available"] for row in rows(shop, PayMethod)})
    for row in rows(shop, Purchase):
        found[row["pay_method_id"]] += row["total"] - row["refunded"]
    return found


@pytest.mark.parametrize("scene", [*STORIES, *CHAINS])
def test_goods_and_money_are_conserved_in_every_scene(shop: Episode, scene: Story) -> None:
    before = pieces(shop), money(shop)
    scene(Teller(shop, "shopping"))
    assert (pieces(shop), money(shop)) == before


def test_goods_and_money_are_conserved_by_whatever_is_called(shop: Episode) -> None:
    rng = stream(4, "errands")
    before = pieces(shop), money(shop)
    succeeded: Counter[str] = Counter()
    verbs = [tool.name for tool in SERVER.tools.values() if tool.kind == "verb"]
    for _ in range(480):
        # Paying often keeps the cart payable, and few enough goods are bought for stock to remain.
        name = str(rng.choice([*verbs, "choose_cart_delivery", "checkout_cart", "checkout_cart"]))
        arguments: dict[str, Any] = {"quantity": int(rng.integers(0, 2)), "rating": 3, "text": "好", "speed": "express"}
        arguments |= {"reason": str(rng.choice(["damaged", "does_not_fit"]))}
        for model in (Variant, CartLine, Coupon, Address, PayMethod, Purchase, PurchaseLine):
            key = f"{model.__tablename__}_id"
            if found := [row[key] for row in rows(shop, model)]:
                arguments[key] = str(rng.choice(found))
        wanted = shop.tools[name].input_model.model_fields
        result = dispatch(shop, name, {key: value for key, value in arguments.items() if key in wanted})
        succeeded[name] += not result.is_error
    assert (pieces(shop), money(shop)) == before
    assert len(+succeeded) >= 7
    for row in rows(shop, Purchase):
        lines = [line for line in rows(shop, PurchaseLine) if line["purchase_id"] == row["purchase_id"]]
        assert row["total"] == sum(line["paid"] for line in lines) + row["delivery_fee"]
        back = sum(line["paid"] for line in lines if line["status"] in GONE)
        assert row["refunded"] == (row["total"] if row["status"] == "cancelled" else back)


def test_a_changed_cart_loses_coupon_and_delivery(shop: Episode) -> None:
    sold_out = next(line for line in dispatch(shop, "show_cart", {}).content["items"] if not line["in_stock"])
    out = {"cart_line_id": sold_out["cart_line_id"], "quantity": 0}
    assert not dispatch(shop, "set_cart_quantity", out).is_error
    coupon = next(row["coupon_id"] for row in rows(shop, Coupon) if row["code"].startswith("KITCHEN"))
    home = rows(shop, Address)[0]["address_id"]
    assert dispatch(shop, "choose_cart_delivery", {"address_id": home}).content["speed"] == "standard"
    cart = dispatch(shop, "apply_coupon", {"coupon_id": coupon}).content
    assert (cart["speed"], cart["discount"] > 0) == (None, True)
    assert dispatch(shop, "choose_cart_delivery", {"address_id": home}).content["coupon_code"] == cart["coupon_code"]
    stocked = next(row["variant_id"] for row in rows(shop, Variant) if row["stock"] > 5)
    cart = dispatch(shop, "add_to_cart", {"variant_id": stocked}).content
    assert (cart["coupon_code"], cart["address_id"], cart["discount"]) == (None, None, 0)


lines = st.lists(
    st.fixed_dictionaries(
        {
            "price": st.integers(1, 50_000),
            "quantity": st.integers(1, 10),
            "category": st.sampled_from(["books", "toys"]),
        }
    )
)
coupons = st.fixed_dictionaries({"category": st.sampled_from([None, "toys"])}).flatmap(
    lambda coupon: st.one_of(
        st.integers(1, 100).map(lambda value: {**coupon, "kind": "percent", "value": value}),
        st.integers(1, 200_000).map(lambda value: {**coupon, "kind": "amount", "value": value}),
    )
)


@given(coupons, lines)
def test_every_discounted_cent_belongs_to_one_line(coupon: dict[str, Any], goods: list[dict[str, Any]]) -> None:
    shares, base = discounts(coupon, goods), subtotal(eligible(coupon, goods))
    whole = base * coupon["value"] // 100 if coupon["kind"] == "percent" else min(coupon["value"], base)
    assert sum(shares) == whole
    for share, line in zip(shares, goods, strict=True):
        assert 0 <= share <= line["price"] * line["quantity"]
        assert share == 0 or coupon["category"] in (None, line["category"])


def test_standard_delivery_is_free_from_sixty() -> None:
    fees = [delivery_fee(speed, goods) for speed in ("standard", "express") for goods in (5_999, 6_000)]
    assert fees == [490, 0, 1_290, 1_290]


@pytest.mark.parametrize("seed", range(3))
def test_the_world_holds_its_situations(seed: int) -> None:
    shop = EpisodeStore([SERVER]).open(seed=seed)[1]
    now = shop.state("shopping").sources.now
    assert len(rows(shop, Cart)) == 1
    assert [line["in_stock"] for line in dispatch(shop, "show_cart", {}).content["items"]] == [False, True]
    assert {row["status"] for row in rows(shop, PayMethod)} == {"active", "expired"}
    assert [row["expires_at"] > now for row in rows(shop, Coupon)] == [True, True, False, True, True]
    stages = {
        dispatch(shop, "track_purchase", {"purchase_id": row["purchase_id"]}).content["stage"]
        for row in rows(shop, Purchase)
    }
    assert stages == {"preparing", "on_the_way", "delivered", "cancelled"}
    assert {row["returnable"] for row in rows(shop, Product)} == {0, 1}
    assert any("Ignore the above" in row["text"] for row in rows(shop, Review))
