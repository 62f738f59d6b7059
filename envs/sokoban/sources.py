"""Where levels come from, and the law by which an episode finds its level.

An environment owns one root number per seed and counts its episodes; the level of an episode is a pure function of
the two. That is why a batch of environments and as many single ones, seeded alike, play the same levels for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, Protocol, Self

from palaestra.envs.core.errors import ConfigError, TaskError, nearest
from palaestra.envs.sokoban.config import SokobanConfig, SplitName
from palaestra.envs.sokoban.core import Level
from palaestra.envs.sokoban.generator import Banded, Generated, generate
from palaestra.envs.sokoban.levels import SPLITS, Split, load_levels, pad, read_levels, split_of, task_id
from palaestra.envs.sokoban.reference import Reference, generate_reference

_MASK: Final = (1 << 64) - 1


def mix(root: int, episode: int) -> int:
    """A 64-bit number for the episode: SplitMix64 of the root and the episode (Steele, Lea, Flood 2014)."""
    z = (root + (episode + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
    return z ^ z >> 31


class LevelSource(Protocol):
    """Levels by split and index; immutable, shared by all copies of an environment."""

    height: int
    width: int

    def count(self, split: SplitName) -> int | None:
        """How many levels the split has; None if there is no end."""
        ...

    def at(self, split: SplitName, index: int) -> Generated:
        """Level number `index` of the split."""
        ...

    def find(self, task: str) -> Generated:
        """The level with this task id; TaskError "unknown_task" if there is none."""
        ...


class GeneratedLevels:
    """Levels made on demand; the index is the seed."""

    def __init__(self, config: SokobanConfig) -> None:
        self.height, self.width = config.size
        self._pool = config.pool
        self._banded = Banded(*config.size, config.boxes, config.min_len, config.max_len, config.inner_walls)
        self._reference = Reference(*config.size, config.boxes, config.search_depth)
        self._make = self._by_reference if config.generator == "reference" else self._by_band

    def _by_band(self, split: SplitName, index: int) -> Generated:
        return generate(self._banded, split, index)

    def _by_reference(self, split: SplitName, index: int) -> Generated:
        return generate_reference(self._reference, split, index)

    def count(self, split: SplitName) -> int | None:
        """The pool, if one is set."""
        return self._pool

    def at(self, split: SplitName, index: int) -> Generated:
        """Make the level, or take it from the generator's cache."""
        return self._make(split, index)

    def find(self, task: str) -> Generated:
        """Generated levels are named by index: their task id cannot be turned back into a level."""
        raise TaskError(
            "unknown_task", f'task={task!r}: generated levels are found by {{"index": i, "split": s}}, not by task id'
        )

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self


class FixedLevels:
    """A list of levels, all padded with walls to one size, in splits."""

    def __init__(self, levels: list[tuple[Level, Split | None]], origin: str, pool: int | None) -> None:
        self.height = max(level.height for level, _ in levels)
        self.width = max(level.width for level, _ in levels)
        entries = [
            Generated(pad(level, self.height, self.width), split or split_of(level), None) for level, split in levels
        ]
        self._origin = origin
        self._by_split: dict[SplitName, list[Generated]] = {
            "all": entries[:pool],
            **{split: [entry for entry in entries if entry.split == split][:pool] for split in SPLITS},
        }
        self._by_task = {task_id(entry.level): entry for entry in reversed(entries)}

    def count(self, split: SplitName) -> int:
        """Levels in the split; TaskError "no_levels" if it is empty."""
        found = len(self._by_split[split])
        if not found:
            sizes = {name: len(entries) for name, entries in self._by_split.items()}
            raise TaskError("no_levels", f"{self._origin} has no level in split {split!r}; it has {sizes}")
        return found

    def at(self, split: SplitName, index: int) -> Generated:
        """In file order."""
        count = self.count(split)
        if index >= count:
            raise TaskError(
                "bad_index", f"index={index}: split {split!r} of {self._origin} has levels 0 to {count - 1}"
            )
        return self._by_split[split][index]

    def find(self, task: str) -> Generated:
        """By task id, in any split."""
        if task not in self._by_task:
            raise TaskError("unknown_task", f"task={task!r} is no level of {self._origin}; {_first(self._by_task)}")
        return self._by_task[task]

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self


def _first(known: Mapping[str, object]) -> str:
    names = list(known)[:3]
    return f"its {len(known)} levels start with {', '.join(names)}"


def embedded_levels() -> list[Level]:
    """The levels that ship with the package, in eight strata of twenty; titles hold the facts of each."""
    return read_levels((files("palaestra.envs.sokoban") / "data" / "levels.xsb").read_text("utf-8"), "embedded levels")


@lru_cache(maxsize=32)
def open_source(config: SokobanConfig) -> LevelSource:
    """The source a configuration asks for; equal configurations share one."""
    if config.levels == "generate":
        return GeneratedLevels(config)
    if config.levels != "embedded":
        return FixedLevels(load_levels(config.levels), repr(config.levels), config.pool)
    strata: dict[str, list[tuple[Level, Split | None]]] = {}
    for level in embedded_levels():
        name = f"size={level.height}x{level.width} boxes={len(level.boxes)}"
        strata.setdefault(name, []).append((level, split_of(level)))
    wanted = "size={}x{} boxes={}".format(*config.size, config.boxes)
    if wanted not in strata:
        raise ConfigError("no_stratum", f"no embedded levels with {wanted}; {nearest(wanted, strata)}")
    return FixedLevels(strata[wanted], f"the embedded levels of {wanted}", config.pool)


def select(
    source: LevelSource, config: SokobanConfig, options: Mapping[str, Any] | None, root: int, episode: int
) -> Generated:
    """The level of an episode: the one the reset options name, else the one the root and the episode number draw.

    Raises: TaskError "unknown_option", "unknown_split", "bad_index", "unknown_task".
    """
    options = options or {}
    for key in options:
        if key not in ("task", "index", "split"):
            raise TaskError("unknown_option", f"reset option {key!r}; {nearest(key, ('task', 'index', 'split'))}")
    if "task" in options:
        return source.find(str(options["task"]))
    split: SplitName = options.get("split", config.default_split)
    if split not in (*SPLITS, "all"):
        raise TaskError("unknown_split", f"split={split!r}; {nearest(str(split), (*SPLITS, 'all'))}")
    count = source.count(split)
    if "index" in options:
        index = options["index"]
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TaskError("bad_index", f"index={index!r}: give a whole number of at least 0")
        return source.at(split, index)
    draw = mix(root, episode)
    return source.at(split, draw % count if count else draw >> 32)
