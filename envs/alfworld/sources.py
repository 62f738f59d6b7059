"""Where games come from: the package, the generator, or the user's folder. Immutable, shared by all environments."""

from __future__ import annotations

import gzip
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol, Self

from palaestra.envs.alfworld import generator
from palaestra.envs.alfworld.config import ALFWorldConfig, SplitName
from palaestra.envs.alfworld.folder import find_games, read_listed, root_folder
from palaestra.envs.alfworld.game import TASK_TYPES, Game, compile_game
from palaestra.envs.alfworld.generator import SPLITS, Household, Split
from palaestra.envs.alfworld.grammar import Grammar, read_grammar, write_grammar
from palaestra.envs.alfworld.household import Size
from palaestra.envs.alfworld.problem import read_problem
from palaestra.envs.core.errors import ConfigError, TaskError, nearest
from palaestra.envs.core.seeding import derive_seed

ASCII_TEXT: Final = "".join(sorted(set(string.printable) - set("\r\x0b\x0c\t")))
_SECOND_NAMES: Final[Mapping[SplitName, Split]] = {"valid": "valid_seen", "test": "valid_unseen"}
_CACHED_GAMES: Final = 2048


def split_of(name: SplitName) -> Split:
    """The split that is meant by a name."""
    for split in SPLITS:
        if split == _SECOND_NAMES.get(name, name):
            return split
    raise TaskError("unknown_split", f"no split {name!r}; {nearest(str(name), (*SPLITS, *_SECOND_NAMES))}")


class GameSource(Protocol):
    """Games by split and index."""

    @property
    def charset(self) -> str:
        """Every character that texts may hold, as a sorted string."""
        ...

    def count(self, split: Split) -> int | None:
        """How many games the split has; None if there is no end."""
        ...

    def at(self, split: Split, index: int) -> Game:
        """Game number `index` of the split."""
        ...

    def find(self, task_id: str) -> tuple[Split, int]:
        """Where the game with this id stands; TaskError "unknown_task" if there is none."""
        ...


@lru_cache(maxsize=256)
def _grammar(sentence: str) -> Grammar:
    return read_grammar(write_grammar(sentence))


class _Shared:
    """Sources are shared, not copied."""

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self


class EmbeddedGames(_Shared):
    """The games that come with the package: 60 train, 24 valid_seen, 24 valid_unseen, all six tasks equally.

    Cost: opening reads 30 kB; a game is compiled when first asked for.
    """

    charset = ASCII_TEXT

    def __init__(self, tasks: Sequence[str] = TASK_TYPES) -> None:
        self._games: dict[Split, list[int]] = {
            split: [i for i, entry in enumerate(_embedded()) if entry["split"] == split and entry["task_type"] in tasks]
            for split in SPLITS
        }

    def count(self, split: Split) -> int:
        """Their number."""
        return len(self._games[split])

    def at(self, split: Split, index: int) -> Game:
        """The game, compiled once."""
        return _embedded_game(self._games[split][_checked(index, self.count(split), split)])

    def read(self, split: Split, index: int) -> Game:
        """The game, read and compiled anew."""
        return _read_embedded(self._games[split][_checked(index, self.count(split), split)])

    def find(self, task_id: str) -> tuple[Split, int]:
        """Cost: compiles the games up to the one found."""
        for split, numbers in self._games.items():
            for index, number in enumerate(numbers):
                if _embedded_game(number).task_id == task_id:
                    return split, index
        raise TaskError("unknown_task", f"task={task_id!r}: no embedded game has this id")


