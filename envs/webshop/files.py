"""The three files of the original shop, as its users have them: products, their attributes, human instructions.

A folder holds `items_shuffle.json`, `items_ins_v2.json` and `items_human_ins.json`; the first two may be the small
ones that end in `_1000.json`; each may be compressed (`.gz`). We never ship or fetch the original's.
"""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from palaestra.envs.core.errors import TaskError
from palaestra.envs.webshop.catalogue import Catalogue, read_products

log = logging.getLogger(__name__)

ITEMS, FACTS, HUMAN = "items_shuffle", "items_ins_v2", "items_human_ins"
SMALL: Final = "_1000"
SMALL_PRODUCTS: Final = 1000


@dataclass(frozen=True, slots=True)
class ShopData:
    """What the files say: records of products, facts by product id, human instructions by product id."""

    items: list[Any]
    facts: dict[str, Any]
    human: dict[str, Any]
    origin: str


def read_folder(
    folder: Path | Traversable, origin: str, *, products: int | None = None, human: bool = True
) -> ShopData:
    """Read the files of a folder; the small ones first if at most 1,000 products are wanted.

    Args:
        folder: where the files are.
        origin: how messages call it.
        products: how many are wanted.
        human: whether human instructions are needed; if not, their file may be missing and is not read.
    Raises: TaskError "webshop_data" naming the file that is missing, unreadable, not JSON, or of another shape.
    Cost: all of a file is read at once; the original's full one is 5 GB of JSON and takes several times that.
    """
    if not folder.is_dir():
        raise TaskError("webshop_data", f"no folder {origin}; give one with {ITEMS}.json, {FACTS}.json, {HUMAN}.json")
    small_first = products is not None and products <= SMALL_PRODUCTS
    endings = (SMALL, "") if small_first else ("", SMALL)
    items = _read(folder, origin, [ITEMS + ending for ending in endings], list)
    facts = _read(folder, origin, [FACTS + ending for ending in endings], dict)
    return ShopData(items, facts, _read(folder, origin, [HUMAN], dict) if human else {}, origin)


def _read(folder: Path | Traversable, origin: str, names: list[str], kind: type) -> Any:
    for name in names:
        for file in (folder / f"{name}.json", folder / f"{name}.json.gz"):
            if file.is_file():
                return _parse(file, f"{origin}/{file.name}", kind)
    wanted = " or ".join(f"{name}.json" for name in names)
    raise TaskError("webshop_data", f"{origin} has no {wanted} (nor one ending in .gz); put it there")


def _parse(file: Path | Traversable, shown: str, kind: type) -> Any:
    try:
        raw = file.read_bytes()
        found = json.loads(gzip.decompress(raw) if file.name.endswith(".gz") else raw)
    except (OSError, EOFError, ValueError) as error:
        raise TaskError(
            "webshop_data", f"{shown} cannot be read as JSON: {error}; download or copy it again"
        ) from error
    if not isinstance(found, kind):
        expected = "a list of products" if kind is list else "an object by product id"
        raise TaskError("webshop_data", f"{shown} holds {type(found).__name__}, expected {expected}")
    return found


def read_catalogue(data: ShopData, *, price_seed: int = 0, products: int | None = None) -> Catalogue:
    """The products of the files; what was left out is in `rejected`, and counted in the log.

    Raises: TaskError "webshop_data" if not one record is a product, quoting the first reason.
    """
    found, rejected = read_products(data.items, data.facts, price_seed=price_seed, most=products)
    if not found:
        reason = f"the first: {rejected[0].reason}" if rejected else "the file holds none"
        raise TaskError("webshop_data", f"{data.origin}: none of {len(rejected)} records is a product; {reason}")
    if rejected:
        first = rejected[0]
        log.warning("%s: %d records left out, first no. %d: %s", data.origin, len(rejected), first.index, first.reason)
    return Catalogue(found, rejected, data.origin)
