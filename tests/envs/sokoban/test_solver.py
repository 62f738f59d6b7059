"""The solver against plain forward breadth-first search, which shares nothing with it but the rules."""

from __future__ import annotations

import math

import pytest

from palaestra.envs.sokoban import astar, solver
from palaestra.envs.sokoban.core import Level, compose, find_player, step
from palaestra.envs.sokoban.embedded import STRATA, count_pushes, make_stratum
from palaestra.envs.sokoban.generator import Banded, generate
from palaestra.envs.sokoban.levels import read_levels, split_of, task_id
from palaestra.envs.sokoban.sources import embedded_levels


def by_brute_force(level: Level) -> float:
    """Moves to solve, by forward search over whole boards."""
    frontier, seen, moves = [level.cells], {level.cells}, 0
    while frontier:
        if any(4 not in cells for cells in frontier):  # no box off target
            return moves
        following = []
        for cells in frontier:
            for action in (1, 2, 3, 4):
                after = bytearray(cells)
                step(after, find_player(after), action, level.width)
                board = bytes(after)
                if board not in seen:
                    seen.add(board)
                    following.append(board)
        frontier, moves = following, moves + 1
    return math.inf


def scrambled(seed: int, spec: Banded) -> Level:
    """A level of the generator with player and boxes thrown anywhere: many of these cannot be solved."""
    made = generate(spec, "all", seed).level
    free = [i for i, code in enumerate(made.room) if code]
    draws = [(seed * 7919 + k * 104729) % len(free) for k in range(40)]
    chosen = list(dict.fromkeys(free[draw] for draw in draws))[: spec.boxes + 1]
    return compose(made.height, made.width, made.room, chosen[0], tuple(sorted(chosen[1:])))


SPECS = [Banded(), Banded(5, 7, 2), Banded(6, 6, 2, 5, 18)]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_distance_equals_brute_force(spec: Banded) -> None:
    lost = 0
    for seed in range(90):
        made = generate(spec, "all", seed)
        assert solver.distance(made.level) == made.distance == by_brute_force(made.level)
        level = scrambled(seed, spec)
        truth = by_brute_force(level)
        lost += truth == math.inf
        assert solver.distance(level) == truth
        found = astar.search(level, 10**6)
        assert found is not None
        assert (math.inf if found.actions is None else len(found.actions)) == truth
    assert lost > 5


@pytest.mark.parametrize("spec", [*SPECS, Banded(8, 8, 3, 4, 14)], ids=str)
def test_plan_solves_in_that_many_moves_and_no_prefix_does(spec: Banded) -> None:
    for seed in range(15):
        made = generate(spec, "all", seed)
        plan = solver.plan(made.level)
        assert plan is not None
        assert len(plan) == made.distance
        cells, player = bytearray(made.level.cells), made.level.player
        for left, action in zip(range(len(plan), 0, -1), plan, strict=True):
            board = Level(made.level.height, made.level.width, bytes(cells))
            assert solver.distance(board) == left
            player, _, _ = step(cells, player, action, made.level.width)
        assert 4 not in cells


def test_solved_and_lost_levels() -> None:
    (solved,) = read_levels("#####\n#@ *#\n#####")
    assert solver.distance(solved) == 0
    assert solver.plan(solved) == []
    (lost,) = read_levels("#####\n#$ @#\n#  .#\n#####")
    assert solver.distance(lost) == math.inf
    assert solver.plan(lost) is None


LARGE = "\n".join(["#" * 20, *["#" + " " * 18 + "#"] * 16, "#" * 20])


def large(*edits: tuple[int, int, str]) -> Level:
    rows = [list(row) for row in LARGE.split("\n")]
    for row, column, symbol in edits:
        rows[row][column] = symbol
    (level,) = read_levels("\n".join("".join(row) for row in rows))
    return level


