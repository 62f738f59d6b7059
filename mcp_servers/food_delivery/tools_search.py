"""What can be looked up: restaurants, menus, the basket with what the diner has, and where an order is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select

from palaestra.mcp_servers.food_delivery.lifecycle import delivered_at, delivers_to, is_open, paid, phase, picked_up_at
from palaestra.mcp_servers.food_delivery.lookups import basket, basket_total, lines_of, the_diner
from palaestra.mcp_servers.food_delivery.models import Cuisine, DeliveryAddress, Dish, FoodOrder, PromoCode, Restaurant
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, query
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import FlagOut, InstantOut, Key, Line


class SearchRestaurantsArgs(Args):
    """Arguments of a search; what is left out does not narrow it."""

    text: Annotated[Line, Field(description="part of a name of a restaurant or a dish, ignoring ASCII case")] | None = (
        None
    )
    cuisine: Cuisine | None = None
    delivery_address_id: Annotated[Key, Field(description="only restaurants that deliver there")] | None = None
    open_now: bool = False


class RestaurantFound(Output):
    """A restaurant; hours are minutes after midnight, UTC."""

    restaurant_id: str
    name: str
    cuisine: str
    about: str
    open_now: bool
    opens: int
    closes: int
    closed_on: str | None
    zones: list[str]
    minimum_order: int
    delivery_fee: int
    kitchen_minutes: int
    stars_times_ten: int | None


class RestaurantsFound(Output):
    """Restaurants by id."""

    items: list[RestaurantFound]


_SOLD = select(Dish.restaurant_id).where(func.instr(func.lower(Dish.name), func.lower(bindparam("text"))) > 0)
_RESTAURANTS = Query(
    select(Restaurant.__table__)
    .where(
        or_(
            func.instr(func.lower(Restaurant.name), func.lower(bindparam("text"))) > 0,
            Restaurant.restaurant_id.in_(_SOLD),
        )
    )
    .order_by(Restaurant.restaurant_id)
)
_COPIED = (
    "restaurant_id", "name", "cuisine", "about", "opens", "closes", "closed_on", "minimum_order", "delivery_fee",
    "kitchen_minutes",
)  # fmt: skip


@query(returns=RestaurantsFound)
def search_restaurants(db: Database, sources: EpisodeSources, args: SearchRestaurantsArgs) -> Row:
    """Restaurants by name, dish, cuisine, where they deliver and whether they are open, with minimum and fee."""
    address = None if args.delivery_address_id is None else db.get(DeliveryAddress, args.delivery_address_id)
    return {
        "items": [
            _restaurant(row, sources.now)
            for row in db.rows(_RESTAURANTS, text=args.text or "")
            if args.cuisine in (None, row["cuisine"])
            and (address is None or delivers_to(row, address))
            and (not args.open_now or is_open(row, sources.now))
        ]
    }


def _restaurant(row: Row, now: int) -> Row:
    count = row["rating_count"]
    return {
        **{name: row[name] for name in _COPIED},
        "open_now": is_open(row, now),
        "zones": row["zones"].split(),
        "stars_times_ten": row["rating_sum"] * 10 // count if count else None,
    }


class ShowMenuArgs(Args):
    """Arguments that name a restaurant."""

    restaurant_id: Key


class MenuDish(Output):
    """A dish on the menu."""

    dish_id: str
    name: str
    price: int
    portions: int
    vegetarian: FlagOut


class Menu(Output):
    """A menu, cheapest first."""

    items: list[MenuDish]


_MENU = Query(
    select(Dish.dish_id, Dish.name, Dish.price, Dish.portions, Dish.vegetarian)
    .where(Dish.restaurant_id == bindparam("restaurant"))
    .order_by(Dish.price, Dish.dish_id)
)


@query(returns=Menu)
def show_restaurant_menu(db: Database, sources: EpisodeSources, args: ShowMenuArgs) -> Row:
    """The dishes of a restaurant, cheapest first, with price and portions left; 0 is sold out."""
    return {"items": db.rows(_MENU, restaurant=db.get(Restaurant, args.restaurant_id)["restaurant_id"])}


class BasketLine(Output):
    """A dish in the basket."""

    food_basket_item_id: str
    dish_id: str
    name: str
    quantity: int
    price: int


class Promo(Output):
    """A promo code of the diner."""

    code: str
    percent: int
    most: int
    minimum_subtotal: int
    valid_until: InstantOut
    used: FlagOut


class Basket(Output):
    """The basket, and what the diner has to pay with. The restaurant is that of the first dish."""

    items: list[BasketLine]
    subtotal: int
    restaurant_id: str | None
    minimum_order: int
    delivery_fee: int
    balance: int
    points: int
    promo_codes: list[Promo]


_PROMOS = Query(
    select(
        PromoCode.code, PromoCode.percent, PromoCode.most, PromoCode.minimum_subtotal, PromoCode.valid_until,
        PromoCode.used,
    ).order_by(PromoCode.promo_code_id)
)  # fmt: skip


def show_basket(db: Database, sources: EpisodeSources) -> Row:
    """The basket as its tools show it."""
    items, diner = basket(db), the_diner(db)
    restaurant = db.get(Restaurant, items[0]["restaurant_id"]) if items else None
    return {
        "items": [{name: item[name] for name in BasketLine.model_fields} for item in items],
        "subtotal": basket_total(items),
        "restaurant_id": restaurant and restaurant["restaurant_id"],
        "minimum_order": restaurant["minimum_order"] if restaurant else 0,
        "delivery_fee": restaurant["delivery_fee"] if restaurant else 0,
        "balance": diner["balance"],
        "points": diner["points"],
        "promo_codes": db.rows(_PROMOS),
    }


@query(returns=Basket)
def show_food_basket(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """What is in the basket, its cost and the restaurant's minimum; the diner's balance, points and promo codes."""
    return show_basket(db, sources)


class TrackOrderArgs(Args):
    """Arguments that name an order."""

    food_order_id: Key


class OrderedDish(Output):
    """A dish of an order."""

    dish_id: str
    name: str
    quantity: int
    price: int


class Tracking(Output):
    """Where an order is."""

    food_order_id: str
    phase: str
    restaurant: str
    address: str
    picked_up_at: InstantOut
    delivered_at: InstantOut
    paid: int
    items: list[OrderedDish]


@query(returns=Tracking)
def track_food_order(db: Database, sources: EpisodeSources, args: TrackOrderArgs) -> Row:
    """Where an order is: in_the_kitchen, on_the_way, delivered or cancelled; its times, dishes and what was paid."""
    order = db.get(FoodOrder, args.food_order_id)
    return {
        "food_order_id": args.food_order_id,
        "phase": phase(order, sources.now),
        "restaurant": db.get(Restaurant, order["restaurant_id"])["name"],
        "address": db.get(DeliveryAddress, order["delivery_address_id"])["label"],
        "picked_up_at": picked_up_at(order),
        "delivered_at": delivered_at(order),
        "paid": paid(order),
        "items": [{name: line[name] for name in OrderedDish.model_fields} for line in lines_of(db, args.food_order_id)],
    }


QUERIES = [search_restaurants, show_restaurant_menu, show_food_basket, track_food_order]
