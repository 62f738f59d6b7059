"""Products: one record of the items file as the shop shows it, searches it and judges it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from palaestra.envs.core.seeding import derive_seed

MISSING_PRICE: Final = 100.0
NO_ATTRIBUTES: Final = ("DUMMY_ATTR",)
LONGEST_ID: Final = 10
_NOT_NUMBER: Final = re.compile(r"[^\d.]")


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One product; equal to itself only, so that it can be the key of a cache.

    Attributes:
        options: values to choose from, by lower-case name, in order; values are lower case.
        price: in dollars; `tag` is how the shop writes it, which may be a range.
    """

    asin: str
    name: str
    category: str
    query: str
    product_category: str
    description: str
    bullets: tuple[str, ...]
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    price: float
    tag: str

    @property
    def document(self) -> str:
        """What the search engine reads."""
        options = ", and ".join([f"{name}: {', '.join(values)}" for name, values in self.options.items()])
        bullet = self.bullets[0] if self.bullets else ""
        return " ".join((self.name, self.description, bullet, options)).lower()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no product, and why."""

    index: int
    reason: str


class Catalogue:
    """Products in the order of their file; immutable, shared by all episodes.

    Attributes:
        products: in order.
        rejected: records of the file that were left out.
        origin: where they come from, for messages.
    """

    def __init__(self, products: Sequence[Product], rejected: Sequence[Rejected] = (), origin: str = "") -> None:
        self.products = tuple(products)
        self.rejected = tuple(rejected)
        self.origin = origin
        self._index = {product.asin.lower(): i for i, product in enumerate(self.products)}

    def __len__(self) -> int:
        return len(self.products)

    def find(self, asin: str) -> int | None:
        """The number of the product with this id, in any case; None if there is none."""
        return self._index.get(asin.lower())

    @cached_property
    def characters(self) -> frozenset[str]:
        """Every character the shop can show of its products. Cost: one pass over all texts."""
        found: set[str] = set()
        for p in self.products:
            found.update(p.asin, p.name, p.category, p.query, p.product_category, p.description, p.tag)
            found.update(*p.bullets, *p.attributes, *p.options, *(v for values in p.options.values() for v in values))
        return frozenset(found | {letter for one in found for letter in one.lower()})


def read_products(
    records: Iterable[Any], attributes: Mapping[str, Any], *, price_seed: int = 0, most: int | None = None
) -> tuple[list[Product], list[Rejected]]:
    """The products of an items file, the first `most` records of it; what is unreadable is rejected, not fatal.

    Ids "nan", longer than ten characters or seen before are left out, as the original does.

    Cost: linear in the records.
    """
    products: list[Product] = []
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for index, record in enumerate(records):
        if most is not None and index >= most:
            break
        try:
            asin = _asin(record, seen)
            products.append(_product(record, asin, attributes.get(asin) or {}, price_seed))
            seen.add(asin.lower())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            rejected.append(Rejected(index, reason))
    return products, rejected


def _asin(record: Any, seen: set[str]) -> str:
    if not isinstance(record, dict):
        raise TypeError(f"a product is an object, this is {type(record).__name__}")
    asin = record["asin"]
    if not isinstance(asin, str) or asin == "nan" or not 1 <= len(asin) <= LONGEST_ID:
        raise ValueError(f"asin {asin!r} is no id of 1 to {LONGEST_ID} characters")
    if asin.lower() in seen:
        raise ValueError(f"asin {asin!r} stands there twice")
    return asin


def _product(record: Mapping[str, Any], asin: str, known: Mapping[str, Any], price_seed: int) -> Product:
    amounts = read_price(record.get("pricing"))
    price, tag = amounts[0], f"${amounts[0]}"
    if len(amounts) > 1:
        low, high = amounts[:2]
        share = derive_seed(price_seed, "webshop", "price", asin) / 2**64
        price, tag = low + (high - low) * share, f"${low} to ${high}"
    bullets = record.get("small_description") or []
    found = known.get("attributes") or NO_ATTRIBUTES
    return Product(
        asin=asin,
        name=str(record["name"]),
        category=str(record.get("category") or ""),
        query=str(record.get("query") or "").lower().strip(),
        product_category=str(record.get("product_category") or ""),
        description=str(record.get("full_description") or ""),
        bullets=tuple(map(str, bullets if isinstance(bullets, list) else [bullets])),
        attributes=tuple(map(str, found)),
        options=_options(record.get("customization_options") or {}),
        price=price,
        tag=tag,
    )


def read_price(text: str | None) -> list[float]:
    """The amounts of a price such as "$1,299.00" or "$5.99$12.50"; without a text, 100 dollars.

    Raises: ValueError if there is text and no amount in it.

    >>> read_price("$5.99 - $1,012.50"), read_price(None)
    ([5.99, 1012.5], [100.0])
    """
    if not text:
        return [MISSING_PRICE]
    amounts = [_NOT_NUMBER.sub("", part) for part in str(text).split("$")[1:]]
    if not amounts:
        raise ValueError(f"pricing {text!r} names no amount; write it as $12.34")
    return [float(amount) for amount in amounts]


def _options(found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(value["value"].strip().replace("/", " | ").lower() for value in values)
        for name, values in found.items()
        if values is not None
    }
