"""Goals: what to buy, said in a sentence; their ids, their limits of price, their splits."""

from __future__ import annotations

import hashlib
import itertools
import random  # noqa: TID251 - the original's order of goals comes from a Mersenne Twister seeded with 233
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from palaestra.envs.core.errors import TaskError
from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.core.types import canonical_json
from palaestra.envs.webshop.catalogue import Catalogue, Product
from palaestra.envs.webshop.config import SPLITS, SplitName
from palaestra.envs.webshop.reward import GoalOption

ORDER_SEED: Final = 233
NO_LIMIT: Final = 1_000_000.0
_STEPS: Final = range(10, 1000, 10)


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal; the fields up to `options` as in `reward.Wanted`.

    Attributes:
        id: 12 hex digits of product, sentence, attributes and options; the limit of price is no part of it.
        instruction: the sentence, limit of price included.
        weight: how often it is drawn, relative to others.
    """

    asin: str
    category: str
    query: str
    name: str
    product_category: str
    instruction: str
    attributes: tuple[str, ...]
    price_upper: float
    options: tuple[GoalOption, ...]
    weight: float = 1.0
    id: str = ""
    split: str = "train"


def goal_id(asin: str, instruction: str, attributes: Iterable[str], options: Iterable[GoalOption]) -> str:
    """The stable name of a goal."""
    facts = canonical_json(
        [asin, instruction, list(attributes), [list(o) if isinstance(o, tuple) else o for o in options]]
    )
    return hashlib.blake2b(facts.encode(), digest_size=6).hexdigest()


def price_limit(price: float, seed: int, identity: str) -> tuple[float, str]:
    """(highest price allowed, how the sentence says so): the larger of two of the next four multiples of ten.

    Too dear for that: no limit.
    """
    first = bisect_right(_STEPS, price)
    above = _STEPS[first : first + 4]
    if len(above) < 2:
        return NO_LIMIT, ""
    pairs = list(itertools.combinations(above, 2))
    limit = float(pairs[derive_seed(seed, "webshop", "limit", identity) % len(pairs)][1])
    return limit, f", and price lower than {limit:.2f} dollars"


def human_goals(catalogue: Catalogue, instructions: Mapping[str, Any], seed: int) -> Iterator[Goal]:
    """One goal per sentence that somebody wrote about a product; those that ask for no attribute are left out.

    Raises: TaskError "webshop_data" naming the product whose entry is no such sentence.
    """
    for product in catalogue.products:
        for said in _entries(instructions, product.asin):
            attributes = _texts(said, "instruction_attributes", product.asin)
            if attributes:
                options = _texts(said, "instruction_options", product.asin)
                sentence = _text(said, "instruction", product.asin).strip(".")
                yield _goal(product, sentence, attributes, options, seed, said.get("split"))


def synthetic_goals(catalogue: Catalogue, facts: Mapping[str, Any], seed: int) -> Iterator[Goal]:
    """One goal per combination of a product's options, in the words of the attributes file.

    Raises: TaskError "webshop_data" naming the product whose entry cannot be read.
    """
    for product in catalogue.products:
        known = facts.get(product.asin) or {}
        attributes = _texts(known, "instruction_attributes", product.asin)
        if known.get("instruction") is None or not attributes:
            continue
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            options = tuple(zip(names, values, strict=True))
            chosen = ", and ".join([f"{name}: {value}" for name, value in options])
            sentence = _text(known, "instruction", product.asin) + (f" with {chosen}" if chosen else "")
            yield _goal(product, sentence, attributes, options, seed, known.get("split"))


def _entries(instructions: Mapping[str, Any], asin: str) -> list[Any]:
    found = instructions.get(asin) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise TaskError("webshop_data", f"human instructions of {asin}: expected a list of objects, got {found!r:.80}")
    return found


def _text(entry: Mapping[str, Any], key: str, asin: str) -> str:
    if not isinstance(entry.get(key), str):
        raise TaskError("webshop_data", f"{asin}: {key!r} must be text, it is {entry.get(key)!r:.80}")
    return str(entry[key])


def _texts(entry: Mapping[str, Any], key: str, asin: str) -> tuple[str, ...]:
    found = entry.get(key) or []
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise TaskError("webshop_data", f"{asin}: {key!r} must be a list of texts, it is {found!r:.80}")
    return tuple(found)


def _goal(
    product: Product, sentence: str, attributes: tuple[str, ...], options: tuple[GoalOption, ...], seed: int, split: Any
) -> Goal:
    identity = goal_id(product.asin, sentence, attributes, options)
    limit, text = price_limit(product.price, seed, identity)
    return Goal(
        asin=product.asin,
        category=product.category,
        query=product.query,
        name=product.name,
        product_category=product.product_category,
        instruction=sentence + text,
        attributes=attributes,
        price_upper=limit,
        options=options,
        id=identity,
        split=str(split or ""),
    )


def weigh(goals: Sequence[Goal]) -> list[Goal]:
    """Synthetic goals with their weights: the mean rarity of a goal's attributes."""
    counts = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [replace(goal, weight=sum(1 / counts[a] for a in goal.attributes) / len(goal.attributes)) for goal in goals]


