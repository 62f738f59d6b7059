"""The model a run starts from: the user's directory, or a tiny policy built inside the run folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from palaestra.agents.models.tiny import build_tiny
from palaestra.mcp_servers.errors import ConfigError, StoreError, boundary
from palaestra.trainers.config import TrainConfig
from palaestra.trainers.evaluate import held_out_tasks


def check_sources(config: TrainConfig) -> None:
    """Find what would fail once the run folder is made: a wrong model directory, an environment that does not start.

    Raises: ConfigError "model_directory"; ConfigError and TaskError from making and resetting the environment.
    """
    path = config.policy.path
    for name in ("config.json", "tokenizer.json") if path is not None else ():
        if not (Path(path or "") / name).is_file():
            raise ConfigError(
                "model_directory",
                f"policy.path = {str(path)!r} is not a model directory ({name} is missing); give a local one",
            )
    for split in ("train", "valid", "test"):
        held_out_tasks(config.env.id, config.env.kwargs, split, 1, config.evaluation.seed)


def initial_model(config: TrainConfig, folder: Path) -> Path:
    """The directory to start from; the tiny policy is built on the first call, whole or not at all.

    Raises: StoreError "policy_build" if it cannot be written.
    """
    if config.policy.path is not None:
        return config.policy.path
    path = folder / "policy"
    if not path.exists():
        building = folder / ".policy.tmp"
        shutil.rmtree(building, ignore_errors=True)  # of a process that was killed; the run's lock is ours
        with boundary("policy_build", StoreError):
            policy = config.policy
            build_tiny(building, policy.size or "XS", config.seed, policy.vocab_size, policy.corpus)
            building.rename(path)
    return path


def load_model(path: Path) -> PreTrainedModel:
    """The model of a directory in float32, without a progress bar. Raises: ConfigError "model_directory"."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with boundary("model_directory", ConfigError):
            return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=True)
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
