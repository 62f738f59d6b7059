"""Held-out tasks and evaluation, on real Sokoban with policies whose success is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from palaestra.agents.policies.base import TurnRequest
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.policies.scripted import ScriptedPolicy
from palaestra.agents.rollout import collect
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import ConfigError, PalaestraError, TaskError
from palaestra.trainers.evaluate import Evaluation, evaluate, held_out_tasks, optimal_moves
from palaestra.trainers.statistics import is_length_band, length_band

SOKOBAN = "palaestra/Sokoban-v0"
COMPACT = TextProtocol(style="compact")


class WorldWithoutOracle(gymnasium.Env[str, str]):
    """Ends at the first action; has two levels and no oracle; takes no split, but can claim to be of one."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space = spaces.Text(8)
    action_space = spaces.Text(8)

    def __init__(self, claims: str | None = None, **_: Any) -> None:
        self._claims = claims

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        if options and not self._claims:
            raise ValueError(f"unknown options {options}")
        level = int(self.np_random.integers(2))
        info = {"won": False, "score": 0.0, "admissible_commands": ["go"], "task_id": f"level-{level}"}
        return "go", info | ({"split": self._claims} if self._claims else {})

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "end", 1.0, True, False, {"won": True, "score": 1.0, "admissible_commands": []}


@pytest.fixture
def plain_id() -> Any:
    env_id = "palaestra-test/WithoutOracle-v0"
    gymnasium.register(env_id, WorldWithoutOracle)
    yield env_id
    del gymnasium.registry[env_id]


def level_of(task: Task) -> tuple[str, str]:
    env = gymnasium.make(task.env_id, **task.env_kwargs)
    _, info = env.reset(seed=task.seed, options=dict(task.reset_options))
    env.close()
    return info["task_id"], info["split"]


def test_held_out_tasks_are_distinct_levels_of_the_split_and_repeat() -> None:
    tasks = held_out_tasks(SOKOBAN, {"size": 6}, "test", 40, seed=3)
    levels = [level_of(task) for task in tasks]
    assert len({level for level, _ in levels}) == 40
    assert {split for _, split in levels} == {"test"}
    assert held_out_tasks(SOKOBAN, {"size": 6}, "test", 40, seed=3) == tasks
    assert held_out_tasks(SOKOBAN, {"size": 6}, "test", 10, seed=3) == tasks[:10]
    assert held_out_tasks(SOKOBAN, {"size": 6}, "test", 10, seed=4) != tasks[:10]


def test_splits_share_no_level() -> None:
    levels = {
        split: {level_of(task)[0] for task in held_out_tasks(SOKOBAN, {}, split, 30, seed=0)}
        for split in ("train", "valid", "test")
    }
    assert not levels["train"] & levels["test"]
    assert not levels["valid"] & levels["test"]


def test_a_split_with_too_few_levels_is_reported_with_their_number() -> None:
    with pytest.raises(TaskError, match=r"gave (\d+) distinct levels of the 500 asked for; ask for \1") as caught:
        held_out_tasks(SOKOBAN, {"levels": "embedded"}, "train", 500, seed=0)
    assert caught.value.code == "too_few_tasks"


def test_every_level_of_a_small_split_is_found() -> None:
    env = gymnasium.make(SOKOBAN, levels="embedded")
    in_split: set[str] = set()
    for index in range(1000):
        try:
            in_split.add(env.reset(options={"index": index, "split": "train"})[1]["task_id"])
        except TaskError:
            break
    tasks = held_out_tasks(SOKOBAN, {"levels": "embedded"}, "train", len(in_split), seed=1)
    assert {level_of(task)[0] for task in tasks} == in_split


@pytest.mark.parametrize(
    ("env_id", "kwargs", "split", "n", "code"),
    [
        (SOKOBAN, {}, "test", 0, "n"),
        (SOKOBAN, {}, "tset", 3, "unknown_split"),
        (SOKOBAN, {"size": 2}, "test", 3, "config"),
        ("palaestra/Nowhere-v0", {}, "test", 3, "env_make"),
    ],
)
def test_bad_requests_are_refused(env_id: str, kwargs: dict[str, Any], split: str, n: int, code: str) -> None:
    with pytest.raises(PalaestraError) as caught:
        held_out_tasks(env_id, kwargs, split, n, seed=0)
    assert caught.value.code == code


def test_an_environment_that_ignores_the_split_is_caught(plain_id: str) -> None:
    assert len(held_out_tasks(plain_id, {"claims": "train"}, "train", 1, seed=0)) == 1
    with pytest.raises(TaskError, match="asked for split 'test' and started one of 'train'"):
        held_out_tasks(plain_id, {"claims": "train"}, "test", 1, seed=0)


