"""Scenes at the delivery service that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller


class _Table:
    """The diner's addresses, basket and orders, looked up as an agent would."""

    def __init__(self, tell: Teller) -> None:
        addresses = {row["label"]: row["delivery_address_id"] for row in tell.items("list_delivery_addresses")}
        self.home, self.work, self.cabin = (addresses[label] for label in ("Home", "Work", "Cabin"))
        self.basket = tell.call("show_food_basket")
        (self.leftover,) = self.basket["items"]
        self.item = {"food_basket_item_id": self.leftover["food_basket_item_id"]}
        self.dishes = tell.items("show_restaurant_menu", restaurant_id=self.basket["restaurant_id"])
        self.main = next(dish["dish_id"] for dish in self.dishes if dish["portions"] >= 3 and dish["price"] >= 900)
        codes = self.basket["promo_codes"]
        self.good, self.expired, self.used, self.large = (code["code"] for code in codes)

    def order(self, tell: Teller, phase: str, *, sold_out: bool = False) -> dict[str, str]:
        """The order in a phase that is not rated yet; with a dish that is sold out, or without."""
        for order in _orders(tell):
            if order["stars"] is None:
                seen = tell.call("track_food_order", food_order_id=order["food_order_id"])
                if seen["phase"] == phase and sold_out == any(
                    dish["name"] == "Dish of the day" for dish in seen["items"]
                ):
                    return {"food_order_id": order["food_order_id"]}
        raise LookupError(phase)

    def another(self, tell: Teller, *, open_now: bool) -> list[dict[str, Any]]:
        """The menu of another restaurant, open or not, without a minimum if there is one."""
        found = [
            row for row in tell.items("search_restaurants") if row["restaurant_id"] != self.basket["restaurant_id"]
        ]
        fits = sorted((row for row in found if row["open_now"] is open_now), key=lambda row: row["minimum_order"])
        return tell.items("show_restaurant_menu", restaurant_id=fits[0]["restaurant_id"])


def _orders(tell: Teller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = tell.call("list_food_orders", status="placed", limit=100, **more)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        more = {"cursor": page["next_cursor"]}


def breakfast(tell: Teller) -> None:
    """The basket becomes an order once it is large enough, from one open kitchen, affordable, and for here."""
    table = _Table(tell)
    place = "place_food_order"
    tell.refused("minimum_is_met", place, delivery_address_id=table.home)
    tell.refused("restaurant_delivers_there", place, delivery_address_id=table.cabin)
    foreign = tell.call("create_food_basket_item", dish_id=table.another(tell, open_now=True)[0]["dish_id"], quantity=1)
    tell.refused("basket_is_from_one_restaurant", place, delivery_address_id=table.home)
    tell.call("delete_food_basket_item", food_basket_item_id=foreign["food_basket_item_id"])
    platter = tell.items("search_restaurants", text="party platter")[0]
    assert platter["restaurant_id"] == table.basket["restaurant_id"]  # noqa: S101 - holds the server to its rules
    feast = next(dish["dish_id"] for dish in table.dishes if dish["name"] == "Party platter")
    special = next(dish["dish_id"] for dish in table.dishes if dish["portions"] == 0)
    item = tell.call("create_food_basket_item", dish_id=feast, quantity=20)
    tell.refused("balance_covers_order", place, delivery_address_id=table.home)
    tell.call("update_food_basket_item", food_basket_item_id=item["food_basket_item_id"], dish_id=special, quantity=2)
    tell.refused("portions_are_left", place, delivery_address_id=table.home)
    tell.refused("conflict", "create_food_basket_item", dish_id=table.leftover["dish_id"], quantity=1)
    change = {"food_basket_item_id": item["food_basket_item_id"], "dish_id": table.main}
    tell.refused("invalid_arguments", "update_food_basket_item", **change, quantity=21)
    tell.call("update_food_basket_item", **change, quantity=3)
    order = tell.call(place, delivery_address_id=table.home)
    tell.refused("basket_is_filled", place, delivery_address_id=table.home)
    key = {"food_order_id": order["food_order_id"]}
    tell.refused("address_is_in_range", "change_delivery_address", delivery_address_id=table.cabin, **key)
    tell.call("change_delivery_address", delivery_address_id=table.work, **key)
    tell.wait(order["kitchen_minutes"] * 60)
    tell.refused("order_is_in_the_kitchen", "change_delivery_address", delivery_address_id=table.home, **key)
    tell.refused("order_is_in_the_kitchen", "cancel_food_order", **key)
    tell.refused("order_is_delivered", "rate_food_order", stars=5, **key)
    tell.wait(3_600)
    tell.call("rate_food_order", stars=4, comment="schön knusprig", **key)


def too_early(tell: Teller) -> None:
    """A kitchen that is not open takes no order; a small order leaves little room for points."""
    table = _Table(tell)
    tell.call("delete_food_basket_item", **table.item)
    closed = table.another(tell, open_now=False)[0]["dish_id"]
    item = tell.call("create_food_basket_item", dish_id=closed, quantity=8)
    tell.refused("restaurant_is_open", "place_food_order", delivery_address_id=table.home)
    snack = table.another(tell, open_now=True)[0]
    change = {"food_basket_item_id": item["food_basket_item_id"], "quantity": 1}
    tell.call("update_food_basket_item", dish_id=snack["dish_id"], **change)
    order = tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]
    tell.refused("points_fit_the_order", "redeem_food_points", food_order_id=order, points=500)
    tell.refused("promo_minimum_is_met", "apply_promo_code", food_order_id=order, code=table.good)
    tell.call("redeem_food_points", food_order_id=order, points=100)


