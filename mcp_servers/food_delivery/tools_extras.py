"""Promo codes, points, tips and ratings of an order.

Rules: one promo code per order, each once, and before points; points come in hundreds, a cent each, up to what is left
to pay; a courier is tipped once, before the order is rated; a delivered order is rated once, which brings 20 points.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.food_delivery.lifecycle import phase, to_pay
from palaestra.mcp_servers.food_delivery.lookups import change_balance, change_points, the_diner
from palaestra.mcp_servers.food_delivery.models import FoodOrder, PromoCode, Restaurant
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import not_found
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Key

POINTS_FOR_RATING: Final = 20

FoodOrderView = view(FoodOrder)

_PROMO = Query(select(PromoCode.__table__).where(PromoCode.code == bindparam("code")))


def _order(db: Database, args: Any) -> Row:
    return db.get(FoodOrder, args.food_order_id)


def _promo(db: Database, code: str) -> Row:
    found = db.first(_PROMO, code=code)
    if found is None:
        raise not_found("promo_code", code)
    return found


def free_promo(db: Database, code: str) -> None:
    """Let a promo code be used again."""
    db.update(PromoCode, _promo(db, code)["promo_code_id"], used=0)


# -- preconditions ---------------------------------------------------------------------------------------------------


@precondition
def order_is_in_the_kitchen(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order is in the kitchen: not cancelled, and the courier has not picked it up."""
    return phase(_order(db, args), sources.now) == "in_the_kitchen"


@precondition
def order_is_delivered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order has been delivered."""
    return phase(_order(db, args), sources.now) == "delivered"


@precondition
def order_is_not_cancelled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order is not cancelled."""
    return bool(_order(db, args)["status"] != "cancelled")


@precondition
def order_is_not_tipped(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The courier has not been tipped for the order yet."""
    return not _order(db, args)["tip"]


@precondition
def order_is_not_rated(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order has not been rated yet."""
    return _order(db, args)["stars"] is None


@precondition
def balance_covers_tip(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The balance covers the tip."""
    return bool(args.amount <= the_diner(db)["balance"])


@precondition
def order_has_no_promo(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order has no promo code yet."""
    return not _order(db, args)["promo_code"]


@precondition
def no_points_are_redeemed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No points have been redeemed for the order; a promo code comes first."""
    return not _order(db, args)["points_used"]


@precondition
def promo_is_unused(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The promo code has not been used for another order."""
    return not _promo(db, args.code)["used"]


@precondition
def promo_is_valid(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The promo code has not expired."""
    return bool(_promo(db, args.code)["valid_until"] > sources.now)


@precondition
def promo_minimum_is_met(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The dishes of the order are worth the promo code's minimum."""
    return bool(_order(db, args)["subtotal"] >= _promo(db, args.code)["minimum_subtotal"])


@precondition
def points_suffice(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The diner has that many points."""
    return bool(args.points <= the_diner(db)["points"])


@precondition
def points_fit_the_order(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The points are worth no more than what is left to pay for dishes and delivery."""
    return bool(args.points <= to_pay(_order(db, args)))


# -- verbs -----------------------------------------------------------------------------------------------------------


class FoodOrderKeyArgs(Args):
    """Arguments that name an order."""

    food_order_id: Key


class ApplyPromoArgs(FoodOrderKeyArgs):
    """Arguments of a promo code."""

    code: Annotated[str, Field(min_length=1, max_length=20, description="as written, in capitals")]


@verb(
    requires=[
        order_is_in_the_kitchen, order_has_no_promo, no_points_are_redeemed, promo_is_unused, promo_is_valid,
        promo_minimum_is_met,
    ],
    returns=FoodOrderView,
)  # fmt: skip
def apply_promo_code(db: Database, sources: EpisodeSources, args: ApplyPromoArgs) -> Row:
    """Take a promo code's discount off an order in the kitchen, before any points; the money comes back at once."""
    order, promo = _order(db, args), _promo(db, args.code)
    discount = min(order["subtotal"] * promo["percent"] // 100, promo["most"])
    db.update(PromoCode, promo["promo_code_id"], used=1)
    change_balance(db, discount)
    return db.update(FoodOrder, args.food_order_id, promo_code=args.code, discount=discount)


class RedeemPointsArgs(FoodOrderKeyArgs):
    """Arguments of redeeming points."""

    points: Annotated[int, Field(ge=100, le=100_000, multiple_of=100, description="in hundreds; a point is a cent")]


@verb(requires=[order_is_in_the_kitchen, points_suffice, points_fit_the_order], returns=FoodOrderView)
def redeem_food_points(db: Database, sources: EpisodeSources, args: RedeemPointsArgs) -> Row:
    """Pay part of an order in the kitchen with points; the money comes back at once. No promo code after that."""
    change_points(db, -args.points)
    change_balance(db, args.points)
    return db.update(FoodOrder, args.food_order_id, points_used=_order(db, args)["points_used"] + args.points)


class TipArgs(FoodOrderKeyArgs):
    """Arguments of a tip."""

    amount: Amount


@verb(
    requires=[order_is_not_cancelled, order_is_not_tipped, order_is_not_rated, balance_covers_tip],
    returns=FoodOrderView,
)
def tip_courier(db: Database, sources: EpisodeSources, args: TipArgs) -> Row:
    """Tip the courier of an order from the balance, once, before the order is rated. Minor units."""
    change_balance(db, -args.amount)
    return db.update(FoodOrder, args.food_order_id, tip=args.amount)


class RateArgs(FoodOrderKeyArgs):
    """Arguments of a rating."""

    stars: Annotated[int, Field(ge=1, le=5)]
    comment: Annotated[str, Field(max_length=300)] = ""


@verb(requires=[order_is_delivered, order_is_not_rated], returns=FoodOrderView)
def rate_food_order(db: Database, sources: EpisodeSources, args: RateArgs) -> Row:
    """Rate a delivered order once, for good; it brings 20 points and counts for the restaurant."""
    restaurant = db.get(Restaurant, _order(db, args)["restaurant_id"])
    db.update(
        Restaurant, restaurant["restaurant_id"], rating_sum=restaurant["rating_sum"] + args.stars,
        rating_count=restaurant["rating_count"] + 1,
    )  # fmt: skip
    change_points(db, POINTS_FOR_RATING)
    return db.update(FoodOrder, args.food_order_id, stars=args.stars, comment=args.comment)


EXTRA_VERBS = [apply_promo_code, redeem_food_points, tip_courier, rate_food_order]
