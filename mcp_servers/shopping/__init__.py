"""The shopping server: a shop's catalogue, and one shopper's cart, coupons and purchases."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.shopping.models import (
    MODELS,
    Address,
    Coupon,
    PayMethod,
    Product,
    Purchase,
    Variant,
    Wish,
)
from palaestra.mcp_servers.shopping.seed import seed
from palaestra.mcp_servers.shopping.stories import CHAINS, STORIES
from palaestra.mcp_servers.shopping.tools import QUERIES, VERBS

SERVER = ToolServer(
    "shopping",
    "An online shop and one shopper's account with it: catalogue, cart, wish list, coupons, addresses and purchases. "
    "Amounts are in minor units (cents). A cart is filled, then a coupon applied, then delivery chosen, then paid; a "
    "purchase can be cancelled until it ships, and delivered items returned or exchanged for 30 days.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Product, "search"),
        *crud(Variant, "list", entity="product_variant"),
        *crud(Address, "list create", entity="shipping_address", plural="shipping_addresses"),
        *crud(PayMethod, "list", entity="shop_pay_method"),
        *crud(Coupon, "list"),
        *crud(Purchase, "list"),
        *crud(Wish, "list create", entity="wish_list_item"),
        *QUERIES,
        *VERBS,
    ],
)