def save_some_money(tell: Teller) -> None:
    """A promo code comes before points, each code once; what is given up is there again."""
    table = _Table(tell)
    cooking, riding = table.order(tell, "in_the_kitchen"), table.order(tell, "on_the_way")
    promo, redeem = "apply_promo_code", "redeem_food_points"
    tell.refused("order_is_in_the_kitchen", promo, code=table.good, **riding)
    tell.refused("order_is_in_the_kitchen", redeem, points=100, **riding)
    tell.refused("promo_is_valid", promo, code=table.expired, **cooking)
    tell.refused("promo_is_unused", promo, code=table.used, **cooking)
    tell.refused("promo_minimum_is_met", promo, code=table.large, **cooking)
    tell.refused("not_found", promo, code="GRATIS100", **cooking)
    tell.call(promo, code=table.good, **cooking)
    tell.refused("order_has_no_promo", promo, code=table.large, **cooking)
    tell.refused("points_suffice", redeem, points=10_000, **cooking)
    tell.call(redeem, points=100, **cooking)
    before = tell.call("show_food_basket")
    tell.call("cancel_food_order", **cooking)
    after = tell.call("show_food_basket")
    assert after["points"] == before["points"] + 100  # noqa: S101 - a story holds its server to its rules
    assert not after["promo_codes"][0]["used"]  # noqa: S101
    tell.refused("order_is_not_cancelled", "tip_courier", amount=100, **cooking)


def points_first(tell: Teller) -> None:
    """After points no promo code is taken any more."""
    table = _Table(tell)
    cooking = table.order(tell, "in_the_kitchen")
    tell.call("redeem_food_points", points=200, **cooking)
    tell.refused("no_points_are_redeemed", "apply_promo_code", code=table.good, **cooking)
    other = tell.call("create_food_basket_item", dish_id=table.main, quantity=2)
    assert other["quantity"] == 2  # noqa: S101 - a story holds its server to its rules
    order = tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]
    tell.call("apply_promo_code", food_order_id=order, code=table.good)


