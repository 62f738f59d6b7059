"""Behaviour cloning on real expert episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
import torch
from gymnasium import spaces
from torch import nn

from palaestra.agents.chat import Chat, load_chat
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.scripted import ScriptedPolicy
from palaestra.agents.policies.tokenised import TokenisedPolicy
from palaestra.agents.rollout import collect
from palaestra.agents.types import RolloutGroup
from palaestra.benchmarks.resume import STEP_ROWS, TRAJECTORY_ROWS
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.initial import load_model
from palaestra.trainers.rows import Kind
from palaestra.trainers.schedule import learning_rate
from palaestra.trainers.warmup import Cloner, expert_groups, warmup_rows, warmup_tasks


def settings(base: Any = STEP_ROWS, *, rl: Any = (), **warmup: Any) -> TrainConfig:
    given = {"tasks": 8, "num_train_epochs": 2, "batch_rows": 8, **warmup}
    return build_config({**base, "seed": 5, "warmup": given, "rl": {**base["rl"], **dict(rl)}})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", "XS")


@pytest.fixture(scope="module")
def chat(directory: Path) -> Chat:
    return load_chat(directory)


@pytest.fixture(scope="module")
def groups(chat: Chat) -> list[RolloutGroup]:
    return expert_groups(settings(), chat)


@pytest.fixture
def model(directory: Path) -> nn.Module:
    loaded: nn.Module = load_model(directory)
    return loaded


def test_tasks_follow_from_the_seed_and_more_tasks_only_add() -> None:
    tasks = warmup_tasks(settings())
    assert warmup_tasks(settings(tasks=5)) == tasks[:5]
    assert len({task.seed for task in tasks}) == 8
    assert all(task.reset_options == {"split": "train"} for task in tasks)
    other = settings().model_copy(update={"seed": 6})
    assert not {task.seed for task in warmup_tasks(other)} & {task.seed for task in tasks}


def test_step_rows_hold_every_turn_and_trajectory_rows_every_episode(chat: Chat, groups: list[RolloutGroup]) -> None:
    turns = [c for group in groups for r in group.rollouts for c in r.completions]
    rows = warmup_rows(groups, settings())
    assert [row.kind for row in rows] == [Kind.STEP] * len(turns)
    assert [(row.prompt_ids, row.response_ids) for row in rows] == [(c.prompt_ids, c.token_ids) for c in turns]
    assert [row.row_id for row in rows] == list(range(len(rows)))

    config = settings(TRAJECTORY_ROWS)
    whole = warmup_rows(expert_groups(config, chat), config)
    assert [row.kind for row in whole] == [Kind.TRAJECTORY] * 8
    assert all(0 < sum(row.sampled_mask) < len(row.sampled_mask) for row in whole if len(row.response_ids) > 8)


def test_only_won_episodes_are_cloned(chat: Chat, groups: list[RolloutGroup]) -> None:
    tasks = [Task("palaestra/Sokoban-v0", seed, {"min_len": 3, "max_len": 4, "max_steps": 4}) for seed in range(2)]
    walks = TokenisedPolicy(ScriptedPolicy(["up", "down"] * 2, settings().protocol), chat)
    lost = collect(tasks, walks, protocol=settings().protocol)
    assert not any(rollout.trajectory.won for group in lost for rollout in group.rollouts)
    assert len(warmup_rows([*lost, *groups], settings())) == len(warmup_rows(groups, settings()))
    with pytest.raises(TrainingError, match="won no episode") as caught:
        warmup_rows(lost, settings())
    assert caught.value.code == "warmup"


class NoPlanner(gymnasium.Env[str, str]):
    """A text world that cannot say how to win."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space = spaces.Text(8)
    action_space = spaces.Text(8)

    def __init__(self, **_: Any) -> None: ...

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "go", {"won": False, "score": 0.0, "admissible_commands": ["go"]}


@pytest.fixture
def no_planner() -> Iterator[str]:
    gymnasium.register("palaestra-test/NoPlanner-v0", NoPlanner)
    yield "palaestra-test/NoPlanner-v0"
    del gymnasium.registry["palaestra-test/NoPlanner-v0"]


