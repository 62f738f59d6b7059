"""What a run comes to: facts about it, and success on held-out tasks before and after, with intervals."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import palaestra
from palaestra.trainers.config import TrainConfig
from palaestra.trainers.evaluate import Evaluation
from palaestra.trainers.statistics import paired_gain

Won = npt.NDArray[np.bool_]
_PACKAGES = ("gymnasium", "numpy", "safetensors", "tokenizers", "torch", "transformers")


def evaluation_record(result: Evaluation, *, split: str, mode: str, step: int, phase: str) -> dict[str, Any]:
    """One evaluation as a metrics record."""
    rate = result.success
    return {
        "phase": phase,
        "step": step,
        "split": split,
        "mode": mode,
        "n": rate.episodes,
        "success": rate.rate,
        "ci95": [rate.lo, rate.hi],
        "length_mean": float(result.lengths.mean()),
        "failed": result.failed,
        "by_stratum": {
            name: {"n": r.episodes, "success": r.rate, "ci95": [r.lo, r.hi]} for name, r in result.by_stratum().items()
        },
    }


def compare_held_out(before: Mapping[str, Won], after: Mapping[str, Evaluation], *, primary: str) -> dict[str, Any]:
    """Paired comparison on the same tasks for every mode; the primary mode's figures stand at the top as well."""
    modes = {mode: _compare(before[mode], after[mode]) for mode in after}
    return {"split": "test", "mode": primary, **modes[primary], **modes}


def _compare(before: Won, after: Evaluation) -> dict[str, Any]:
    strata = np.array(after.strata)
    bands = after.by_stratum()
    return {
        **_gain(before, after.won),
        "by_stratum": {name: _gain(before[strata == name], after.won[strata == name]) for name in bands},
    }


def _gain(before: Won, after: Won) -> dict[str, Any]:
    found = paired_gain(before, after)
    return {
        "n": len(before),
        "before": float(before.mean()),
        "after": float(after.mean()),
        "gain": found.gain,
        "gain_ci95": [found.lo, found.hi],
    }


def run_facts(config: TrainConfig, name: str) -> dict[str, Any]:
    """What repeats a run: recipe, seeds, versions, machine."""
    return {
        "name": name,
        "recipe": config.name,
        "env_id": config.env.id,
        "palaestra": palaestra.__version__,
        "seeds": {"run": config.seed, "evaluation": config.evaluation.seed},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "torch_threads": config.threads,
            "cuda": torch.cuda.is_available(),
        },
        "reward_components": dict(config.reward.components),
    }