def test_optimal_moves_are_the_lengths_of_shortest_solutions() -> None:
    tasks = held_out_tasks(SOKOBAN, {"min_len": 4, "max_len": 9}, "valid", 12, seed=0)
    moves = optimal_moves(tasks)
    result = evaluate(ExpertPolicy(protocol=COMPACT), tasks, COMPACT, max_live=5)
    assert result.won.all()
    assert result.lengths.tolist() == moves
    assert all(m is not None and 4 <= m <= 9 for m in moves)
    assert result.strata == tuple(length_band(m) for m in moves)


def test_tasks_of_several_types_are_told_apart_by_type() -> None:
    tasks = held_out_tasks("palaestra/ALFWorld-v0", {}, "valid_unseen", 8, seed=0)
    result = evaluate(RandomPolicy(0, COMPACT), tasks, COMPACT)
    types = [rollout.trajectory.start["task_type"] for rollout in result.rollouts]
    assert result.strata == tuple(types)
    assert set(result.by_stratum()) == set(types)
    assert len(set(types)) > 1
    assert not any(map(is_length_band, types))


def test_a_world_without_oracle_has_one_unknown_stratum(plain_id: str) -> None:
    tasks = held_out_tasks(plain_id, {}, None, 2, seed=0)
    result = evaluate(ScriptedPolicy(["go"], COMPACT), tasks, COMPACT)
    assert result.strata == ("unknown", "unknown")
    assert result.success.rate == 1.0
    with pytest.raises(TaskError, match="unknown options"):
        held_out_tasks(plain_id, {}, "test", 1, seed=0)


def test_rates_add_up_over_strata_and_to_dict_is_json() -> None:
    tasks = held_out_tasks(SOKOBAN, {}, "test", 48, seed=0)
    result = evaluate(RandomPolicy(0, COMPACT), tasks, COMPACT)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert 0 < data["success"]["won"] == int(result.won.sum()) < 48
    strata = data["by_stratum"].values()
    assert sum(rate["won"] for rate in strata) == data["success"]["won"]
    assert sum(rate["episodes"] for rate in strata) == data["episodes"] == data["tasks"] == 48
    assert data["mean_length"] == pytest.approx(np.mean([len(r.trajectory.steps) for r in result.rollouts]))
    assert data["mean_return"] == pytest.approx(np.mean([r.trajectory.native_return for r in result.rollouts]))
    assert sum(data["stop_reasons"].values()) == 48
    assert set(data["stop_reasons"]) == {"terminated", "truncated"}


def test_the_result_does_not_depend_on_how_many_episodes_live_at_once() -> None:
    tasks = held_out_tasks(SOKOBAN, {}, "test", 16, seed=0)
    alone, together = (evaluate(RandomPolicy(0, COMPACT), tasks, COMPACT, max_live=n) for n in (1, 16))
    assert alone.groups == together.groups
    assert alone.to_dict() == together.to_dict()


def test_an_episode_that_breaks_is_a_task_not_won() -> None:
    def break_on_long(request: TurnRequest) -> str:
        if request.turn == 3:
            raise ValueError("broken")
        return str(request.env.unwrapped.plan()[0])  # type: ignore[attr-defined]

    tasks = held_out_tasks(SOKOBAN, {"min_len": 3, "max_len": 6}, "test", 12, seed=0)
    result = evaluate(ScriptedPolicy(break_on_long, COMPACT), tasks, COMPACT)
    short = [moves == 3 for moves in optimal_moves(tasks)]
    assert result.won.tolist() == short
    assert 0 < result.failed == short.count(False)
    assert result.to_dict()["stop_reasons"]["policy_error"] == result.failed


def test_several_rollouts_of_a_task_are_one_entry_each() -> None:
    tasks: Sequence[Task] = held_out_tasks(SOKOBAN, {}, "train", 3, seed=0)
    summed = Evaluation.of(collect(tasks, RandomPolicy(0, COMPACT), group_size=4, protocol=COMPACT))
    assert len(summed.won) == len(summed.strata) == len(summed.rollouts) == 12
    assert len(set(summed.strata[:4])) == 1
    assert summed.to_dict()["tasks"] == 3


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task"):
        evaluate(RandomPolicy(0), [])


def test_no_episodes_have_no_means() -> None:
    data = Evaluation.of([]).to_dict()
    assert data["mean_return"] is None
    assert data["mean_length"] is None
    assert data["success"]["rate"] is None
