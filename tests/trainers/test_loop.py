"""One RL iteration, on a real tiny policy playing real Sokoban."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
import torch
from gymnasium import spaces
from torch import nn

from palaestra.agents.chat import load_chat
from palaestra.agents.engine.loading import load_engine
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.model import ModelPolicy
from palaestra.agents.types import Sampling
from palaestra.benchmarks.resume import STEP_ROWS, TRAJECTORY_ROWS, without_clocks
from palaestra.mcp_servers.errors import TrainingError
from palaestra.rewards.compose import Invalid, InvalidReason
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.evaluate import held_out_tasks
from palaestra.trainers.initial import load_model
from palaestra.trainers.loop import Iteration, Trainer, check_rollouts, rl_tasks
from palaestra.trainers.old_pass import old_pass
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Row, step_rows

Weights = dict[str, torch.Tensor]


def settings(base: Mapping[str, Any] = STEP_ROWS, **sections: Any) -> TrainConfig:
    """The base with some keys of some sections changed: `settings(rl={"micro_rows": 2})`."""
    data: dict[str, Any] = {**base, "seed": 5, "rl": {**base["rl"], "iterations": 4}}
    for name, changes in sections.items():
        data[name] = {**data.get(name, {}), **changes} if isinstance(changes, dict) else changes
    return build_config(data)


MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", "XS")


@pytest.fixture
def make_trainer(directory: Path) -> MakeTrainer:
    chat = load_chat(directory)

    def make(config: TrainConfig, *, reference: bool = False) -> Trainer:
        policy = ModelPolicy(load_engine(directory, config.engine, stop_ids=chat.stop_ids), chat)
        frozen = load_model(directory).requires_grad_(False) if reference else None
        return Trainer(load_model(directory), policy, config, frozen)

    return make


def weights(source: nn.Module | Weights) -> Weights:
    tensors = source.state_dict() if isinstance(source, nn.Module) else source
    return {name: value.clone() for name, value in tensors.items()}


def equal(a: Weights, b: Weights) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def tokens(done: Iteration) -> list[list[tuple[int, ...]]]:
    return [[c.token_ids for c in r.completions] for group in done.groups for r in group.rollouts]


def test_tasks_follow_from_seed_and_iteration() -> None:
    config = settings()
    assert rl_tasks(config, 3) == rl_tasks(config, 3)
    seeds = [task.seed for number in range(4) for task in rl_tasks(config, number)]
    assert len(set(seeds)) == len(seeds) == 4 * config.rl.tasks_per_step
    assert not set(seeds) & {t.seed for t in rl_tasks(config.model_copy(update={"seed": 6}), 0)}
    assert all(task.reset_options == {"split": "train"} for task in rl_tasks(config, 0))


def test_training_levels_are_never_evaluated() -> None:
    """Splits share no level, whatever the seeds."""
    config = settings()

    def levels(split: str) -> set[str]:
        found = set()
        for task in held_out_tasks(config.env.id, config.env.kwargs, split, 40, seed=1):
            env = gymnasium.make(task.env_id, **task.env_kwargs)
            _, info = env.reset(seed=task.seed, options=dict(task.reset_options))
            found.add(str(info["task_id"]))
            env.close()
        return found

    train, valid, test = levels("train"), levels("valid"), levels("test")
    assert len(train) == len(valid) == len(test) == 40
    assert not (train | valid) & test
    assert not train & valid


@pytest.mark.parametrize("base", [STEP_ROWS, TRAJECTORY_ROWS], ids=["step", "trajectory"])
def test_an_iteration_plays_learns_and_publishes(base: Mapping[str, Any], make_trainer: MakeTrainer) -> None:
    config = settings(base)
    trainer = make_trainer(config, reference=config.objective.beta > 0)
    before, version = weights(trainer.model), trainer.policy.engine.policy_version
    done = trainer.iterate(0)
    assert not equal(before, weights(trainer.model))
    assert trainer.policy.engine.policy_version == version + 1
    assert len(done.groups) == config.rl.tasks_per_step
    assert {len(group.rollouts) for group in done.groups} == {config.objective.num_generations}
    assert set(done.rewards) == {r.rollout_id for group in done.groups for r in group.rollouts}
    metrics = done.metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    turns = sum(len(r) for r in tokens(done))
    assert metrics["rows"] == (turns if config.rl.rows == "step" else len(done.rewards))
    assert metrics["tokens"] == sum(len(t) for r in tokens(done) for t in r)
    assert 0 < metrics["grad_norm"] < math.inf
    assert abs(metrics["kl_old"]) < 0.05
    assert 0 < metrics["rollout_entropy"] < math.log(512)
    assert sum(metrics["stop_reasons"].values()) == len(done.rewards)
    assert all(seconds > 0 for seconds in metrics["seconds"].values())


def test_the_engine_samples_from_the_weights_just_learned(make_trainer: MakeTrainer, directory: Path) -> None:
    """The sampler's log-probabilities are those of the model as the last iteration left it."""
    trainer = make_trainer(settings(rl={"optimizer": {"learning_rate": 1e-3}}))
    trainer.iterate(0)
    learned = load_model(directory)
    learned.load_state_dict(trainer.model.state_dict())
    rows: list[Row] = []
    for rollout in (r for group in trainer.iterate(1).groups for r in group.rollouts):
        rows += step_rows(rollout, [0.0] * len(rollout.completions), first_id=len(rows))
    batch = pack(rows, Sampling())
    for model, near in ((learned, True), (load_model(directory), False)):
        logprobs_BT = old_pass(model, batch, 1.0).old_logprobs_BT
        assert logprobs_BT is not None
        apart = (logprobs_BT - batch.behaviour_logprobs_BT)[batch.mask_BT].abs().max()
        assert bool(apart < 2e-5) == near


