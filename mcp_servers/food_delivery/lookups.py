"""Rows that several tools need: the diner, the basket with its dishes, the lines of an order."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.food_delivery.models import BasketItem, Diner, Dish, FoodOrder, FoodOrderLine
from palaestra.mcp_servers.framework.sql import Database, Query, Row

_BASKET = Query(
    select(
        BasketItem.food_basket_item_id, BasketItem.dish_id, BasketItem.quantity, Dish.restaurant_id, Dish.name,
        Dish.price, Dish.portions,
    )
    .join_from(BasketItem, Dish, Dish.dish_id == BasketItem.dish_id)
    .order_by(BasketItem.food_basket_item_id)
)  # fmt: skip
_LINES = Query(
    select(FoodOrderLine.dish_id, FoodOrderLine.quantity, FoodOrderLine.price, Dish.name, Dish.portions)
    .join_from(FoodOrderLine, Dish, Dish.dish_id == FoodOrderLine.dish_id)
    .where(FoodOrderLine.food_order_id == bindparam("order"))
    .order_by(FoodOrderLine.food_order_line_id)
)


def the_diner(db: Database) -> Row:
    """The one diner."""
    return db.every(Diner)[0]


def change_balance(db: Database, by: int) -> None:
    """Give money to the diner, or take it."""
    diner = the_diner(db)
    db.update(Diner, diner["diner_id"], balance=diner["balance"] + by)


def change_points(db: Database, by: int) -> None:
    """Give points to the diner, or take them."""
    diner = the_diner(db)
    db.update(Diner, diner["diner_id"], points=diner["points"] + by)


def basket(db: Database) -> list[Row]:
    """The basket with what its dishes cost today."""
    return db.rows(_BASKET)


def basket_total(items: list[Row]) -> int:
    """What the dishes in a basket cost."""
    return sum(item["price"] * item["quantity"] for item in items)


def lines_of(db: Database, food_order_id: str) -> list[Row]:
    """The dishes of an order. Raises: Refusal "not_found"."""
    return db.rows(_LINES, order=db.get(FoodOrder, food_order_id)["food_order_id"])
