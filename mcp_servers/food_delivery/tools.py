"""What can be done with orders; tools_extras.py adds promo codes, points, tips, ratings, tools_search.py the look-ups.

Rules: an order is the whole basket, from one restaurant that is open, delivers to the address and has the portions
left, worth at least its minimum and paid at once from the prepaid balance; until the courier picks it up it can be
cancelled or sent elsewhere; a delivered order can be put into the empty basket again, at the prices of the day.
"""

from __future__ import annotations

from typing import Any, Final

from palaestra.mcp_servers.food_delivery.lifecycle import delivers_to, is_open, paid
from palaestra.mcp_servers.food_delivery.lookups import (
    basket,
    basket_total,
    change_balance,
    change_points,
    lines_of,
    the_diner,
)
from palaestra.mcp_servers.food_delivery.models import (
    BasketItem,
    DeliveryAddress,
    Dish,
    FoodOrder,
    FoodOrderLine,
    Restaurant,
)
from palaestra.mcp_servers.food_delivery.tools_extras import (
    EXTRA_VERBS,
    FoodOrderKeyArgs,
    FoodOrderView,
    free_promo,
    order_is_delivered,
    order_is_in_the_kitchen,
)
from palaestra.mcp_servers.food_delivery.tools_search import QUERIES as QUERIES
from palaestra.mcp_servers.food_delivery.tools_search import Basket, show_basket
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key

NEAR_MINUTES: Final = 8
FAR_MINUTES: Final = 15


def _basket_restaurant(db: Database) -> Row:
    return db.get(Restaurant, basket(db)[0]["restaurant_id"])


# -- preconditions ---------------------------------------------------------------------------------------------------


@precondition
def basket_is_filled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """There is something in the basket."""
    return bool(basket(db))


@precondition
def basket_is_empty(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The basket is empty; remove what is in it first."""
    return not basket(db)


@precondition
def basket_is_from_one_restaurant(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Everything in the basket is from one restaurant."""
    return len({item["restaurant_id"] for item in basket(db)}) == 1


@precondition
def restaurant_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The restaurant is open now."""
    return is_open(_basket_restaurant(db), sources.now)


@precondition
def restaurant_delivers_there(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The restaurant delivers to the zone of the address."""
    return delivers_to(_basket_restaurant(db), db.get(DeliveryAddress, args.delivery_address_id))


@precondition
def minimum_is_met(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The dishes are worth at least the restaurant's minimum order."""
    return bool(basket_total(basket(db)) >= _basket_restaurant(db)["minimum_order"])


@precondition
def portions_are_left(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The kitchen has enough portions of every dish left."""
    return all(item["quantity"] <= item["portions"] for item in basket(db))


@precondition
def balance_covers_order(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The balance covers dishes and delivery."""
    cost = basket_total(basket(db)) + _basket_restaurant(db)["delivery_fee"]
    return bool(cost <= the_diner(db)["balance"])


@precondition
def dishes_are_offered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The kitchen has enough portions of every dish of that order left."""
    return all(line["quantity"] <= line["portions"] for line in lines_of(db, args.food_order_id))


@precondition
def address_is_in_range(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The restaurant of the order delivers to the zone of the new address."""
    restaurant = db.get(Restaurant, db.get(FoodOrder, args.food_order_id)["restaurant_id"])
    return delivers_to(restaurant, db.get(DeliveryAddress, args.delivery_address_id))


# -- verbs -----------------------------------------------------------------------------------------------------------


class PlaceOrderArgs(Args):
    """Arguments of an order."""

    delivery_address_id: Key


@verb(
    requires=[
        basket_is_filled, basket_is_from_one_restaurant, restaurant_is_open, restaurant_delivers_there, minimum_is_met,
        portions_are_left, balance_covers_order,
    ],
    returns=FoodOrderView,
)  # fmt: skip
def place_food_order(db: Database, sources: EpisodeSources, args: PlaceOrderArgs) -> Row:
    """Order everything in the basket and pay from the balance; the basket is empty then. One restaurant at a time.

    Promo codes and points are taken off afterwards, while the order is in the kitchen.
    """
    items, restaurant = basket(db), _basket_restaurant(db)
    ride = _ride_minutes(sources, restaurant, db.get(DeliveryAddress, args.delivery_address_id))
    order = db.insert(
        FoodOrder, restaurant_id=restaurant["restaurant_id"], delivery_address_id=args.delivery_address_id,
        status="placed", subtotal=basket_total(items), delivery_fee=restaurant["delivery_fee"],
        kitchen_minutes=restaurant["kitchen_minutes"], ride_minutes=ride,
    )  # fmt: skip
    change_balance(db, -paid(order))
    for item in items:
        db.insert(
            FoodOrderLine, food_order_id=order["food_order_id"], dish_id=item["dish_id"], quantity=item["quantity"],
            price=item["price"],
        )  # fmt: skip
        db.update(Dish, item["dish_id"], portions=item["portions"] - item["quantity"])
        db.delete(BasketItem, item["food_basket_item_id"])
    return order


def _ride_minutes(sources: EpisodeSources, restaurant: Row, address: Row) -> int:
    """A ride within the restaurant's own zone is shorter; traffic adds a few minutes."""
    near = restaurant["zones"].split()[0] == address["zone"]
    return (NEAR_MINUTES if near else FAR_MINUTES) + sources.draw("traffic", 0, 6)


@verb(requires=[order_is_in_the_kitchen], returns=FoodOrderView)
def cancel_food_order(db: Database, sources: EpisodeSources, args: FoodOrderKeyArgs) -> Row:
    """Cancel an order the courier has not picked up. Money, points and the promo code come back."""
    order = db.get(FoodOrder, args.food_order_id)
    change_balance(db, paid(order))
    if order["points_used"]:
        change_points(db, order["points_used"])
    if order["promo_code"]:
        free_promo(db, order["promo_code"])
    for line in lines_of(db, args.food_order_id):
        db.update(Dish, line["dish_id"], portions=line["portions"] + line["quantity"])
    return db.update(FoodOrder, args.food_order_id, status="cancelled")


@verb(requires=[order_is_delivered, basket_is_empty, dishes_are_offered], returns=Basket)
def reorder_food_order(db: Database, sources: EpisodeSources, args: FoodOrderKeyArgs) -> Row:
    """Put the dishes of a delivered order into the empty basket, at today's prices; nothing is ordered yet."""
    for line in lines_of(db, args.food_order_id):
        db.insert(BasketItem, dish_id=line["dish_id"], quantity=line["quantity"])
    return show_basket(db, sources)


class ChangeAddressArgs(FoodOrderKeyArgs):
    """Arguments of a new address."""

    delivery_address_id: Key


@verb(requires=[order_is_in_the_kitchen, address_is_in_range], returns=FoodOrderView)
def change_delivery_address(db: Database, sources: EpisodeSources, args: ChangeAddressArgs) -> Row:
    """Send an order the courier has not picked up to another address the restaurant delivers to."""
    restaurant = db.get(Restaurant, db.get(FoodOrder, args.food_order_id)["restaurant_id"])
    ride = _ride_minutes(sources, restaurant, db.get(DeliveryAddress, args.delivery_address_id))
    return db.update(FoodOrder, args.food_order_id, delivery_address_id=args.delivery_address_id, ride_minutes=ride)


VERBS = [place_food_order, cancel_food_order, reorder_food_order, change_delivery_address, *EXTRA_VERBS]
