"""Catalogues and goals of our own making, in the formats of the original's three files.

A pure function of (shelves, number of products, seed). Product i is of kind i modulo the number of kinds, so that the
first few hundred already hold some of everything. `python -m palaestra.envs.webshop.generator` writes the files that
ship with the package.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from palaestra.envs.core.seeding import stream
from palaestra.envs.webshop.files import FACTS, HUMAN, ITEMS, ShopData
from palaestra.mcp_servers.errors import StoreError

Shelves = Literal["shelves", "corner"]
EMBEDDED_PRODUCTS: Final = 1000
CORNER_PRODUCTS: Final = 240
SEED: Final = 0
_SPLIT_OF_TENTH: Final = ("train",) * 6 + ("valid",) * 2 + ("test",) * 2
_CENTS: Final = (0.99, 0.95, 0.49, 0.79, 0.0)
_ID_STRIDE: Final = 386_117_111  # odd and no multiple of 5, so that ids do not repeat within 10**9 products


def make_shop(shelves: Shelves, products: int, seed: int = SEED) -> ShopData:
    """Records of `products` products, facts of each, and a sentence for every second one.

    Every product belongs to a split, all its goals with it. Cost: 0.12 ms per product.
    """
    book = _read(shelves)
    kinds = _kinds(shelves)
    items: list[Any] = []
    facts: dict[str, Any] = {}
    human: dict[str, Any] = {}
    splits: Sequence[str] = ()
    for i in range(products):
        if i % 10 == 0:  # of any ten products in a row six are for training, whatever kinds they are of
            splits = [_SPLIT_OF_TENTH[k] for k in stream(seed, "webshop", "splits", shelves, i).permutation(10)]
        rng = stream(seed, "webshop", "product", shelves, i)
        asin = f"P{(i * _ID_STRIDE + 104_729) % 10**9:09}"
        kind = kinds[i % len(kinds)]
        item, attributes = _make_item(asin, kind, book, rng)
        wanted = _some(attributes, book["asked"], rng)
        items.append(item)
        facts[asin] = {
            "attributes": attributes,
            "instruction": book["wish"].format(attributes=", ".join(wanted), query=kind["query"]),
            "instruction_attributes": wanted,
            "split": splits[i % 10],
        }
        if i // len(kinds) % 2 == 0:
            human[asin] = [_say(item, kind, wanted, book, rng) | {"split": splits[i % 10]}]
    return ShopData(items, facts, human, f"{products} made products")


@cache
def _read(shelves: Shelves) -> dict[str, Any]:
    return tomllib.loads((files("palaestra.envs.webshop") / "data" / f"{shelves}.toml").read_text("utf-8"))


@cache
def _kinds(shelves: Shelves) -> list[dict[str, Any]]:
    """All kinds of things, a department's turn each."""
    departments = _read(shelves)["department"]
    most = max(len(department["types"]) for department in departments)
    return [
        kind | {"category": department["category"], "path": f"{department['path']} › {kind['path']}"}
        for place in range(most)
        for department in departments
        for kind in department["types"][place : place + 1]
    ]


def _make_item(
    asin: str, kind: Mapping[str, Any], book: Mapping[str, Any], rng: np.random.Generator
) -> tuple[dict[str, Any], list[str]]:
    """(record of the items file, attributes)."""
    attributes = _some(kind["attributes"], book["held"], rng)
    words = {
        "brand": _one(book["brands"], rng), "series": _one(book["series"], rng), "form": _one(kind["forms"], rng),
        "what": kind["what"],
    }  # fmt: skip
    plain = not words["brand"]
    shown = attributes[: book["shown"]]
    title = book["title"].format(**words, shown=" ".join(shown) if plain else ", ".join(map(str.title, shown)))
    benefits = [book["benefits"][k] for k in rng.permutation(len(book["benefits"]))]
    return {
        "asin": asin,
        "name": title,
        "category": kind["category"],
        "query": kind["query"],
        "product_category": kind["path"],
        "full_description": " ".join(
            (
                _one(book["openings"], rng).format(**words),
                f"{', '.join(attributes)}.",
                f"{words['form']}: {benefits[-1]}.",
                _one(book["closings"], rng),
            )
        ).strip(),
        "small_description": [f"{a.capitalize()}: {b}." for a, b in zip(attributes, benefits, strict=False)],
        "pricing": _price(kind["price"], book, rng),
        "images": [],
        "customization_options": {
            name.title(): [{"value": value.title() if not plain else value, "image": None} for value in values]
            for name, values in _choices(kind["options"], book, rng).items()
        },
    }, attributes


