"""Whole runs, tiny but real: what they leave behind, and what happens when something is wrong."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.model import load_policy
from palaestra.agents.store import Store
from palaestra.benchmarks.resume import (
    STEP_ROWS,
    TRAJECTORY_ROWS,
    describe,
    differing,
    fingerprint,
    settings,
)
from palaestra.mcp_servers.errors import ConfigError, PalaestraError, StoreError, TaskError, TrainingError
from palaestra.trainers.checkpoint import best_checkpoint, latest_valid, load_checkpoint
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.evaluate import evaluate, held_out_tasks
from palaestra.trainers.experiment import Experiment
from palaestra.trainers.run_directory import RunFiles

BASES = {"step": STEP_ROWS, "trajectory": TRAJECTORY_ROWS}


def small(name: str = "step", warmup: int = 1, iterations: int = 2, **sections: Any) -> TrainConfig:
    base: dict[str, Any] = dict(BASES[name])
    for section, changes in sections.items():
        base[section] = {**base.get(section, {}), **changes}
    return settings(base, warmup, iterations, threads=1, seed=7)


def hashes(folder: Path, config: TrainConfig) -> dict[str, str]:
    experiment = Experiment.create(folder, config)
    return fingerprint(experiment, experiment.run())


def finish(folder: Path) -> dict[str, str]:
    experiment = Experiment.resume(folder)
    return fingerprint(experiment, experiment.run())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the run of `small()` that nothing disturbs."""
    return hashes(tmp_path_factory.mktemp("straight") / "run", small())


@pytest.mark.parametrize("name", BASES)
def test_a_run_leaves_everything_behind(name: str, tmp_path: Path) -> None:
    events: list[Mapping[str, Any]] = []
    config = small(name)
    summary = Experiment.create(tmp_path / "run", config, events.append).run()
    files = RunFiles(tmp_path / "run")

    assert [describe(event) for event in events if "event" in event] == [
        "setup begin", "warmup begin", "evaluate_before begin", "rl begin", "evaluate_after begin",
    ]  # fmt: skip
    assert [describe(event) for event in events if event["phase"] in ("warmup", "rl") and "step" in event] == [
        "warmup 1", "rl 1", "rl 2",
    ]  # fmt: skip
    assert list(files.metrics()) == [event for event in events if "event" not in event]
    assert build_config(files.config()) == config

    assert files.summary() == json.loads(json.dumps(summary))
    assert (summary["stopped"], summary["steps"]) == ("finished", 2)
    assert list(summary["phases"]) == ["setup", "warmup", "evaluate_before", "rl", "evaluate_after"]
    tests = config.evaluation.test_tasks
    assert summary["held_out"]["greedy"]["n"] == summary["held_out"]["sampled"]["n"] == tests

    with Store.open(files.store_path) as store:
        stored = {(s.iteration, s.phase): s.rollouts for s in store.summary()}
    best, rl = summary["best_step"], config.rl.tasks_per_step * config.objective.num_generations
    assert stored == {
        (0, "eval_before"): tests, (0, "eval_before_sampled"): tests, (1, "rl"): rl, (2, "rl"): rl,
        (best, "eval_after"): tests, (best, "eval_after_sampled"): tests,
    }  # fmt: skip


