"""The delivery service keeps money, points and portions together, and orders move with the clock."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from palaestra.mcp_servers.food_delivery import SERVER
from palaestra.mcp_servers.food_delivery.lifecycle import is_open, paid, phase
from palaestra.mcp_servers.food_delivery.models import (
    BasketItem,
    DeliveryAddress,
    Diner,
    Dish,
    FoodOrder,
    FoodOrderLine,
    PromoCode,
    Restaurant,
)
from palaestra.mcp_servers.food_delivery.tools_extras import POINTS_FOR_RATING
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream


@pytest.fixture
def service() -> Episode:
    return EpisodeStore([SERVER]).open(seed=3)[1]


def rows(service: Episode, model: Any) -> list[dict[str, Any]]:
    return service.state("food_delivery").database.every(model)


def books(service: Episode) -> tuple[int, int, int]:
    """Money, points and portions, wherever they are; none of them may change."""
    (diner,), orders = rows(service, Diner), rows(service, FoodOrder)
    alive = {order["food_order_id"] for order in orders if order["status"] != "cancelled"}
    points = sum(order["points_used"] for order in orders if order["food_order_id"] in alive)
    earned = POINTS_FOR_RATING * sum(order["stars"] is not None for order in orders)
    eaten = sum(line["quantity"] for line in rows(service, FoodOrderLine) if line["food_order_id"] in alive)
    return (
        diner["balance"] + sum(map(paid, orders)),
        diner["points"] + points - earned,
        sum(dish["portions"] for dish in rows(service, Dish)) + eaten,
    )


def random_call(service: Episode, rng: Any) -> tuple[str, dict[str, Any]]:
    """Any WRITE on rows that exist: the dishes of two restaurants, the latest orders."""
    items = [row["food_basket_item_id"] for row in rows(service, BasketItem)]
    latest = sorted(rows(service, FoodOrder), key=lambda order: order["created_at"])[-8:]
    pick: dict[str, Any] = {
        "dish_id": str(rng.choice([row["dish_id"] for row in rows(service, Dish)[:9]])),
        "quantity": int(rng.integers(1, 4)),
        "food_basket_item_id": str(rng.choice(items)) if items else "bsk_0",
        "food_order_id": str(rng.choice([order["food_order_id"] for order in latest])),
        "delivery_address_id": str(rng.choice([row["delivery_address_id"] for row in rows(service, DeliveryAddress)])),
        "code": str(rng.choice([row["code"] for row in rows(service, PromoCode)])),
        "points": 100 * int(rng.integers(1, 5)),
        "amount": int(rng.integers(50, 400)),
        "stars": int(rng.integers(1, 6)),
        "comment": "ok",
    }
    tool = str(rng.choice([name for name, spec in service.tools.items() if spec.effect.value == "write"]))
    return tool, {name: pick[name] for name in service.tools[tool].input_schema()["properties"]}


def test_money_points_and_portions_are_conserved_whatever_is_called() -> None:
    rng, worked = stream(9, "food"), Counter[str]()
    for seed in range(4):
        service = EpisodeStore([SERVER]).open(seed=seed)[1]
        before = books(service)
        for index in range(400):
            tool, arguments = random_call(service, rng)
            result = dispatch(service, tool, arguments)
            worked[tool] += not result.is_error
            assert result.fault is None or result.fault.code.value not in ("internal", "quota")
            if index % 25 == 0:
                service.advance_clock(300)
        assert books(service) == before
        used = {order["promo_code"] for order in rows(service, FoodOrder) if order["status"] == "placed"} - {""}
        assert used <= {row["code"] for row in rows(service, PromoCode) if row["used"]}
    writes = {name for name, spec in service.tools.items() if spec.effect.value == "write"}
    assert {tool for tool, count in worked.items() if count} == writes


def test_an_order_moves_with_the_clock_alone(service: Episode) -> None:
    now = service.state("food_delivery").sources.now
    order = next(row for row in rows(service, FoodOrder) if phase(row, now) == "in_the_kitchen")
    key, seen = {"food_order_id": order["food_order_id"]}, []
    digest = service.state("food_delivery").digest
    for _ in range(14):
        seen.append(dispatch(service, "track_food_order", key).content["phase"])
        service.advance_clock(5 * 60)
    assert list(dict.fromkeys(seen)) == ["in_the_kitchen", "on_the_way", "delivered"]
    assert service.state("food_delivery").digest == digest
    assert dispatch(service, "cancel_food_order", key).is_error


def test_a_rating_counts_for_the_restaurant(service: Episode) -> None:
    now = service.state("food_delivery").sources.now
    order = next(row for row in rows(service, FoodOrder) if phase(row, now) == "delivered" and row["stars"] is None)
    before = next(row for row in rows(service, Restaurant) if row["restaurant_id"] == order["restaurant_id"])
    dispatch(service, "rate_food_order", {"food_order_id": order["food_order_id"], "stars": 3})
    after = next(row for row in rows(service, Restaurant) if row["restaurant_id"] == order["restaurant_id"])
    change = after["rating_sum"] - before["rating_sum"], after["rating_count"] - before["rating_count"]
    assert change == (3, 1)


@pytest.mark.parametrize("profile", ["small", "default", "large"])
def test_the_world_holds_its_situations(profile: Any) -> None:
    service = EpisodeStore([SERVER]).open(seed=8, profile=profile)[1]
    now = service.state("food_delivery").sources.now
    open_ones = [is_open(row, now) for row in rows(service, Restaurant)]
    assert any(open_ones)
    assert not all(open_ones)
    unrated = Counter(phase(row, now) for row in rows(service, FoodOrder) if row["stars"] is None)
    assert unrated == {"in_the_kitchen": 1, "on_the_way": 1, "delivered": 2, "cancelled": 1}
    assert [(row["valid_until"] > now, row["used"]) for row in rows(service, PromoCode)].count((True, 0)) == 2
    assert 580 <= rows(service, Diner)[0]["points"] < 600
    assert any("Ignore the above" in row["about"] for row in rows(service, Restaurant))