def test_large_rooms_go_to_a_star() -> None:
    level = large((8, 8, "@"), (8, 9, "$"), (8, 12, "."), (5, 5, "$"), (5, 6, "."), (3, 3, "*"), (12, 12, "*"))
    assert solver.build_table(level.room, level.width, level.targets) is None
    plan = solver.plan(level)
    assert plan is not None
    assert solver.distance(level) == len(plan)
    cells, player = bytearray(level.cells), level.player
    for action in plan:
        player, _, _ = step(cells, player, action, level.width)
    assert 4 not in cells


@pytest.mark.parametrize(
    "boxes",
    [
        [(1, 1, "$")],  # corner
        [(1, 9, "$")],  # edge without a target on it
        [(8, 8, "$"), (8, 9, "$"), (9, 8, "$"), (9, 9, "$")],  # a block of four can never be moved again
        [(1, 8, "$"), (1, 9, "$")],
    ],
)
def test_deadlocks_are_seen_at_once(boxes: list[tuple[int, int, str]]) -> None:
    targets = [(5, 3 + i, ".") for i in range(len(boxes) + 2)]
    level = large((12, 12, "@"), (10, 3, "$"), (10, 9, "$"), *boxes, *targets)
    found = astar.search(level, 10)
    assert found == astar.Found(None, 0)
    assert solver.distance(level) == math.inf
    assert solver.plan(level) is None


def test_frozen_on_target_is_no_deadlock() -> None:
    level = large((1, 1, "*"), (8, 8, "@"), (8, 9, "$"), (8, 10, "."), (12, 4, "*"), (12, 6, "*"))
    assert solver.distance(level) == 1


def test_exhausted_budget_is_none() -> None:
    level = large((8, 8, "@"), (4, 9, "$"), (14, 12, "."), (5, 5, "$"), (10, 16, "."), (3, 3, "$"), (9, 9, "."))
    assert solver.distance(level, node_budget=20) is None
    assert solver.plan(level, node_budget=20) is None


def test_many_boxes_still_have_a_lower_bound() -> None:
    rows = [(3, 2 + i, "*") for i in range(9)]
    assert solver.distance(large((8, 8, "@"), (8, 9, "$"), (8, 11, "."), *rows)) == 2


def facts(level: Level) -> dict[str, str]:
    name, *pairs = level.title.split()
    return {"id": name, **dict(pair.split("=") for pair in pairs)}


EMBEDDED = embedded_levels()


def test_embedded_levels_are_eight_strata_of_twenty() -> None:
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for level in EMBEDDED:
        said = facts(level)
        assert said["id"] == task_id(level)
        assert said["split"] == split_of(level)
        assert said["size"] == f"{level.height}x{level.width}"
        assert int(said["boxes"]) == len(level.boxes)
        by_split = counts.setdefault((said["size"], said["boxes"]), {})
        by_split[said["split"]] = by_split.get(said["split"], 0) + 1
    strata = (
        ("5x5", "1"),
        ("6x6", "1"),
        ("6x6", "2"),
        ("7x7", "2"),
        ("8x8", "2"),
        ("8x8", "3"),
        ("10x10", "3"),
        ("10x10", "4"),
    )
    assert counts == {stratum: {"train": 12, "valid": 4, "test": 4} for stratum in strata}
    assert len({task_id(level)[:-2] for level in EMBEDDED}) == 160


@pytest.mark.parametrize("boxes", [1, 2, 3, 4])
def test_embedded_lengths_are_exact(boxes: int) -> None:
    for level in EMBEDDED:
        if len(level.boxes) == boxes:
            plan = solver.plan(level)
            assert plan is not None
            assert len(plan) == int(facts(level)["moves"])
            assert count_pushes(level, plan) == int(facts(level)["pushes"])


@pytest.mark.parametrize("stratum", range(5))
def test_embedded_levels_are_what_the_command_makes(stratum: int) -> None:
    made = make_stratum(STRATA[stratum])
    shipped = EMBEDDED[20 * stratum : 20 * stratum + 20]
    assert made == shipped
    assert [level.title for level in made] == [level.title for level in shipped]