def test_the_best_checkpoint_is_a_model_that_repeats_the_result(tmp_path: Path) -> None:
    """A checkpoint's model is the average that was evaluated."""
    config = small(rl={"weight_average": 0.9}, evaluation={"test_tasks": 12})
    summary = Experiment.create(tmp_path / "run", config).run()
    best = best_checkpoint(tmp_path / "run" / "checkpoints")
    assert best is not None
    assert load_checkpoint(best).state["progress"]["best_step"] == summary["best_step"]
    policy = load_policy(best / "model")
    policy.sampling = policy.sampling.__class__(temperature=0.0, max_new_tokens=config.protocol.response_tokens)
    tasks = held_out_tasks(config.env.id, config.env.kwargs, "test", 12, config.evaluation.seed)
    again = evaluate(policy, tasks, config.protocol)
    with Store.open(tmp_path / "run" / "store.sqlite") as store:
        stored = [s.rollout.trajectory for s in store.rollouts(phase="eval_after")]
    played = {r.trajectory.task.key: r.trajectory for r in again.rollouts}
    assert {t.task.key: t for t in stored} == played
    assert summary["held_out"]["after"] == again.success.rate


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path, straight: dict[str, str]) -> None:
    assert differing(straight, hashes(tmp_path / "again" / "run", small())) == []
    other = small().model_copy(update={"seed": 8})
    assert {"model", "store", "next_batch"} <= set(differing(straight, hashes(tmp_path / "other" / "run", other)))


def test_only_the_rollouts_asked_for_are_stored(tmp_path: Path) -> None:
    config = small(iterations=3, store={"rollouts_every": 2})
    Experiment.create(tmp_path / "run", config).run()
    with Store.open(tmp_path / "run" / "store.sqlite") as store:
        assert [s.iteration for s in store.summary() if s.phase == "rl"] == [2, 3]


@pytest.mark.parametrize(("warmup", "iterations"), [(0, 1), (1, 0), (0, 0)])
def test_phases_can_be_left_out(warmup: int, iterations: int, tmp_path: Path) -> None:
    summary = Experiment.create(tmp_path / "run", small(warmup=warmup, iterations=iterations)).run()
    assert (summary["stopped"], summary["steps"]) == ("finished", iterations)
    if not warmup and not iterations:
        assert summary["held_out"]["gain"] == 0


def test_a_finished_run_gives_its_summary_again_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = Experiment.create(folder, small()).run()
    before = {path: path.read_bytes() for path in folder.rglob("*.json*")}
    assert Experiment.resume(folder).run() == json.loads(json.dumps(summary))
    assert {path: path.read_bytes() for path in folder.rglob("*.json*")} == before


def test_stopping_before_the_first_iteration_keeps_the_evaluation(tmp_path: Path, straight: dict[str, str]) -> None:
    folder = tmp_path / "run"
    done: list[str] = []

    def listen(event: Mapping[str, Any]) -> None:
        done.append(describe(event))
        experiment.stop = event["phase"] == "eval" or experiment.stop

    experiment = Experiment.create(folder, small(), listen)
    assert experiment.run()["stopped"] == "interrupted"
    assert done[-1] == "rl begin"
    assert differing(straight, finish(folder)) == []


def stop_after(folder: Path, config: TrainConfig, event: str) -> None:
    def listen(record: Mapping[str, Any]) -> None:
        experiment.stop = experiment.stop or describe(record) == event

    experiment = Experiment.create(folder, config, listen)
    assert experiment.run()["stopped"] == "interrupted"


# -- what can be wrong ---------------------------------------------------------------------------------------------


