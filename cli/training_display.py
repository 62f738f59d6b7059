"""What a person sees while a run trains: a bar for the phase under way and a line for every evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from palaestra.cli.output import show_table

_PHASES: Final = {
    "setup": "Setting up",
    "warmup": "Warm-up: cloning the expert",
    "evaluate_before": "Held-out tasks, before",
    "rl": "Reinforcement learning",
    "evaluate_after": "Held-out tasks, after",
}
_LEVELS: Final = "▁▂▃▄▅▆▇█"


class TrainingDisplay:
    """The listener of a run (`Experiment`): a context manager that draws on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"), console=self._console, transient=True, disable=quiet,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._curve: list[float] = []
        # Progress bars of model loading would cut through ours.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        from transformers.utils import logging as hf_logging

        hf_logging.disable_progress_bar()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event of the run."""
        phase = event["phase"]
        if event.get("event") == "begin":
            self._begin(_PHASES.get(phase, phase))
        elif phase == "warmup":
            self._update(event, f"loss {event['loss']:.2f}")
        elif phase == "rl":
            self._update(
                event,
                f"solved {100 * event['success']:.0f} %  entropy {event['rollout_entropy']:.2f}  "
                f"{event['seconds']['rollout'] + event['seconds']['old_pass'] + event['seconds']['update']:.1f} s",
            )
        elif phase == "eval":
            self._evaluated(event)

    def title(self, recipe: str, folder: Path, *, resumed: bool) -> None:
        """Say what begins."""
        verb = "Going on with" if resumed else "Training"
        self.say(f"{verb} {recipe} in {folder}")

    def say(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(Text(text))

    def conclude(self, summary: Mapping[str, Any], folder: Path, page: Path | None) -> None:
        """The result as tables, and where to look."""
        if held_out := summary.get("held_out"):
            rows: list[list[Any]] = []
            for mode in ("greedy", "sampled"):
                result = held_out[mode]
                rows.append([f"{mode}, all", *_figures(result)])
                rows += [[_stratum(name), *_figures(stratum)] for name, stratum in result["by_stratum"].items()]
            show_table(
                f"Solved of {held_out['n']} held-out tasks (percent)",
                ("", "tasks", "before", "after", "gain", "95% from", "to"),
                rows,
            )
        spent = ", ".join(f"{name} {took['wall_s']:.0f} s" for name, took in summary["phases"].items())
        self.say(f"Time: {spent}.")
        self.say(f"Run: {folder}" + (f"\nReport: {page}" if page else ""))

    def _begin(self, description: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=None, note="")

    def _update(self, event: Mapping[str, Any], note: str) -> None:
        if self._task is not None:
            curve = "".join(_LEVELS[min(7, int(8 * value))] for value in self._curve)
            self._progress.update(self._task, completed=event["step"], total=event["total"], note=f"{note}  {curve}")

    def _evaluated(self, event: Mapping[str, Any]) -> None:
        if event["split"] == "valid" and event["mode"] == "sampled":
            self._curve.append(event["success"])
        low, high = event["ci95"]
        self.say(
            f"step {event['step']:>4}  {event['split']:<5} {event['mode']:<7} "
            f"{100 * event['success']:5.1f} % of {event['n']} solved  ({100 * low:.1f} to {100 * high:.1f})"
            f"  {event['wall_s']:.0f} s"
        )


def _stratum(name: str) -> str:
    from palaestra.trainers.statistics import is_length_band

    return f"  {name} moves" if is_length_band(name) else f"  {name}"


def _figures(result: Mapping[str, Any]) -> list[str | int]:
    low, high = result["gain_ci95"]
    return [
        result["n"], *(f"{100 * result[key]:.1f}" for key in ("before", "after")), f"{100 * result['gain']:+.1f}",
        f"{100 * low:+.1f}", f"{100 * high:+.1f}",
    ]  # fmt: skip
