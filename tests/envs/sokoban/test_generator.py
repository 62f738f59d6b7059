"""Generated levels: inside the band, in the right split, the same everywhere."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.sokoban import generator, solver
from palaestra.envs.sokoban.generator import Banded, backward_layers, generate
from palaestra.envs.sokoban.levels import SPLITS, level_digest
from palaestra.envs.sokoban.reference import Reference, generate_reference, reference_room

REPORT = """
import hashlib, sys
if "{numba}" == "absent":
    sys.modules["numba"] = None
from palaestra.envs.sokoban.compiled import HAVE_NUMBA
from palaestra.envs.sokoban.env import SokobanEnv
from palaestra.envs.sokoban.generator import Banded, generate
seen = hashlib.sha256()
for spec in (Banded(), Banded(7, 7, 2), Banded(9, 9, 3, 2, 5)):
    for seed in range(8):
        seen.update(repr(generate(spec, "test", seed)).encode())
env = SokobanEnv(oracle_info=True)
for seed in range(20):
    seen.update(repr(env.reset(seed=seed)).encode())
    for action in ("up", "left", "down", "right", "fly"):
        seen.update(repr(env.step(action)).encode())
        if env.plan() == []:
            break
print(seen.hexdigest())
"""


def report(hash_seed: str, numba: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", REPORT.replace("{numba}", numba)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_same_levels_and_episodes_in_every_process_with_and_without_numba() -> None:
    digests = {report("0", "present"), report("12345", "present"), report("7", "absent")}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.parametrize("split", SPLITS)
def test_levels_are_in_the_band_and_the_split(split: Any) -> None:
    for seed in range(60):
        made = generate(Banded(7, 6, 2, 4, 9), split, seed)
        assert made.split == split
        assert made.distance is not None
        assert 4 <= made.distance <= 9
        assert solver.distance(made.level) == made.distance
        assert len(made.level.boxes) == len(made.level.targets) == 2
        assert (made.level.height, made.level.width) == (7, 6)


def test_splits_share_no_level_whatever_the_seeds() -> None:
    # 5x5 rooms: so few levels that random draws from the same seeds would collide at once.
    digests = {
        split: {level_digest(generate(Banded(5, 5, 1, 2, 7), split, seed).level)[0] for seed in range(400)}
        for split in SPLITS
    }
    assert not digests["train"] & digests["valid"]
    assert not digests["train"] & digests["test"]
    assert not digests["valid"] & digests["test"]
    assert min(map(len, digests.values())) > 10


def test_default_lengths_spread_over_the_band_with_a_median_of_at_least_6() -> None:
    moves = [made.distance or 0 for made in (generate(Banded(), "train", seed) for seed in range(600))]
    assert statistics.median(moves) >= 6
    for length in range(3, 13):
        assert 0.05 < moves.count(length) / 600 < 0.16, length


def test_shares_of_the_splits_are_8_1_1() -> None:
    splits = [generate(Banded(8, 8, 2), "all", seed).split for seed in range(600)]
    assert 0.75 < splits.count("train") / 600 < 0.85
    assert 0.06 < splits.count("valid") / 600 < 0.14


def test_inner_walls_can_be_switched_off() -> None:
    for seed in range(20):
        made = generate(Banded(inner_walls=0.0), "train", seed).level
        assert made.room.count(0) == 20  # the border alone
    walls = {generate(Banded(inner_walls=0.4), "train", seed).level.room.count(0) for seed in range(40)}
    assert len(walls) > 4


def test_large_rooms_are_exact_within_the_node_budget() -> None:
    spec = Banded(9, 9, 3, 3, 12, node_budget=3000)
    for seed in range(6):
        made = generate(spec, "train", seed)
        assert made.distance is not None
        assert solver.distance(made.level) == made.distance >= 3


def test_backward_layers_equal_the_table() -> None:
    level = generate(Banded(6, 6, 2), "all", 3).level
    table = solver.build_table(level.room, level.width, level.targets)
    assert table is not None
    layers = backward_layers(level.room, level.width, level.targets, 40, 10**6)
    reached = [state for layer in layers for state in layer]
    assert len(reached) == len(set(reached)) == len(table.order)
    for depth, layer in enumerate(layers):
        assert all(table.of(player, boxes) == depth for player, boxes in layer)
    assert {table.decode(int(state)) for state in table.order} == set(reached)


def test_table_up_to_a_depth_is_the_start_of_the_whole_table() -> None:
    level = generate(Banded(6, 6, 1), "all", 5).level
    whole = solver.build_table(level.room, level.width, level.targets)
    part = solver.build_table(level.room, level.width, level.targets, max_depth=4)
    assert whole is not None
    assert part is not None
    assert part.order.tolist() == whole.order[: len(part.order)].tolist()
    assert part.distance.max() == 4


def test_impossible_wishes_are_named() -> None:
    with pytest.raises(TaskError, match=r"no 3x4 level with 1 boxes.*widen min_len\.\.max_len") as caught:
        generate(Banded(3, 4, 1, 5, 9), "train", 0)
    assert caught.value.code == "no_level"
    with pytest.raises(TaskError, match="within 1024 rooms"):
        generate(Banded(3, 3, 1), "all", 0)
    with pytest.raises(TaskError, match="have the splits train, valid, test and all"):
        generate(Banded(), "dev", 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("height", 2), ("boxes", 0), ("min_len", 13), ("min_len", -1), ("inner_walls", 1.5), ("node_budget", 0)],
)
def test_bad_specs_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match="cannot be used for Sokoban levels"):
        Banded(**{key: value})  # type: ignore[arg-type]


def test_reference_rooms_can_be_drawn_by_split() -> None:
    spec = Reference(6, 6, 1)
    for split in SPLITS:
        assert {generate_reference(spec, split, seed).split for seed in range(10)} == {split}
    assert generate_reference(spec, "all", 5).level == reference_room(spec, 5)


def test_reference_mistakes_are_named() -> None:
    with pytest.raises(TaskError, match="within 64 attempts"):
        reference_room(Reference(4, 4, 8), 0)
    with pytest.raises(TaskError, match="2\\^32"):
        generate_reference(Reference(6, 6, 1), "all", 2**32)
    with pytest.raises(TaskError, match="splits"):
        generate_reference(Reference(6, 6, 1), "dev", 0)
    with pytest.raises(ConfigError, match="at least"):
        Reference(6, 6, 0)


def test_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(generator, "_draw_room", lambda spec, rng: drawn.append(1))
    with pytest.raises(TaskError):
        generate(Banded(6, 6, 1, 3, 11), "train", 987654)
    assert len(drawn) == generator.MAX_ATTEMPTS


def test_levels_do_not_change_between_versions() -> None:
    cells = b"".join(generate(Banded(), "train", seed).level.cells for seed in range(500))
    assert hashlib.sha256(cells).hexdigest() == "54c31e84c6021712b2d094478d24e4a8cbbe9526249d5fadf26a80bf738c56f9"