def refused(kind: type[PalaestraError], code: str, doing: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        doing()
    assert type(caught.value) is kind
    assert caught.value.code == code
    return caught.value.message


def test_a_model_directory_that_is_none_is_found_before_the_folder_is_made(tmp_path: Path) -> None:
    for missing in ("config.json", "tokenizer.json"):
        model = build_tiny(tmp_path / f"no-{missing}", "XS")
        (model / missing).unlink()
        config = small(policy={"path": str(model), "size": ""})
        message = refused(ConfigError, "model_directory", partial(Experiment.create, tmp_path / "run", config))
        assert message.startswith(f"policy.path = {str(model)!r} is not a model directory ({missing} is missing)")
    assert not (tmp_path / "run").exists()


def test_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    model = build_tiny(tmp_path / "model", "XS")
    (model / "model.safetensors").write_bytes(b"no weights")
    experiment = Experiment.create(tmp_path / "run", small(policy={"path": str(model), "size": ""}))
    refused(ConfigError, "model_directory", experiment.run)


def test_a_policy_of_ones_own_is_trained_and_left_as_it_is(tmp_path: Path, straight: dict[str, str]) -> None:
    model = build_tiny(tmp_path / "model", "XS", seed=7)
    before = {path: path.read_bytes() for path in model.iterdir()}
    found = hashes(tmp_path / "run", small(policy={"path": str(model), "size": ""}))
    assert differing(straight, found) == []
    assert {path: path.read_bytes() for path in model.iterdir()} == before
    assert not (tmp_path / "run" / "policy").exists()


@pytest.mark.parametrize(
    ("kwargs", "kind"),
    [
        ({"levels": "LEVELS"}, TaskError),
        ({"levels": "/no/such/levels.xsb"}, TaskError),
        ({"max_len": 40}, ConfigError),
        ({"siez": 6}, ConfigError),
    ],
)
def test_an_environment_that_does_not_start_is_found_before_the_folder_is_made(
    kwargs: dict[str, Any], kind: type[PalaestraError], tmp_path: Path
) -> None:
    levels = tmp_path / "broken.xsb"
    levels.write_text("######\n# this is no level\n")
    given = {key: str(levels) if value == "LEVELS" else value for key, value in kwargs.items()}
    base = {**STEP_ROWS, "env": {"kwargs": {"size": 6, "max_steps": 15, **given}}}
    config = settings(base, 1, 1, threads=1, seed=0)
    with pytest.raises(PalaestraError) as caught:
        Experiment.create(tmp_path / "run", config)
    assert type(caught.value) is kind
    assert str(next(iter(given.values()))) in caught.value.message or next(iter(given)) in caught.value.message
    assert not (tmp_path / "run").exists()


def test_an_environment_that_is_not_registered_is_named(tmp_path: Path) -> None:
    config = small(env={"id": "palaestra/Sokobann-v0"})
    assert "Sokobann" in refused(TaskError, "env_make", lambda: Experiment.create(tmp_path / "run", config))


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = Experiment.create(folder, small(iterations=0))
    assert "process" in refused(StoreError, "run_locked", lambda: Experiment.resume(folder))
    first.run()
    content = (folder / "config.toml").read_bytes()
    assert "--resume" in refused(StoreError, "run_exists", lambda: Experiment.create(folder, small()))
    assert (folder / "config.toml").read_bytes() == content
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    assert "thesis.tex" in refused(StoreError, "run_exists", lambda: Experiment.create(tmp_path / "other", small()))
    refused(StoreError, "no_run", lambda: Experiment.resume(tmp_path / "nowhere"))


def test_a_namesake_in_a_shared_database_is_left_alone(tmp_path: Path) -> None:
    config = small(warmup=0, iterations=0, store={"url": f"sqlite:///{tmp_path / 'shared.sqlite'}"})
    first, second = tmp_path / "one" / "run", tmp_path / "two" / "run"
    Experiment.create(first, config).run()
    message = refused(StoreError, "run_exists", Experiment.create(second, config).run)
    assert "already holds a run 'run'; choose another folder name" in message
    Experiment.create(tmp_path / "two" / "other", config).run()
    with Store.open(tmp_path / "shared.sqlite") as store:
        tests = config.evaluation.test_tasks
        assert {(s.run_id, s.phase): s.rollouts for s in store.summary()} == {
            (run, f"{phase}{mode}"): tests
            for run in ("run", "other")
            for phase in ("eval_before", "eval_after")
            for mode in ("", "_sampled")
        }


def test_settings_that_were_spoiled_by_hand_are_named_and_the_lock_is_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stop_after(folder, small(), "rl 1")
    good = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(good.replace("iterations = 2", 'iterations = "two"'))
    assert "iterations" in refused(ConfigError, "config", lambda: Experiment.resume(folder))
    (folder / "config.toml").write_text("= broken")
    refused(StoreError, "corrupt_run", lambda: Experiment.resume(folder))
    (folder / "config.toml").write_text(good)
    assert Experiment.resume(folder).run()["stopped"] == "finished"


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_can_be_taken(
    tmp_path: Path, straight: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    config = small(checkpoint={"every": 1, "keep": 3})
    stop_after(folder, config, "rl 1")
    newest = latest_valid(folder / "checkpoints").path
    assert newest is not None
    optimizer = newest / "optimizer.safetensors"
    data = bytearray(optimizer.read_bytes())
    data[len(data) // 2] ^= 1
    optimizer.write_bytes(data)
    metrics = (folder / "metrics.jsonl").read_bytes()
    for _ in range(2):  # nothing is changed, and the lock is given back
        message = refused(TrainingError, "checkpoint_corrupt", lambda: Experiment.resume(folder).run())
        assert "optimizer.safetensors" in message
        assert message.endswith("delete that checkpoint to continue from step-00000001")
        assert (folder / "metrics.jsonl").read_bytes() == metrics
    shutil.rmtree(newest)
    assert differing(straight, finish(folder)) == []


def test_metrics_changed_by_hand_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stop_after(folder, small(), "rl 1")
    (folder / "metrics.jsonl").write_text("")
    refused(StoreError, "metrics_mismatch", lambda: Experiment.resume(folder).run())


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[Callable[[], None]]:
    """A function that makes the system refuse longer files from then on; Python gets EFBIG instead of a signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("event", "kind", "code"),
    [
        ("setup begin", StoreError, "policy_build"),
        ("eval 0 valid sampled", TrainingError, "disk_full"),  # the first checkpoint
        ("rl 2", TrainingError, "disk_full"),  # the last one
    ],
)
def test_a_full_disk_costs_only_what_was_not_acknowledged(
    event: str, kind: type[PalaestraError], code: str, tmp_path: Path, straight: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    with files_up_to(1_000_000) as limit:

        def listen(record: Mapping[str, Any]) -> None:
            if describe(record) == event:
                limit()

        experiment = Experiment.create(folder, small(), listen)
        message = refused(kind, code, experiment.run)
    assert "too large" in message
    assert differing(straight, finish(folder)) == []


def test_an_update_that_ruins_the_weights_is_stopped_and_the_run_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = small(rl={"optimizer": {"learning_rate": 1e30}})
    refused(TrainingError, "non_finite", Experiment.create(folder, config).run)
    found = latest_valid(folder / "checkpoints")
    assert (found.path is not None, found.refused) == (True, ())
    saved = load_checkpoint(found.path) if found.path else None
    assert saved is not None
    assert all(bool(torch.isfinite(value).all()) for value in saved.model.values())
    refused(TrainingError, "non_finite", Experiment.resume(folder).run)  # the same again, not something else


def test_a_reward_that_cannot_be_computed_stops_the_run(tmp_path: Path) -> None:
    kwargs = {**STEP_ROWS["env"]["kwargs"], "oracle_info": False}
    config = small(env={"kwargs": kwargs})
    message = refused(TrainingError, "invalid_rewards", Experiment.create(tmp_path / "run", config).run)
    assert "not_applicable" in message


def test_too_few_levels_to_test_on_are_counted(tmp_path: Path) -> None:
    kwargs = {**STEP_ROWS["env"]["kwargs"], "pool": 2}
    config = small(env={"kwargs": kwargs})
    assert "ask for 2" in refused(TaskError, "too_few_tasks", Experiment.create(tmp_path / "run", config).run)


def test_a_listener_that_breaks_does_not_keep_the_lock(tmp_path: Path, straight: dict[str, str]) -> None:
    folder = tmp_path / "run"

    def broken(event: Mapping[str, Any]) -> None:
        if describe(event) == "rl 1":
            raise ZeroDivisionError("a bug of the display")

    with pytest.raises(ZeroDivisionError):
        Experiment.create(folder, small(), broken).run()
    assert differing(straight, finish(folder)) == []