def test_an_environment_without_a_planner_cannot_be_cloned(chat: Chat, no_planner: str) -> None:
    config = build_config({**STEP_ROWS, "env": {"id": no_planner}, "warmup": {"tasks": 3}})
    with pytest.raises(TrainingError, match=r"3 of 3 expert episodes failed, first: .*no_planner") as caught:
        expert_groups(config, chat)
    assert caught.value.code == "warmup"


def test_the_loss_is_the_mean_negative_log_likelihood(model: nn.Module, groups: list[RolloutGroup]) -> None:
    """Against cross-entropy of the model's own logits, one row at a time."""
    config = settings(batch_rows=1024)
    rows = warmup_rows(groups, config)
    total, tokens = 0.0, 0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
            logits_LV = model(input_ids=ids).logits[0, len(row.prompt_ids) - 1 : -1]
            total += float(nn.functional.cross_entropy(logits_LV, torch.tensor(row.response_ids), reduction="sum"))
            tokens += len(row.response_ids)
    cloner = Cloner(model, rows, config)
    done = cloner.step(0)
    assert done.loss == pytest.approx(total / tokens, rel=1e-5)
    assert done.lr == learning_rate(config.warmup.optimizer, 0.0)
    assert done.grad_norm > 0


def test_the_loss_falls(model: nn.Module, groups: list[RolloutGroup]) -> None:
    config = settings(num_train_epochs=15)
    cloner = Cloner(model, warmup_rows(groups, config), config)
    losses = [cloner.step(number).loss for number in range(cloner.total)]
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_an_epoch_sees_every_row_once_in_an_order_of_its_own(model: nn.Module, groups: list[RolloutGroup]) -> None:
    config = settings(batch_rows=1, optimizer={"learning_rate": 1e-30})  # the weights stay, so a loss names its row
    rows = warmup_rows(groups, config)
    cloner = Cloner(model, rows, config)
    assert (cloner.per_epoch, cloner.total) == (len(rows), len(rows) * 2)
    losses = [cloner.step(number).loss for number in range(cloner.total)]
    first, second = losses[: len(rows)], losses[len(rows) :]
    assert first != second
    assert sorted(first) == sorted(second)
    assert len(set(first)) > len(rows) / 2
    assert cloner.step(3).loss == losses[3]  # the order follows from the number alone


def test_what_does_not_fill_a_batch_is_left_to_the_next_epoch(model: nn.Module, groups: list[RolloutGroup]) -> None:
    rows = warmup_rows(groups, settings())
    assert Cloner(model, rows, settings(batch_rows=len(rows) // 2 - 1)).per_epoch == 2
    assert Cloner(model, rows, settings(batch_rows=len(rows) + 1)).per_epoch == 1


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_two_runs_are_bit_identical(directory: Path, groups: list[RolloutGroup]) -> None:
    config = settings()
    found = []
    for _ in range(2):
        model = load_model(directory)
        cloner = Cloner(model, warmup_rows(groups, config), config)
        found.append(([cloner.step(number) for number in range(3)], weights(model)))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())


def test_micro_batches_change_nothing_but_rounding(directory: Path, groups: list[RolloutGroup]) -> None:
    done = []
    for micro_rows in (3, 1024):
        config = settings(rl={"micro_rows": micro_rows})
        cloner = Cloner(load_model(directory), warmup_rows(groups, config), config)
        done.append([cloner.step(number) for number in range(2)])
    for few, many in zip(*done, strict=True):
        assert dataclasses.astuple(few) == pytest.approx(dataclasses.astuple(many), rel=1e-4)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    model: nn.Module, groups: list[RolloutGroup]
) -> None:
    config = settings()
    cloner = Cloner(model, warmup_rows(groups, config), config)
    before = weights(model)
    next(model.parameters()).register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]
    with pytest.raises(TrainingError, match=r"warm-up update 1: gradient norm (inf|nan)") as caught:
        cloner.step(1)
    assert caught.value.code == "non_finite"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
