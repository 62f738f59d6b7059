"""The cart as it stands: its lines with price and stock, what it costs, and what a change to it takes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.spec import Output
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.shopping.models import Cart, CartLine, Coupon, Product, Speed, Variant
from palaestra.mcp_servers.shopping.pricing import amount, delivery_fee, discounts, subtotal

_CART = Query(select(Cart.__table__).order_by(Cart.cart_id).limit(1))
_LINES = Query(
    select(
        CartLine.cart_line_id, CartLine.variant_id, CartLine.quantity, Variant.option, Variant.price, Variant.stock,
        Product.product_id, Product.name, Product.category,
    )
    .join_from(CartLine, Variant, Variant.variant_id == CartLine.variant_id)
    .join(Product, Product.product_id == Variant.product_id)
    .order_by(CartLine.cart_line_id)
)  # fmt: skip
_LINE_OF = Query(select(CartLine.__table__).where(CartLine.variant_id == bindparam("variant")))


@dataclass(frozen=True, slots=True)
class Contents:
    """The cart's row, coupon and lines, and what each line's discount is."""

    row: Row
    coupon: Row | None
    lines: list[Row]
    discounts: list[int]

    @property
    def goods(self) -> int:
        """What the goods cost after discount."""
        return subtotal(self.lines) - sum(self.discounts)

    @property
    def fee(self) -> int:
        """What the chosen delivery costs; nothing while none is chosen."""
        return delivery_fee(self.row["speed"], self.goods) if self.row["speed"] else 0

    @property
    def total(self) -> int:
        """What a checkout takes."""
        return self.goods + self.fee

    @property
    def in_stock(self) -> bool:
        """Whether the stock covers every line."""
        return all(line["stock"] >= line["quantity"] for line in self.lines)


def read_cart(db: Database) -> Contents:
    """The shopper's cart."""
    row = db.rows(_CART)[0]
    coupon = None if row["coupon_id"] is None else db.get(Coupon, row["coupon_id"])
    lines = db.rows(_LINES)
    return Contents(row, coupon, lines, discounts(coupon, lines))


def line_of(db: Database, variant_id: str) -> Row | None:
    """The cart's line of a variant, if there is one."""
    return db.first(_LINE_OF, variant=variant_id)


def change_cart(db: Database, **values: Any) -> None:
    """Note a coupon, or none, after a change; what the cart is worth changed, so delivery must be chosen again."""
    cart = db.rows(_CART)[0]
    db.update(Cart, cart["cart_id"], **{"coupon_id": None, "address_id": None, "speed": None, **values})


class CartLineView(Output):
    """One line of the cart."""

    cart_line_id: str
    variant_id: str
    product_id: str
    name: str
    option: str
    quantity: int
    unit_price: int
    amount: int
    in_stock: bool


class CartView(Output):
    """The cart and what it costs."""

    items: list[CartLineView]
    coupon_code: str | None
    address_id: str | None
    speed: Speed | None
    subtotal: int
    discount: int
    delivery_fee: int
    total: int


def view_cart(db: Database) -> Row:
    """The cart as tools show it."""
    cart = read_cart(db)
    items = [
        {
            **{name: line[name] for name in ("cart_line_id", "variant_id", "product_id", "name", "option", "quantity")},
            "unit_price": line["price"],
            "amount": amount(line),
            "in_stock": line["stock"] >= line["quantity"],
        }
        for line in cart.lines
    ]
    return {
        "items": items, "coupon_code": cart.coupon and cart.coupon["code"], "address_id": cart.row["address_id"],
        "speed": cart.row["speed"], "subtotal": subtotal(cart.lines), "discount": sum(cart.discounts),
        "delivery_fee": cart.fee, "total": cart.total,
    }  # fmt: skip