def test_two_trainers_are_bit_identical_and_iterations_differ(make_trainer: MakeTrainer) -> None:
    first, second = make_trainer(settings()), make_trainer(settings())
    for number in range(2):
        a, b = first.iterate(number), second.iterate(number)
        assert without_clocks(a.metrics) == without_clocks(b.metrics)
        assert a.groups == b.groups
        assert a.rewards == b.rewards
        assert equal(weights(first.model), weights(second.model))
        assert equal(first.average, second.average)
    assert tokens(a) != tokens(make_trainer(settings()).iterate(0))
    other = make_trainer(settings(seed=6)).iterate(0)
    assert tokens(other) != tokens(make_trainer(settings()).iterate(0))


@pytest.mark.parametrize("base", [STEP_ROWS, TRAJECTORY_ROWS], ids=["step", "trajectory"])
def test_how_many_play_at_once_changes_no_draw(base: Mapping[str, Any], make_trainer: MakeTrainer) -> None:
    """A row's random numbers depend on its own name, so its neighbours leave its tokens alone."""
    played = []
    for max_live in (1, 5, 256):
        config = settings(base, rl={"max_live": max_live, "tasks_per_step": 6})
        played.append(make_trainer(config, reference=config.objective.beta > 0).iterate(0))
    assert tokens(played[0]) == tokens(played[1]) == tokens(played[2])
    for done in played[1:]:
        for alone, together in zip(played[0].groups, done.groups, strict=True):
            for a, b in zip(alone.rollouts, together.rollouts, strict=True):
                assert a.trajectory == b.trajectory
                for x, y in zip(a.completions, b.completions, strict=True):
                    assert x.logprobs == pytest.approx(y.logprobs, abs=1e-5)


@pytest.mark.parametrize("change", [{"micro_rows": 2}, {"old_logprobs": "recompute"}], ids=str)
def test_how_the_update_is_computed_changes_nothing_but_rounding(
    change: dict[str, Any], make_trainer: MakeTrainer
) -> None:
    # One update, so that AdamW's division by a small gradient has no history to drift from.
    one = {"mini_batches": 1, "optimizer": {"learning_rate": 1e-4}}
    plain, changed = make_trainer(settings(rl=one)), make_trainer(settings(rl={**one, **change}))
    a, b = plain.iterate(0).metrics, changed.iterate(0).metrics
    assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert a["rows"] == b["rows"]