def _choices(options: Mapping[str, str], book: Mapping[str, Any], rng: np.random.Generator) -> dict[str, list[str]]:
    """For each option a run of neighbours for what comes in sizes, else any values, in shelf order."""
    least, most = book["offered"]
    found: dict[str, list[str]] = {}
    for name, shelf in options.items():
        known = book["values"][shelf]
        count = int(rng.integers(min(least, len(known)), min(most, len(known)) + 1))
        if name in ("size", "length", "pack", "capacity"):
            first = int(rng.integers(0, len(known) - count + 1))
            found[name] = known[first : first + count]
        else:
            found[name] = [known[k] for k in sorted(rng.permutation(len(known))[:count])]
    return found


def _price(bounds: Sequence[float], book: Mapping[str, Any], rng: np.random.Generator) -> str | None:
    draw = rng.random()
    low = int(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1])))) + _one(_CENTS, rng)
    if draw < book["unpriced"]:
        return None
    if draw < book["unpriced"] + book["ranges"]:
        return f"${low:.2f}${low * rng.uniform(1.2, 1.6):.2f}"
    return f"${low:.2f}"


def _say(
    item: Mapping[str, Any], kind: Mapping[str, Any], wanted: list[str], book: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """An entry of the human instructions: a sentence that asks for one or two options of the product."""
    options = {
        name.lower(): [v["value"].lower() for v in values] for name, values in item["customization_options"].items()
    }
    names = _some(list(options), (1, 2), rng)
    chosen = {name: _one(options[name], rng).replace("/", " | ") for name in names}
    said = " and ".join(f"{name.removesuffix(' name')} {value}" for name, value in chosen.items())
    sentence = _one(book["sentences"], rng).format(
        attributes=" and ".join(wanted), what=kind["what"], query=kind["query"], options=said
    )
    return {
        "instruction": sentence, "instruction_attributes": wanted, "instruction_options": list(chosen.values()),
    }  # fmt: skip


def _one(known: Sequence[Any], rng: np.random.Generator) -> Any:
    return known[int(rng.integers(len(known)))]


def _some(known: Sequence[str], bounds: Sequence[int], rng: np.random.Generator) -> list[str]:
    """Between bounds[0] and bounds[1] of them, in a drawn order."""
    count = int(rng.integers(bounds[0], bounds[1] + 1))
    return [known[k] for k in rng.permutation(len(known))[:count]]


def write_shop(data: ShopData, folder: Path, *, compress: bool = True) -> list[Path]:
    """Write the three files and return their paths; the same data give the same bytes.

    Raises: StoreError "webshop_files" if they cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in ((ITEMS, data.items), (FACTS, data.facts), (HUMAN, data.human)):
            path = folder / f"{name}.json{'.gz' if compress else ''}"
            # Keys of options keep their order, which is the order the shop shows.
            raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
            path.write_bytes(gzip.compress(raw, 9, mtime=0) if compress else raw)
            written.append(path)
    except OSError as error:
        raise StoreError("webshop_files", f"{folder} cannot be written: {error}") from error
    return written


if __name__ == "__main__":
    for file in write_shop(make_shop("shelves", EMBEDDED_PRODUCTS), Path(__file__).parent / "data"):
        print(file.name, file.stat().st_size)