@lru_cache(maxsize=1)
def _embedded() -> list[dict[str, Any]]:
    packed = files(__package__).joinpath("data", "games.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


@lru_cache(maxsize=_CACHED_GAMES)
def _embedded_game(number: int) -> Game:
    return _read_embedded(number)


def _read_embedded(number: int) -> Game:
    entry = _embedded()[number]
    return compile_game(
        read_problem(entry["problem"]), _grammar(entry["sentence"]), split=entry["split"], file=entry["file"]
    )


@dataclass(frozen=True)
class GeneratedGames(_Shared):
    """Games made on demand; the index is the number of the game."""

    size: Size
    layouts: int
    tasks: tuple[str, ...]
    pool: int | None
    charset: str = ASCII_TEXT

    def count(self, split: Split) -> int | None:
        """The pool, if one is set."""
        return self.pool

    def at(self, split: Split, index: int) -> Game:
        """Make the game, or take it from the cache; a few milliseconds."""
        return _generated_game(split, _checked(index, self.pool, split), self.size, self.layouts, self.tasks)

    def find(self, task_id: str) -> tuple[Split, int]:
        """A generated game is named by its number: an id cannot be turned back into a game."""
        message = f'task={task_id!r}: generated games are found by {{"index": i, "split": s}}, not by task id'
        raise TaskError("unknown_task", message)


@lru_cache(maxsize=_CACHED_GAMES)
def _generated_game(split: Split, number: int, size: Size, layouts: int, tasks: tuple[str, ...]) -> Game:
    made = generator.make_household(split, number, size=size, layouts=layouts, tasks=tasks)
    return compile_household(made, file_name(made, number))


def compile_household(made: Household, file: str) -> Game:
    """The game as its files would be read."""
    return compile_game(made.problem, _grammar(made.sentence), split=made.split, file=file)


def file_name(made: Household, number: int) -> str:
    """The path such a game has in the original's folders: split, task with its types and room, trial."""
    types = f"{made.target}-None-{made.place}"
    return f"{made.split}/{made.task_type}-{types}-{made.layout.key[:6]}/trial_{number:08d}_{made.key[:6]}/game.tw-pddl"


class FolderGames(_Shared):
    """The user's games, indexed when the source is opened (a millisecond or two per game) and read when played."""

    def __init__(self, root: Path, tasks: Sequence[str], strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._games, seen = find_games(self._root, tasks)
        self.charset = "".join(sorted(set(ASCII_TEXT) | seen))

    def count(self, split: Split) -> int:
        """Their number."""
        return len(self._games[split])

    def at(self, split: Split, index: int) -> Game:
        """Read and compile the game; kept for the next time."""
        file = self._games[split][_checked(index, self.count(split), split)]
        return read_listed(self._root, file, split, self._strict)

    def find(self, task_id: str) -> tuple[Split, int]:
        """Cost: reads the games up to the one found."""
        for split, games in self._games.items():
            for index in range(len(games)):
                if self.at(split, index).task_id == task_id:
                    return split, index
        raise TaskError("unknown_task", f"task={task_id!r}: no game under {self._root} has this id")


def _checked(index: int, count: int | None, split: str) -> int:
    if not isinstance(index, int) or index < 0 or (count is not None and index >= count):
        known = "whole numbers from 0" if count is None else f"0 to {count - 1}" if count else "none: it has no games"
        raise TaskError("unknown_index", f"index={index!r} of split {split!r}; known: {known}")
    return index


@lru_cache(maxsize=64)
def _embedded_source(tasks: tuple[str, ...]) -> EmbeddedGames:
    return EmbeddedGames(tasks)


@lru_cache(maxsize=16)
def _folder_source(root: Path, tasks: tuple[str, ...], strict: bool) -> FolderGames:
    return FolderGames(root, tasks, strict)


def open_source(config: ALFWorldConfig) -> GameSource:
    """The source of these settings; a folder is indexed once per process.

    Raises: ConfigError "games" for a folder that is not there; TaskError "no_games" for one without games.
    """
    if config.games == "embedded":
        return _embedded_source(config.tasks)
    if config.games == "generate":
        return GeneratedGames(config.size, config.layouts, config.tasks, config.pool)
    return _folder_source(root_folder(config.games), config.tasks, config.strict)


def select(
    source: GameSource, config: ALFWorldConfig, options: Mapping[str, Any] | None, root: int, episode: int
) -> tuple[SplitName, int]:
    """Name of the split and index of the game of an episode.

    Reset options: `index`, `split`, `task` (a task id). Without index and task the game is a function of root and
    episode number alone.

    Raises: ConfigError "option" for an unknown one; TaskError "unknown_split", "unknown_index", "unknown_task",
        "no_games" for a split without games.
    """
    given = dict(options or {})
    name: SplitName = given.pop("split", config.split)
    split = split_of(name)
    task, index = given.pop("task", None), given.pop("index", None)
    if given or (task is not None and index is not None):
        wrong = next(iter(given), "task and index together")
        raise ConfigError(
            "option", f"unknown reset option {wrong!r}; {nearest(str(wrong), ('index', 'split', 'task'))}"
        )
    if task is not None:
        found, number = source.find(str(task))
        return (name if split == found else found), number
    if index is not None:
        return name, index
    count = source.count(split)
    if count == 0:
        wanted = ", ".join(config.tasks)
        raise TaskError("no_games", f"split {name!r} has no games of the types {wanted}; choose another split or type")
    draw = derive_seed(root, "game", episode)
    return name, draw >> 1 if count is None else draw % count
