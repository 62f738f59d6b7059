"""A training run from recipe to summary: build, warm up, evaluate, learn, evaluate, in one folder.

    setup -> warm-up -> evaluate (test, before) -> RL with validation -> evaluate (test, after) -> summary

Everything that happens is an event, a JSON-ready record that goes to `metrics.jsonl` and to a listener (the progress
display). A run stopped at any moment continues from its last checkpoint, bit for bit on CPU with the same threads:
data order and sampling are functions of (seed, step), and the checkpoint holds the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from palaestra.agents.chat import load_chat
from palaestra.agents.engine.loading import load_engine
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.model import ModelPolicy
from palaestra.agents.store import Store
from palaestra.agents.types import RolloutGroup, Sampling
from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import ConfigError, TrainingError, boundary
from palaestra.trainers.checkpoint import capture, latest_valid, load_checkpoint, read_assets, restore, save_checkpoint
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.evaluate import Evaluation, evaluate, held_out_tasks
from palaestra.trainers.loop import Iteration, Trainer
from palaestra.trainers.run_directory import RunDirectory
from palaestra.trainers.summary import compare_held_out, evaluation_record, run_facts
from palaestra.trainers.warmup import Cloner, expert_groups, warmup_rows

Listener = Callable[[Mapping[str, Any]], None]
MODES = ("greedy", "sampled")


def ignore(_: Mapping[str, Any]) -> None:
    """The listener of a run nobody watches."""


class Experiment:
    """One run. `create` begins it, `resume` takes it up again, `run` does what is left.

    Attributes:
        stop: set it to True (from a signal handler, say) to stop after the iteration under way, with a checkpoint.
        progress: where the run stands; saved in every checkpoint.
    """

    def __init__(self, folder: RunDirectory, config: TrainConfig, listener: Listener = ignore) -> None:
        self.folder = folder
        self.config = config
        self.stop = False
        self.progress: dict[str, Any] = {
            "phase": "warmup", "step": 0, "best": None, "best_step": 0, "before": {}, "phases": {},
            "warmup_steps": 0,
        }  # fmt: skip
        self._listener = listener
        self._started = (time.perf_counter(), time.process_time())
        self._earlier = (0.0, 0.0)

    @classmethod
    def create(cls, path: Path, config: TrainConfig, listener: Listener = ignore) -> Self:
        """Begin a run in a new folder. Raises: StoreError "run_exists", "run_locked"; ConfigError for a bad model."""
        _require_model(config)
        return cls(RunDirectory.create(path, config.to_toml_data()), config, listener)

    @classmethod
    def resume(cls, path: Path, listener: Listener = ignore) -> Self:
        """Take a run up again. Raises: StoreError "no_run", "run_locked", "corrupt_run"; ConfigError."""
        folder = RunDirectory.resume(path)
        try:
            return cls(folder, build_config(folder.config()), listener)
        except BaseException:
            folder.close()
            raise

    def run(self) -> dict[str, Any]:
        """Do what is left and return the summary.

        Raises: TrainingError and StoreError; the folder stays resumable. The folder's lock is given back either way.
        """
        with self.folder, Store.open(self.folder.store_path) as self._store:
            torch.set_num_threads(self.config.threads)
            with self._phase("setup"):
                self._build()
                self._restore()
            self._warm_up()
            self._learn()
            if self.progress["phase"] == "done":
                return self._finish()
            return self._write_summary("interrupted", {})

    # -- setup -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config = self.config
        self.model_path = _model_path(config, self.folder.path)
        torch.manual_seed(derive_seed(config.seed, "torch") >> 1)
        with boundary("model_directory", ConfigError):
            self.model = AutoModelForCausalLM.from_pretrained(
                self.model_path, dtype=torch.float32, local_files_only=True
            )
        chat = load_chat(self.model_path)
        engine = load_engine(self.model_path, config.engine, stop_ids=chat.stop_ids)
        self.policy = ModelPolicy(engine, chat)
        reference = None
        if config.objective.beta > 0:
            with boundary("model_directory", ConfigError):
                reference = AutoModelForCausalLM.from_pretrained(self.model_path, local_files_only=True)
            reference.requires_grad_(False)
        self.reference = reference
        self.trainer = Trainer(self.model, self.policy, config, reference)
        self.assets = read_assets(self.model_path)
        self._store.add_run(self.folder.name, config.to_toml_data())
        ev = config.evaluation
        self.valid = held_out_tasks(config.env.id, config.env.kwargs, "valid", ev.valid_tasks, ev.seed)
        self.test = held_out_tasks(config.env.id, config.env.kwargs, "test", ev.test_tasks, ev.seed)

    def _restore(self) -> None:
        found = latest_valid(self.folder.checkpoints_path)
        if found.refused:
            raise TrainingError(
                "checkpoint_corrupt",
                f"{found.refused[0].message}; delete that checkpoint to continue from "
                f"{found.path.name if found.path else 'the beginning'}",
            )
        if found.path is None:
            self.folder.rewind_metrics(0)
            self._store.rewind(self.folder.name, 0)
            return
        saved = load_checkpoint(found.path)
        state = dict(saved.state)
        self.progress = {**state["progress"]}
        self._earlier = tuple(state["elapsed"])
        in_rl = self.progress["phase"] != "warmup"
        if in_rl:
            restore(saved, self.model, self.trainer.optimizer)
            self.trainer.average = {name: value.clone() for name, value in state["average"].items()}
            self.trainer.objective.load_state_dict(state["objective"])
        else:
            self._saved_warmup = saved
        self.folder.rewind_metrics(state["metrics_bytes"])
        self._store.rewind(self.folder.name, self.progress["step"] if in_rl else 0)
        self.policy.engine.update_weights(self.model)

    # -- phases ----------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        if self.progress["phase"] != "warmup":
            return
        if self.config.warmup.tasks > 0:
            with self._phase("warmup"):
                self._clone()
            if self.stop:
                return
        self.trainer = Trainer(self.model, self.policy, self.config, self.reference)
        if self.reference is not None:
            self.reference.load_state_dict(self.model.state_dict())
        self.policy.engine.update_weights(self.model)
        with self._phase("evaluate_before"):
            before = {mode: self._evaluate(self.test, mode, "eval_before", "test", 0) for mode in MODES}
            self.progress["before"] = {mode: result.won.tolist() for mode, result in before.items()}
            self._validate(0)
        self.progress |= {"phase": "rl", "step": 0}
        self._checkpoint(best=True)

    def _clone(self) -> None:
        groups = expert_groups(self.config, self.policy.chat)
        cloner = Cloner(self.model, warmup_rows(groups, self.config), self.config)
        if (saved := getattr(self, "_saved_warmup", None)) is not None:
            restore(saved, self.model, cloner.optimizer)
        self.progress["warmup_steps"] = cloner.total
        for number in range(self.progress["step"], cloner.total):
            done = cloner.step(number)
            self.progress["step"] = number + 1
            if (number + 1) % max(1, cloner.total // 100) == 0 or number + 1 == cloner.total:
                self._log(phase="warmup", step=number + 1, total=cloner.total, loss=done.loss, lr=done.lr,
                          grad_norm=done.grad_norm)  # fmt: skip
            if self.stop:
                self._save(capture_with=cloner.optimizer, step=number + 1, best=False, average={})
                return

    def _learn(self) -> None:
        total = self.config.rl.iterations
        if self.progress["phase"] != "rl":
            return
        with self._phase("rl"):
            while self.progress["step"] < total and not self.stop:
                number = self.progress["step"]
                done = self.trainer.iterate(number)
                self._keep(done, number + 1)
                self.progress["step"] = number + 1
                self._log(phase="rl", step=number + 1, total=total, **done.metrics)
                evaluated = (number + 1) % self.config.evaluation.every == 0 or number + 1 == total
                best = self._validate(number + 1) if evaluated else False
                if best or self.stop or number + 1 == total or (number + 1) % self.config.checkpoint.every == 0:
                    self._checkpoint(best=best)
        if self.progress["step"] >= total:
            self.progress["phase"] = "done"

    def _finish(self) -> dict[str, Any]:
        """Play the test tasks with the best checkpoint and write the summary."""
        best_path = self.folder.checkpoints_path / f"step-{self._number(self.progress['best_step']):08d}"
        saved = load_checkpoint(best_path)
        self.policy.engine.update_weights(dict(saved.state["average"]))
        step = self.progress["best_step"]
        with self._phase("evaluate_after"):
            after = {mode: self._evaluate(self.test, mode, "eval_after", "test", step) for mode in MODES}
        before = {mode: np.array(won, dtype=np.bool_) for mode, won in self.progress["before"].items()}
        return self._write_summary("finished", {"held_out": compare_held_out(before, after, primary="greedy")})

    # -- effects ---------------------------------------------------------------------------------------------------

    def _evaluate(self, tasks: list[Task], mode: str, phase: str, split: str, step: int) -> Evaluation:
        """Play tasks with the engine's present weights; greedy, or sampled at the training temperature."""
        temperature = 0.0 if mode == "greedy" else self.config.rl.temperature
        self.policy.sampling = Sampling(
            temperature=temperature,
            max_new_tokens=self.config.protocol.response_tokens,
            seed=derive_seed(self.config.seed, "evaluation", split, mode) >> 1,
        )
        result = evaluate(
            self.policy, tasks, self.config.protocol, self.config.rl.max_live, prefix=f"{phase}-{mode}-{step}-"
        )
        if split == "test":
            self._store_groups(result.groups, step, phase if mode == "greedy" else f"{phase}_{mode}")
        self._log(**evaluation_record(result, split=split, mode=mode, step=step, phase="eval"))
        return result

    def _validate(self, step: int) -> bool:
        """Evaluate the averaged weights on validation tasks; True if they are the best so far (by sampled success)."""
        self.policy.engine.update_weights(self.trainer.averaged_model())
        results = {mode: self._evaluate(self.valid, mode, "valid", "valid", step) for mode in MODES}
        self.policy.engine.update_weights(self.model)
        score = float(np.mean([result.won.mean() for result in results.values()]))
        if self.progress["best"] is not None and score <= self.progress["best"]:
            return False
        self.progress |= {"best": score, "best_step": step}
        return True

    def _keep(self, done: Iteration, step: int) -> None:
        if step % self.config.store.rollouts_every and step != self.config.rl.iterations:
            return
        self._store.append(done.groups, run_id=self.folder.name, iteration=step, phase="rl", rewards=done.rewards)

    def _store_groups(self, groups: tuple[RolloutGroup, ...], step: int, phase: str) -> None:
        self._store.append(groups, run_id=self.folder.name, iteration=step, phase=phase)

    def _number(self, step: int) -> int:
        """Checkpoint number of RL iteration `step`: warm-up updates come before it."""
        return int(self.progress["warmup_steps"]) + step

    def _checkpoint(self, *, best: bool) -> None:
        self._save(
            capture_with=self.trainer.optimizer, step=self._number(self.progress["step"]), best=best,
            average=self.trainer.average,
        )  # fmt: skip

    def _save(self, *, capture_with: torch.optim.Optimizer, step: int, best: bool, average: Mapping[str, Any]) -> None:
        state = {
            "progress": self.progress,
            "elapsed": list(self._elapsed()),
            "objective": self.trainer.objective.state_dict(),
            "average": average,
            "metrics_bytes": self.folder.metrics_length(),
        }
        saved = capture(step, self.model, capture_with, state=state, assets=self.assets)
        save_checkpoint(self.folder.checkpoints_path, saved, keep=self.config.checkpoint.keep, best=best)

    def _log(self, **record: Any) -> None:
        wall, cpu = self._elapsed()
        event = {**record, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}
        self.folder.log_metrics(event)
        self._listener(event)

    def _elapsed(self) -> tuple[float, float]:
        wall, cpu = self._started
        return (
            self._earlier[0] + time.perf_counter() - wall,
            self._earlier[1] + time.process_time() - cpu,
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._listener({"phase": name, "event": "begin"})
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent = self.progress["phases"].setdefault(name, {"wall_s": 0.0, "cpu_s": 0.0})
            spent["wall_s"] += time.perf_counter() - wall
            spent["cpu_s"] += time.process_time() - cpu

    def _write_summary(self, stopped: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        summary = {**run_facts(self.config, self.folder.name), "stopped": stopped, "steps": self.progress["step"],
                   "best_step": self.progress["best_step"], "phases": self.progress["phases"], **extra}  # fmt: skip
        self.folder.write_summary(summary)
        return summary


def _require_model(config: TrainConfig) -> None:
    path = config.policy.path
    if path is not None and not (path / "config.json").is_file():
        raise ConfigError(
            "model_directory",
            f"policy.path = {str(path)!r} is not a model directory (no config.json); give a local one",
        )


def _model_path(config: TrainConfig, folder: Path) -> Path:
    """The model to start from: the user's directory, or the tiny policy built inside the run folder."""
    if config.policy.path is not None:
        return config.policy.path
    path = folder / "policy"
    if not (path / "config.json").exists():
        building = folder / f".policy-{os.getpid()}"
        build_tiny(building, config.policy.size or "XS", config.seed)
        building.rename(path)
    return path
