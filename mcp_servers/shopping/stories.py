"""Scenes in the shop that use every tool and meet every rule, and tasks whose steps have one order."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

Found = dict[str, Any]


def _pick(items: list[Found], **wanted: Any) -> Found:
    """The first item with these values."""
    return next(item for item in items if all(item[name] == value for name, value in wanted.items()))


def _address(tell: Teller, label: str) -> str:
    return str(_pick(tell.items("list_shipping_addresses"), label=label)["address_id"])


def _pay_method(tell: Teller, kind: str, status: str = "active") -> str:
    return str(tell.items("list_shop_pay_methods", kind=kind, status=status)[0]["pay_method_id"])


def _coupon(tell: Teller, code: str) -> str:
    return str(next(c["coupon_id"] for c in tell.items("list_coupons") if c["code"].startswith(code)))


def _sold_out(tell: Teller) -> Found:
    """The line of the cart that is not in stock."""
    return _pick(tell.items("show_cart"), in_stock=False)


def _purchases(tell: Teller, stage: str) -> list[Found]:
    """Purchases at a stage with their items, the latest first."""
    rows = [tell.call("track_purchase", purchase_id=row["purchase_id"]) for row in tell.items("list_purchases")]
    return sorted((row for row in rows if row["stage"] == stage), key=lambda row: str(row["placed_at"]), reverse=True)


def _line(purchase: Found, index: int = 0) -> str:
    """The key of one item of a purchase."""
    return str(purchase["items"][index]["purchase_line_id"])


# -- stories -------------------------------------------------------------------------------------------------------


def take_a_cart_to_the_checkout(tell: Teller) -> None:
    """What is sold out goes to the wish list; the rest is sent to a new address and paid by the card that can."""
    sold, pan = _sold_out(tell), _pick(tell.items("show_cart"), in_stock=True)
    home, abroad = _address(tell, "home"), _address(tell, "pen friend")
    card, gift, old = (
        _pay_method(tell, kind, status)
        for kind, status in (("credit_card", "active"), ("gift_card", "active"), ("credit_card", "expired"))
    )
    tell.refused("cart_is_in_stock", "choose_cart_delivery", address_id=home)
    tell.refused("cart_is_in_stock", "apply_coupon", coupon_id=_coupon(tell, "WELCOME"))
    tell.refused("cart_is_in_stock", "checkout_cart", pay_method_id=card)
    tell.refused("stock_covers_quantity", "add_to_cart", variant_id=sold["variant_id"])
    tell.call("create_wish_list_item", variant_id=sold["variant_id"], note="when it is back")
    tell.refused("conflict", "create_wish_list_item", variant_id=sold["variant_id"])
    tell.call("set_cart_quantity", cart_line_id=sold["cart_line_id"], quantity=0)
    tell.refused("not_found", "set_cart_quantity", cart_line_id=sold["cart_line_id"], quantity=1)
    tell.refused("new_quantity_is_in_stock", "set_cart_quantity", cart_line_id=pan["cart_line_id"], quantity=10)
    tell.refused("invalid_arguments", "set_cart_quantity", cart_line_id=pan["cart_line_id"], quantity=11)
    tell.call("set_cart_quantity", cart_line_id=pan["cart_line_id"], quantity=1)
    tell.refused("delivery_is_chosen", "checkout_cart", pay_method_id=card)
    tell.refused("address_is_served", "choose_cart_delivery", address_id=abroad)
    new = tell.call(
        "create_shipping_address", label="parents", recipient="Ewa Wiśniewska", street="ul. Krótka 1", city="Łódź",
        country="PL",
    )  # fmt: skip
    cart = tell.call("choose_cart_delivery", address_id=new["address_id"], speed="express")
    tell.refused("pay_method_is_active", "checkout_cart", pay_method_id=old)
    tell.refused("pay_method_covers_total", "checkout_cart", pay_method_id=gift)
    bought = tell.call("checkout_cart", pay_method_id=card)
    assert bought["total"] == cart["total"] == cart["subtotal"] + 1_290  # noqa: S101 - a story holds its server to its rules
    tell.refused("cart_holds_goods", "choose_cart_delivery", address_id=home)


def use_the_right_coupon(tell: Teller) -> None:
    """Of the coupons one is expired, one used up and one out of reach; one that counts is lost by a change."""
    sold = _sold_out(tell)
    tell.call("set_cart_quantity", cart_line_id=sold["cart_line_id"], quantity=0)
    tell.refused("coupon_is_not_expired", "apply_coupon", coupon_id=_coupon(tell, "WINTER"))
    tell.refused("coupon_has_uses_left", "apply_coupon", coupon_id=_coupon(tell, "ONCE"))
    tell.refused("cart_reaches_coupon_minimum", "apply_coupon", coupon_id=_coupon(tell, "GRAND"))
    assert tell.call("apply_coupon", coupon_id=_coupon(tell, "KITCHEN"))["discount"] > 0  # noqa: S101
    tell.call("choose_cart_delivery", address_id=_address(tell, "home"))
    tell.wait(15 * 86_400)
    tell.refused("cart_coupon_is_not_expired", "checkout_cart", pay_method_id=_pay_method(tell, "credit_card"))
    variants = tell.items("list_product_variants", product_id=sold["product_id"])
    last = _pick(variants, stock=1)["variant_id"]
    tell.refused("stock_covers_quantity", "add_to_cart", variant_id=last, quantity=2)
    tell.call("create_wish_list_item", variant_id=last)
    cart = tell.call("add_to_cart", variant_id=last)
    assert (cart["coupon_code"], tell.items("list_wish_list_items")) == (None, [])  # noqa: S101
    tell.refused("stock_covers_quantity", "add_to_cart", variant_id=last)
    cheap = tell.items("browse_products", category="kitchen", maximum_price=20_000)[0]
    tell.call("search_products", text=cheap["brand"], limit=3)
    tell.call("read_product_reviews", product_id=sold["product_id"])


def call_off_or_wait(tell: Teller) -> None:
    """A purchase that is still preparing is called off; one on its way is taken in and reviewed."""
    (preparing,), (coming,) = _purchases(tell, "preparing"), _purchases(tell, "on_the_way")
    tell.refused("purchase_is_not_shipped", "cancel_purchase", purchase_id=coming["purchase_id"])
    gone = tell.call("cancel_purchase", purchase_id=preparing["purchase_id"])
    assert gone["refunded"] == gone["total"]  # noqa: S101
    tell.refused("purchase_is_placed", "cancel_purchase", purchase_id=preparing["purchase_id"])
    tell.refused("purchase_is_placed", "receive_purchase", purchase_id=preparing["purchase_id"])
    review = {"purchase_line_id": _line(coming), "rating": 4, "text": "Fits. Passt. Très bien."}
    tell.refused("item_is_delivered", "review_purchased_item", **review)
    back = {"purchase_line_id": _line(coming), "reason": "does_not_fit"}
    tell.refused("item_is_delivered", "return_purchased_item", **back)
    tell.call("receive_purchase", purchase_id=coming["purchase_id"])
    tell.call("review_purchased_item", **review)
    tell.refused("item_is_not_reviewed", "review_purchased_item", **review)
    tell.call("return_purchased_item", **back)
    tell.refused("item_is_as_bought", "return_purchased_item", **back)


def give_back_and_swap(tell: Teller) -> None:
    """Food stays, what is old stays; a jacket is swapped for the size in stock at the same price."""
    (coming,), (recent, partly, old) = _purchases(tell, "on_the_way"), _purchases(tell, "delivered")[:3]
    tell.refused("item_is_returnable", "return_purchased_item", purchase_line_id=_line(recent, 1), reason="damaged")
    tell.refused("return_window_is_open", "return_purchased_item", purchase_line_id=_line(old), reason="changed_mind")
    product = recent["items"][0]["product_id"]
    variants = tell.items("list_product_variants", product_id=product)
    none, last = (_pick(variants, stock=stock)["variant_id"] for stock in (0, 1))
    pans = tell.items("list_product_variants", product_id=partly["items"][0]["product_id"])
    dearer = _pick(pans, option="24 cm")["variant_id"]
    for line, variant, rule in (
        (_line(coming), last, "item_is_delivered"),
        (_line(partly, 1), last, "item_is_as_bought"),
        (_line(recent, 1), last, "item_is_returnable"),
        (_line(old), last, "return_window_is_open"),
        (_line(recent), dearer, "replacement_is_another_variant"),
        (_line(partly), dearer, "replacement_costs_the_same"),
        (_line(recent), none, "replacement_is_in_stock"),
    ):
        tell.refused(rule, "exchange_purchased_item", purchase_line_id=line, variant_id=variant)
    tell.call("exchange_purchased_item", purchase_line_id=_line(recent), variant_id=last)
    tell.call("return_purchased_item", purchase_line_id=_line(partly), reason="damaged")


STORIES = [take_a_cart_to_the_checkout, use_the_right_coupon, call_off_or_wait, give_back_and_swap]

# -- chains --------------------------------------------------------------------------------------------------------


def buy_what_can_be_had(tell: Teller) -> None:
    """Take out what is sold out, choose express delivery to the office, and pay."""
    tell.call("set_cart_quantity", cart_line_id=_sold_out(tell)["cart_line_id"], quantity=0)
    tell.call("choose_cart_delivery", address_id=_address(tell, "office"), speed="express")
    tell.call("checkout_cart", pay_method_id=_pay_method(tell, "debit_card"))


def buy_with_the_kitchen_coupon(tell: Teller) -> None:
    """Take out what is sold out, use the kitchen coupon, have the rest sent home, pay, and wait for the parcel."""
    tell.call("set_cart_quantity", cart_line_id=_sold_out(tell)["cart_line_id"], quantity=0)
    tell.call("apply_coupon", coupon_id=_coupon(tell, "KITCHEN"))
    tell.call("choose_cart_delivery", address_id=_address(tell, "home"))
    bought = tell.call("checkout_cart", pay_method_id=_pay_method(tell, "credit_card"))
    tell.call("receive_purchase", purchase_id=bought["purchase_id"])


def buy_it_all_at_once(tell: Teller) -> None:
    """Call off the purchase that took the last piece, buy the whole cart instead, take it in, and praise it."""
    tell.call("cancel_purchase", purchase_id=_purchases(tell, "preparing")[0]["purchase_id"])
    tell.call("choose_cart_delivery", address_id=_address(tell, "home"), speed="express")
    bought = tell.call("checkout_cart", pay_method_id=_pay_method(tell, "credit_card"))
    tell.call("receive_purchase", purchase_id=bought["purchase_id"])
    tell.call("review_purchased_item", purchase_line_id=_line(bought), rating=5, text="Worth the wait.")


def save_the_coupon_for_more(tell: Teller) -> None:
    """Call off the purchase that used up a coupon, and use the coupon for the whole cart."""
    preparing = _purchases(tell, "preparing")[0]
    tell.call("cancel_purchase", purchase_id=preparing["purchase_id"])
    tell.call("apply_coupon", coupon_id=preparing["coupon_id"])
    tell.call("choose_cart_delivery", address_id=_address(tell, "office"))
    tell.call("checkout_cart", pay_method_id=_pay_method(tell, "credit_card"))


def send_it_elsewhere(tell: Teller) -> None:
    """Take in a parcel that went home, give its only item back, and buy it again with the cart for the office."""
    coming = _purchases(tell, "on_the_way")[0]
    tell.call("receive_purchase", purchase_id=coming["purchase_id"])
    tell.call("return_purchased_item", purchase_line_id=_line(coming), reason="changed_mind")
    tell.call("choose_cart_delivery", address_id=_address(tell, "office"))
    tell.call("checkout_cart", pay_method_id=_pay_method(tell, "credit_card"))


def swap_what_comes(tell: Teller) -> None:
    """Take in the parcel on its way and swap what is in it for the last piece of another size."""
    coming = _purchases(tell, "on_the_way")[0]
    variants = tell.items("list_product_variants", product_id=coming["items"][0]["product_id"])
    tell.call("receive_purchase", purchase_id=coming["purchase_id"])
    last = _pick(variants, stock=1)["variant_id"]
    tell.call("exchange_purchased_item", purchase_line_id=_line(coming), variant_id=last)


def pass_the_size_on(tell: Teller) -> None:
    """Swap an item for another size, put all pieces of its old size into the cart, and keep but one of them."""
    item = _purchases(tell, "delivered")[0]["items"][0]
    variants = tell.items("list_product_variants", product_id=item["product_id"])
    old, last = _pick(variants, variant_id=item["variant_id"]), _pick(variants, stock=1)
    tell.call(
        "exchange_purchased_item", purchase_line_id=item["purchase_line_id"], variant_id=last["variant_id"]
    )  # fmt: skip
    cart = tell.call("add_to_cart", variant_id=old["variant_id"], quantity=old["stock"] + 1)
    line = _pick(cart["items"], variant_id=old["variant_id"])
    tell.call("set_cart_quantity", cart_line_id=line["cart_line_id"], quantity=1)


CHAINS = [
    buy_what_can_be_had, buy_with_the_kitchen_coupon, buy_it_all_at_once, save_the_coupon_for_more, send_it_elsewhere,
    swap_what_comes, pass_the_size_on,
]  # fmt: skip