@pytest.mark.parametrize("decay", [0.0, 0.75])
def test_the_average_follows_the_weights(decay: float, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(settings(rl={"weight_average": decay}))
    expected = weights(trainer.average)
    assert equal(expected, weights(trainer.model))
    for number in range(2):
        trainer.iterate(number)
        for name, value in trainer.model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
            torch.testing.assert_close(trainer.averaged_model()[name], expected[name], rtol=0, atol=1e-6)
    assert equal(trainer.averaged_model(), weights(trainer.model)) == (decay == 0)


def test_the_rate_follows_the_schedule_over_all_updates(make_trainer: MakeTrainer) -> None:
    config = settings(rl={"optimizer": {"learning_rate": 1e-3, "warmup_ratio": 0.0, "min_lr_ratio": 0.0}})
    trainer = make_trainer(config)
    rates = [trainer.iterate(number).metrics["lr"] for number in range(4)]
    # Two updates an iteration, eight in all; the last of each iteration is reported.
    assert rates == pytest.approx([1e-3 * (1 - update / 8) for update in (1, 3, 5, 7)])


def test_nothing_to_learn_from_leaves_the_weights(make_trainer: MakeTrainer) -> None:
    """An untrained policy wins nothing, so with success alone as reward all groups are flat."""
    config = settings(
        reward={"components": {"success": 1.0}}, objective={"adv_estimator": "grpo", "step_norm": "group"}
    )
    trainer = make_trainer(config)
    before = weights(trainer.model)
    done = trainer.iterate(0)
    assert done.metrics["success"] == 0
    assert (done.metrics["rows"], done.metrics["groups_zero_signal"]) == (0, config.rl.tasks_per_step)
    assert equal(before, weights(trainer.model))
    assert json.dumps(done.metrics, allow_nan=False)


def refused(trainer: Trainer, number: int = 0) -> TrainingError:
    before = weights(trainer.model)
    with pytest.raises(TrainingError) as caught:
        trainer.iterate(number)
    assert equal(before, weights(trainer.model))
    return caught.value


def test_a_reward_that_cannot_be_computed_stops_training(make_trainer: MakeTrainer) -> None:
    """Progress needs distances, which this environment was not asked for."""
    kwargs = {**STEP_ROWS["env"]["kwargs"], "oracle_info": False}
    error = refused(make_trainer(settings(env={"kwargs": kwargs})))
    assert error.code == "invalid_rewards"
    assert "100% of 6 rollouts have no valid reward (limit 20%)" in error.message
    assert "not_applicable" in error.message
    assert "raise objective.max_invalid_fraction" in error.message


class Fragile(gymnasium.Env[str, str]):
    """Breaks on every reset whose seed is even, if told to; otherwise on the second step of it."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space = spaces.Text(8)
    action_space = spaces.Text(8)

    def __init__(self, at_reset: bool = False, always: bool = False, **_: Any) -> None:
        self._at_reset, self._always = at_reset, always

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._breaks, self._steps = self._always or (seed or 0) % 2 == 0, 0
        if self._breaks and self._at_reset:
            raise RuntimeError("the reset broke")
        return "go", {"won": False, "score": 0.0, "admissible_commands": ["go"]}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._breaks and self._steps == 2:
            raise RuntimeError("the step broke")
        info = {"won": False, "score": 0.0, "admissible_commands": ["go"]}
        return "go", 0.0, False, self._steps == 3, info


@pytest.fixture
def fragile() -> Iterator[str]:
    gymnasium.register("palaestra-test/Fragile-v0", Fragile)
    yield "palaestra-test/Fragile-v0"
    del gymnasium.registry["palaestra-test/Fragile-v0"]


def with_fragile(env_id: str, limit: float, **kwargs: bool) -> TrainConfig:
    return settings(
        env={"id": env_id, "kwargs": kwargs},
        reward={"components": {"step": -0.5, "malformed": -0.1}},
        objective={"max_invalid_fraction": limit},
        rl={"tasks_per_step": 8},
    )


@pytest.mark.parametrize("at_reset", [False, True])
def test_episodes_that_fail_are_left_out_up_to_the_limit(
    at_reset: bool, fragile: str, make_trainer: MakeTrainer
) -> None:
    done = make_trainer(with_fragile(fragile, 0.9, at_reset=at_reset)).iterate(0)
    invalid = sum(isinstance(reward, Invalid) for reward in done.rewards.values())
    assert 0 < invalid < 16
    assert done.metrics["rewards_invalid"] == invalid
    assert done.metrics["rows"] == 3 * (16 - invalid)
    error = refused(make_trainer(with_fragile(fragile, invalid / 16 - 0.01, at_reset=at_reset)))
    assert error.code == "invalid_rewards"
    assert f"the {'reset' if at_reset else 'step'} broke" in error.message


def test_an_environment_that_never_starts_is_no_quiet_success(fragile: str, make_trainer: MakeTrainer) -> None:
    """Episodes that fail before the first turn leave no rows, but they count."""
    error = refused(make_trainer(with_fragile(fragile, 0.2, at_reset=True, always=True)))
    assert (error.code, "100% of 16 rollouts" in error.message) == ("invalid_rewards", True)


def test_prompts_that_leave_no_room_are_named(make_trainer: MakeTrainer) -> None:
    config = settings(engine={"max_len": 8}, reward={"components": {"success": 1.0}})
    error = refused(make_trainer(config))
    assert (error.code, "raise engine.max_len" in error.message) == ("no_completions", True)


def test_exactly_the_limit_is_allowed(make_trainer: MakeTrainer) -> None:
    done = make_trainer(settings()).iterate(0)
    some = {**done.rewards, next(iter(done.rewards)): Invalid(InvalidReason.TIMEOUT, "the scorer took too long")}
    check_rollouts(done.groups, some, 1 / 6)
    with pytest.raises(TrainingError, match=r"17% of 6 rollouts .* timeout: the scorer took too long"):
        check_rollouts(done.groups, some, 1 / 6 - 1e-9)


def test_a_reference_is_needed_for_a_divergence_from_it(make_trainer: MakeTrainer) -> None:
    with pytest.raises(TrainingError, match=r"objective\.beta > 0 needs a frozen reference") as caught:
        make_trainer(settings(TRAJECTORY_ROWS))
    assert caught.value.code == "no_reference"


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(settings())
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call]
    error = refused(trainer, number=3)
    assert (error.code, "iteration 3: gradient norm nan" in error.message) == ("non_finite", True)


def test_weights_that_broke_are_found_at_the_next_rollout_or_loss(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(settings())
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(torch.nan)
    trainer.policy.engine.update_weights(trainer.model)
    with pytest.raises(TrainingError) as caught:
        trainer.iterate(0)
    assert caught.value.code == "invalid_rewards"  # no episode could be played
    assert "logits are not finite" in caught.value.message