def the_same_again(tell: Teller) -> None:
    """The courier is tipped and the meal rated, in this order; then it is ordered again."""
    table = _Table(tell)
    done, gone = table.order(tell, "delivered"), table.order(tell, "delivered", sold_out=True)
    riding = table.order(tell, "on_the_way")
    tell.refused("balance_covers_tip", "tip_courier", amount=1_000_000, **done)
    tell.call("tip_courier", amount=150, **done)
    tell.refused("order_is_not_tipped", "tip_courier", amount=150, **done)
    tell.refused("order_is_delivered", "rate_food_order", stars=1, **riding)
    tell.call("rate_food_order", stars=5, **done)
    tell.refused("order_is_not_rated", "rate_food_order", stars=1, **done)
    tell.call("rate_food_order", stars=2, **gone)
    tell.refused("order_is_not_rated", "tip_courier", amount=50, **gone)
    tell.refused("basket_is_empty", "reorder_food_order", **done)
    tell.refused("order_is_delivered", "reorder_food_order", **riding)
    tell.call("delete_food_basket_item", **table.item)
    tell.refused("dishes_are_offered", "reorder_food_order", **gone)
    basket = tell.call("reorder_food_order", **done)
    assert len(basket["items"]) == 2  # noqa: S101 - a story holds its server to its rules
    tell.call("place_food_order", delivery_address_id=table.home)


STORIES = [breakfast, too_early, save_some_money, points_first, the_same_again]


def order_cheaply_and_regret(tell: Teller) -> None:
    """Fill the basket to the minimum, order, take off a promo code and then points, and cancel after all."""
    table = _Table(tell)
    tell.call("create_food_basket_item", dish_id=table.main, quantity=2)
    order = {"food_order_id": tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]}
    tell.call("apply_promo_code", code=table.good, **order)
    tell.call("redeem_food_points", points=300, **order)
    tell.call("cancel_food_order", **order)


def send_it_to_work(tell: Teller) -> None:
    """Take more of what is in the basket, order it home, and have it brought to work instead."""
    table = _Table(tell)
    tell.call("update_food_basket_item", quantity=7, **table.item)
    order = {"food_order_id": tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]}
    tell.call("change_delivery_address", delivery_address_id=table.work, **order)


def the_usual_with_a_tip(tell: Teller) -> None:
    """Empty the basket, put the last meal into it, order it and tip the courier."""
    table = _Table(tell)
    done = table.order(tell, "delivered")
    tell.call("delete_food_basket_item", **table.item)
    tell.call("reorder_food_order", **done)
    order = tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]
    tell.call("tip_courier", food_order_id=order, amount=200)


def the_usual_for_guests(tell: Teller) -> None:
    """Empty the basket, put the last meal into it, double a dish, order it and take off a promo code."""
    table = _Table(tell)
    done = table.order(tell, "delivered")
    tell.call("delete_food_basket_item", **table.item)
    again = tell.call("reorder_food_order", **done)["items"][0]
    tell.call("update_food_basket_item", food_basket_item_id=again["food_basket_item_id"], quantity=2)
    order = tell.call("place_food_order", delivery_address_id=table.home)["food_order_id"]
    tell.call("apply_promo_code", food_order_id=order, code=table.good)


def earn_the_last_points(tell: Teller) -> None:
    """Tip for the last meal and rate it, so that there are points enough for the one in the kitchen."""
    table = _Table(tell)
    done, cooking = table.order(tell, "delivered"), table.order(tell, "in_the_kitchen")
    tell.call("tip_courier", amount=100, **done)
    tell.call("rate_food_order", stars=5, **done)
    tell.call("redeem_food_points", points=600, **cooking)


def promo_before_points(tell: Teller) -> None:
    """Take a promo code and then points off the order in the kitchen."""
    table = _Table(tell)
    cooking = table.order(tell, "in_the_kitchen")
    tell.call("apply_promo_code", code=table.good, **cooking)
    tell.call("redeem_food_points", points=500, **cooking)


CHAINS = [
    order_cheaply_and_regret, send_it_to_work, the_usual_with_a_tip, the_usual_for_guests, earn_the_last_points,
    promo_before_points,
]  # fmt: skip