class GoalSet:
    """Goals by split, index and id; immutable, shared by all episodes.

    The order is the original's shuffle. A goal that names no split is put into one by its place: test, valid, train,
    which for the original's 12,087 sentences are its 500, 1,000 and the rest.
    """

    def __init__(self, goals: Iterable[Goal], origin: str) -> None:
        ordered = list(goals)
        random.Random(ORDER_SEED).shuffle(ordered)
        tests, valids = min(500, len(ordered) // 10), min(1000, len(ordered) // 5)
        by_place = ("test", "valid", "train")
        edges = (tests, tests + valids, len(ordered))
        ordered = [
            goal if goal.split in SPLITS else replace(goal, split=by_place[bisect_left(edges, place + 1)])
            for place, goal in enumerate(ordered)
        ]
        self._origin = origin
        self._by_split: dict[str, list[Goal]] = {
            "all": ordered,
            **{split: [goal for goal in ordered if goal.split == split] for split in SPLITS},
        }
        self._sums: dict[tuple[str, int | None], list[float]] = {}

    def __iter__(self) -> Iterator[Goal]:
        return iter(self._by_split["all"])

    def __len__(self) -> int:
        return len(self._by_split["all"])

    @cached_property
    def _by_id(self) -> dict[str, Goal]:
        return {goal.id: goal for goal in reversed(self._by_split["all"])}

    def count(self, split: SplitName, pool: int | None = None) -> int:
        """Goals of the split, at most `pool`. Raises: TaskError "no_goals" if there are none."""
        found = len(self._by_split[split][:pool])
        if not found:
            sizes = {name: len(goals) for name, goals in self._by_split.items()}
            raise TaskError("no_goals", f"{self._origin} has no goal in split {split!r}; it has {sizes}")
        return found

    def at(self, split: SplitName, index: int) -> Goal:
        """Goal number `index` of the split. Raises: TaskError "bad_index"."""
        count = self.count(split)
        if index >= count:
            raise TaskError("bad_index", f"index={index}: split {split!r} of {self._origin} has goals 0 to {count - 1}")
        return self._by_split[split][index]

    def draw(self, split: SplitName, pool: int | None, share: float) -> Goal:
        """The goal at this share, in [0, 1), of the weights of the split's first `pool` goals."""
        self.count(split, pool)
        key = (split, pool)
        if key not in self._sums:
            self._sums[key] = list(itertools.accumulate(goal.weight for goal in self._by_split[split][:pool]))
        sums = self._sums[key]
        return self._by_split[split][min(bisect_left(sums, share * sums[-1]), len(sums) - 1)]

    def find(self, task: str) -> Goal:
        """By id, in any split. Raises: TaskError "unknown_task"."""
        if task not in self._by_id:
            some = ", ".join(list(self._by_id)[:3])
            raise TaskError("unknown_task", f"task={task!r} is no goal of {self._origin}; its {len(self)} start {some}")
        return self._by_id[task]
