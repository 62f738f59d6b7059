"""A training run from recipe to summary: build, warm up, evaluate, learn, evaluate, in one folder.

    setup -> warm-up -> evaluate (test, before) -> RL with validation -> evaluate (test, after) -> summary

Everything that happens is an event, a JSON-ready record that goes to `metrics.jsonl` and to a listener (the progress
display). A run stopped at any moment continues from its last checkpoint, bit for bit on CPU with the same threads:
data order and sampling are functions of (seed, step), and the checkpoint holds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from palaestra.agents.chat import load_chat
from palaestra.agents.engine.loading import load_engine
from palaestra.agents.policies.model import ModelPolicy
from palaestra.agents.store import Store
from palaestra.agents.types import Sampling
from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import StoreError, TrainingError
from palaestra.trainers.checkpoint import (
    RunState,
    capture,
    latest_valid,
    load_checkpoint,
    read_assets,
    restore,
    save_checkpoint,
)
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.evaluate import Evaluation, evaluate, held_out_tasks
from palaestra.trainers.initial import check_sources, initial_model, load_model
from palaestra.trainers.journal import Journal, Listener, ignore
from palaestra.trainers.loop import Trainer, copied
from palaestra.trainers.run_directory import RunDirectory
from palaestra.trainers.summary import compare_held_out, evaluation_record, run_facts
from palaestra.trainers.warmup import Cloner, expert_groups, warmup_rows

MODES = ("greedy", "sampled")


@dataclass(slots=True)
class Progress:
    """Where a run stands; saved in every checkpoint.

    Attributes:
        phase: what `step` counts: warm-up updates or RL iterations.
        step: of them, done.
        warmup_steps: updates of the whole warm-up, known once it has begun.
        best: the best validation score so far, after RL iteration `best_step`.
        before: which test tasks were won before RL, by mode.
    """

    phase: Literal["warmup", "rl"] = "warmup"
    step: int = 0
    warmup_steps: int = 0
    best: float | None = None
    best_step: int = 0
    before: dict[str, list[bool]] = field(default_factory=dict)


class Experiment:
    """One run. `create` begins it, `resume` takes it up again, `run` does what is left.

    Attributes:
        stop: set it to True (from a signal handler, say) to stop after the iteration under way, with a checkpoint.
        progress: where the run stands.
    """

    def __init__(self, folder: RunDirectory, config: TrainConfig, listener: Listener = ignore) -> None:
        self.folder = folder
        self.config = config
        self.stop = False
        self.progress = Progress()
        self._listener = listener
        self._fresh = False
        self._saved_warmup: RunState | None = None

    @classmethod
    def create(cls, path: Path, config: TrainConfig, listener: Listener = ignore) -> Self:
        """Begin a run in a new folder.

        Raises: StoreError "run_exists", "run_locked"; before the folder is made, ConfigError and TaskError for a model
            or an environment that cannot be used.
        """
        check_sources(config)
        experiment = cls(RunDirectory.create(path, config.to_toml_data()), config, listener)
        experiment._fresh = True
        return experiment

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
        """Do what is left and return the summary; a run that has finished gives the one it wrote.

        Raises: StoreError "run_exists" for a new run whose name the database knows; TrainingError and StoreError, the
            folder stays resumable. The folder's lock is given back either way.
        """
        with self.folder, Store.open(self.folder.store_address) as store:
            summary = self.folder.summary()
            if summary is not None and summary.get("stopped") == "finished":
                return summary
            self._journal = Journal(self.folder, store, self._listener)
            if self._fresh:
                _refuse_namesake(store, self.folder.name)
            store.add_run(self.folder.name, self.config.to_toml_data())
            torch.set_num_threads(self.config.threads)
            with self._journal.phase("setup"):
                self._build()
                self._restore()
            finished = self._warm_up() and self._learn()
            return self._finish() if finished else self._write_summary("interrupted", {})

    # -- setup -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config, ev = self.config, self.config.evaluation
        path = initial_model(config, self.folder.path)
        torch.manual_seed(derive_seed(config.seed, "torch") >> 1)
        self.model = load_model(path)
        chat = load_chat(path)
        self.policy = ModelPolicy(load_engine(path, config.engine, stop_ids=chat.stop_ids), chat)
        self.reference = load_model(path).requires_grad_(False) if config.objective.beta > 0 else None
        self.trainer = Trainer(self.model, self.policy, config, self.reference)
        self.assets = read_assets(path)
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
            self._journal.rewind(None, 0)
            return
        saved = load_checkpoint(found.path)
        self.progress = Progress(**saved.state["progress"])
        if self.progress.phase == "warmup":
            self._saved_warmup = saved  # its optimizer exists once the warm-up's rows do
            self._journal.rewind(saved.state["journal"], 0)
        else:
            self._restore_rl(saved)
            self._journal.rewind(saved.state["journal"], self.progress.step + 1)

    def _restore_rl(self, saved: RunState) -> None:
        restore(replace(saved, model=saved.state["raw"]), self.model, self.trainer.optimizer)
        self.trainer.average = copied(saved.model)
        self.trainer.objective.load_state_dict(saved.state["objective"])
        if self.reference is not None:
            self.reference.load_state_dict(saved.state["reference"])
        # Completions carry the version of the weights, so the count goes on where it was.
        while self.policy.engine.policy_version < saved.state["policy_version"]:
            self.policy.engine.update_weights(self.model)

    # -- phases ----------------------------------------------------------------------------------------------------

    def _warm_up(self) -> bool:
        """Clone the expert and measure where RL starts from; False if stopped on the way."""
        if self.progress.phase == "rl":
            return True
        if self.config.warmup.tasks > 0:
            with self._journal.phase("warmup"):
                if not self._clone():
                    return False
        self.trainer = Trainer(self.model, self.policy, self.config, self.reference)
        if self.reference is not None:
            self.reference.load_state_dict(self.model.state_dict())
        self.policy.engine.update_weights(self.model)
        with self._journal.phase("evaluate_before"):
            before = {mode: self._evaluate(self.test, mode, "eval_before", "test", 0) for mode in MODES}
            self.progress.before = {mode: result.won.tolist() for mode, result in before.items()}
            self._validate(0)
        self.progress.phase, self.progress.step = "rl", 0
        self._checkpoint(best=True)
        return True

    def _clone(self) -> bool:
        """The warm-up's updates that are left; False if stopped after one of them, with a checkpoint."""
        groups = expert_groups(self.config, self.policy.chat)
        cloner = Cloner(self.model, warmup_rows(groups, self.config), self.config)
        if self._saved_warmup is not None:
            restore(self._saved_warmup, self.model, cloner.optimizer)
        total = self.progress.warmup_steps = cloner.total
        for number in range(self.progress.step, total):
            done = cloner.step(number)
            self.progress.step = number + 1
            if (number + 1) % max(1, total // 100) == 0 or number + 1 == total:
                self._journal.log(phase="warmup", step=number + 1, total=total, **asdict(done))
            if self.stop:
                self._save(number + 1, cloner.optimizer, best=False)
                return False
        return True

    def _learn(self) -> bool:
        """The iterations that are left; False if stopped after one of them, with a checkpoint."""
        total = self.config.rl.iterations
        stopping = self.stop
        with self._journal.phase("rl"):
            while self.progress.step < total and not stopping:
                step = self.progress.step + 1
                done = self.trainer.iterate(step - 1)
                if step % self.config.store.rollouts_every == 0 or step == total:
                    self._journal.keep(done.groups, step, "rl", done.rewards)
                self.progress.step = step
                self._journal.log(phase="rl", step=step, total=total, **done.metrics)
                best = self._validate(step) if step % self.config.evaluation.every == 0 or step == total else False
                stopping = self.stop  # read once: a signal may come while the checkpoint is written
                if best or stopping or step == total or step % self.config.checkpoint.every == 0:
                    self._checkpoint(best=best)
        return not stopping

    def _finish(self) -> dict[str, Any]:
        """Play the test tasks with the best checkpoint and write the summary."""
        step = self.progress.best_step
        saved = load_checkpoint(self.folder.checkpoints_path / f"step-{self._number(step):08d}")
        self.policy.engine.update_weights(dict(saved.model))
        with self._journal.phase("evaluate_after"):
            after = {mode: self._evaluate(self.test, mode, "eval_after", "test", step) for mode in MODES}
        before = {mode: np.array(won, dtype=np.bool_) for mode, won in self.progress.before.items()}
        return self._write_summary("finished", {"held_out": compare_held_out(before, after, primary="greedy")})

    # -- parts of several phases -----------------------------------------------------------------------------------

    def _evaluate(self, tasks: list[Task], mode: str, phase: str, split: str, step: int) -> Evaluation:
        """Play tasks with the engine's present weights; greedy, or sampled at the training temperature."""
        self.policy.sampling = Sampling(
            temperature=0.0 if mode == "greedy" else self.config.rl.temperature,
            max_new_tokens=self.config.protocol.response_tokens,
            seed=derive_seed(self.config.seed, "evaluation", split, mode) >> 1,
        )
        result = evaluate(
            self.policy, tasks, self.config.protocol, self.config.rl.max_live, prefix=f"{phase}-{mode}-{step}-"
        )
        if split == "test":
            self._journal.keep(result.groups, step, phase if mode == "greedy" else f"{phase}_{mode}")
        self._journal.log(**evaluation_record(result, split=split, mode=mode, step=step, phase="eval"))
        return result

    def _validate(self, step: int) -> bool:
        """Evaluate the averaged weights on validation tasks; True if they are the best so far (mean of both modes)."""
        self.policy.engine.update_weights(self.trainer.averaged_model())
        results = {mode: self._evaluate(self.valid, mode, "valid", "valid", step) for mode in MODES}
        self.policy.engine.update_weights(self.model)
        score = float(np.mean([result.won.mean() for result in results.values()]))
        if self.progress.best is not None and score <= self.progress.best:
            return False
        self.progress.best, self.progress.best_step = score, step
        return True

    def _number(self, step: int) -> int:
        """Checkpoint number of RL iteration `step`: warm-up updates come before it."""
        return self.progress.warmup_steps + step

    def _checkpoint(self, *, best: bool) -> None:
        """Save the run between two iterations; the model in it is the one that is evaluated, the average."""
        extra = {
            "raw": _apart(self.model.state_dict()),
            "objective": self.trainer.objective.state_dict(),
            "reference": {} if self.reference is None else _apart(self.reference.state_dict()),
            "policy_version": self.policy.engine.policy_version,
        }
        number = self._number(self.progress.step)
        self._save(number, self.trainer.optimizer, best=best, extra=extra, model=self.trainer.average)

    def _save(
        self,
        number: int,
        optimizer: torch.optim.Optimizer,
        *,
        best: bool,
        extra: Mapping[str, Any] | None = None,
        model: Mapping[str, Tensor] | None = None,
    ) -> None:
        state = {"progress": asdict(self.progress), "journal": self._journal.state(), **(extra or {})}
        saved = capture(number, self.model, optimizer, state=state, assets=self.assets)
        if model is not None:
            saved = replace(saved, model=model)
        save_checkpoint(self.folder.checkpoints_path, saved, keep=self.config.checkpoint.keep, best=best)

    def _write_summary(self, stopped: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        summary = {
            **run_facts(self.config, self.folder.name),
            "stopped": stopped,
            "steps": self.progress.step,
            "best_step": self.progress.best_step,
            "phases": self._journal.phases(),
            **extra,
        }
        self.folder.write_summary(summary)
        return summary


def _refuse_namesake(store: Store, name: str) -> None:
    """A run begins by deleting what is stored under its name; in a shared database that could be another's."""
    if any(run.run_id == name for run in store.runs()):
        raise StoreError("run_exists", f"the database already holds a run {name!r}; choose another folder name")


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that share no memory, as a tensor tree wants them; tied weights are written twice."""
    return {name: value.clone() for name, value in weights.items()}
