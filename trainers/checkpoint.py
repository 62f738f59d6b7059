"""Checkpoints: everything a bit-identical resume needs, complete under their name or not there at all.

    checkpoints/step-00000012/
        manifest.json                       sha256 and size of every file below
        model/                              an ordinary HF directory: model.safetensors, config.json, tokenizer files
        optimizer.json, .safetensors        Optimizer.state_dict()
        rng.json, .safetensors              every random stream
        state.json, .safetensors            the trainer's own: data cursor, schedule, controllers, best so far

A save writes into a hidden sibling folder, forces it to the disk and renames it; a crash at any instant leaves the
previous checkpoints as they were. Nothing is ever loaded without its hash being verified, and nothing falls back by
itself: `latest_valid` says what it refused and the caller decides.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

import palaestra
from palaestra.agents.durable import disk_errors, sync_file, sync_folder, write_durably
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.manifest import MANIFEST, Manifest, list_files, read_manifest, render, verify
from palaestra.trainers.rng_streams import Generators, NumpyStreams, capture_rng, restore_rng
from palaestra.trainers.tensor_tree import load_tree, save_tensors, save_tree

_CHECKPOINT = re.compile(r"step-(\d{8,})|\.step-(\d{8,})\.old")
_LEFTOVER = re.compile(r"\.step-\d{8,}\.(old|tmp)")
_TREES = ("optimizer", "rng", "state")  # fields of RunState, each in files of its own
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".index.json")


@dataclass(frozen=True, slots=True, eq=False)
class RunState:
    """A training run between two steps.

    Attributes:
        step: steps done.
        model: `state_dict()`.
        optimizer: `state_dict()`; None if there is none.
        rng: from `capture_rng`.
        state: the trainer's own plain data and tensors: cursor, schedule, controllers, best so far.
        assets: content by file name of what makes `model/` loadable by itself (`config.json`, tokenizer files).
        device: type of the device it was trained on.
    """

    step: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] | None
    rng: Mapping[str, Any]
    state: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, bytes] = field(default_factory=dict)
    device: str = "cpu"


def capture(
    step: int,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    generators: Generators | None = None,
    numpy_streams: NumpyStreams | None = None,
    state: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
) -> RunState:
    """The run as it stands; it shares the model's and the optimizer's memory, so save it before the next step."""
    device = next((p.device.type for p in model.parameters()), "cpu")
    return RunState(
        step=step,
        model=model.state_dict(),
        optimizer=None if optimizer is None else optimizer.state_dict(),
        rng=capture_rng(generators, numpy_streams, cuda=device == "cuda"),
        state=dict(state or {}),
        assets=dict(assets or {}),
        device=device,
    )


def restore(
    saved: RunState,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    generators: Generators | None = None,
    numpy_streams: NumpyStreams | None = None,
) -> None:
    """Put a model, its optimizer and every random stream back where `capture` found them, in place.

    Raises: TrainingError "checkpoint_mismatch" if tensors or optimizer groups do not fit, "rng_mismatch".
    """
    if (saved.optimizer is None) != (optimizer is None):
        has = "no optimizer state" if saved.optimizer is None else "optimizer state"
        raise TrainingError(
            "checkpoint_mismatch", f"the checkpoint holds {has}; pass an optimizer exactly if it has one"
        )
    try:
        model.load_state_dict(dict(saved.model))
        if optimizer is not None and saved.optimizer is not None:
            optimizer.load_state_dict(dict(saved.optimizer))
    except (RuntimeError, ValueError) as error:
        message = f"the checkpoint of step {saved.step} does not fit: {error}; build the model its config describes"
        raise TrainingError("checkpoint_mismatch", message) from error
    restore_rng(saved.rng, generators, numpy_streams)


def read_assets(folder: Path) -> dict[str, bytes]:
    """Every file of a model directory that is not weights: config, generation config, tokenizer, chat template."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.endswith(_WEIGHTS))
    return {path.name: path.read_bytes() for path in files}


def save_checkpoint(directory: Path, saved: RunState, *, keep: int = 3, best: bool = False) -> Path:
    """Write a checkpoint and force it to the disk, then delete all but the newest `keep` and the best one.

    A checkpoint of the same step is replaced. Time and disk grow with the number of parameters (about 3 x 4 bytes
    each with AdamW in float32); one copy more than `keep` fits on the disk or nothing changes.

    Args:
        directory: the run's `checkpoints` folder; made if absent. One process at a time may write to it.
        saved: what to save.
        keep: how many of the newest to keep, at least 1.
        best: record this one as the best so far.
    Returns: the checkpoint's folder.
    Raises: TrainingError "disk_full", "io_error", "not_savable"; the earlier checkpoints are as they were.
    """
    if keep < 1:
        raise TrainingError("bad_argument", f"keep={keep} would delete the checkpoint just written; use keep >= 1")
    final = directory / f"step-{saved.step:08d}"
    with disk_errors(TrainingError, f"saving {final}", "The earlier checkpoints are as they were."):
        directory.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(directory)
        temporary = directory / f".{final.name}.tmp"
        try:
            _write(temporary, saved, best)
            _put_in_place(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _prune(directory, keep)
    return final


def load_checkpoint(path: Path) -> RunState:
    """Read a checkpoint whose every byte was verified; all tensors on the CPU.

    Raises: TrainingError "checkpoint_missing", "checkpoint_corrupt", "checkpoint_version".
    """
    manifest = verify(path)
    try:
        model = load_file(path / "model" / "model.safetensors")
        model |= {alias: model[name] for alias, name in manifest.aliases.items()}
        trees = {name: load_tree(path, name) for name in _TREES}
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        what = "is not what this version writes, though its hashes agree"
        raise TrainingError(
            "checkpoint_corrupt", f"{path} {what} ({error}); do not trust where it came from"
        ) from error
    assets = read_assets(path / "model")
    return RunState(step=manifest.step, model=model, assets=assets, device=manifest.device, **trees)


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a run, newest first, unverified; one that a killed save had moved aside is among them."""
    if not directory.is_dir():
        return []
    found: dict[int, Path] = {}
    for path in sorted(directory.iterdir()):  # a moved-aside folder (".step-...") sorts before the one that replaced it
        name = _CHECKPOINT.fullmatch(path.name)
        if name:
            found[int(name[1] or name[2])] = path
    return [found[step] for step in sorted(found, reverse=True)]


@dataclass(frozen=True, slots=True)
class LatestValid:
    """The newest checkpoint that verifies (None if none does), and why each newer one was refused."""

    path: Path | None
    refused: tuple[TrainingError, ...]


def latest_valid(directory: Path) -> LatestValid:
    """The newest intact checkpoint; reads every checkpoint from the newest on until one verifies."""
    refused = []
    for path in list_checkpoints(directory):
        try:
            verify(path)
        except TrainingError as error:
            refused.append(error)
        else:
            return LatestValid(path, tuple(refused))
    return LatestValid(None, tuple(refused))


def best_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint saved with `best=True`, its tensors unverified; None if there is none.

    Raises: TrainingError "checkpoint_corrupt" if a manifest on the way cannot be read.
    """
    return next((path for path in list_checkpoints(directory) if read_manifest(path).best), None)


def _write(folder: Path, saved: RunState, best: bool) -> None:
    """Everything into `folder`, on the disk when this returns."""
    model = folder / "model"
    model.mkdir(parents=True)
    for name, content in saved.assets.items():
        if name != Path(name).name or name.endswith(_WEIGHTS):
            raise TrainingError("not_savable", f"asset {name!r} must be a plain file name and no weights file")
        (model / name).write_bytes(content)
    stored, aliases = _without_aliases(saved.model)
    save_tensors(model / "model.safetensors", stored)
    for name in _TREES:
        save_tree(folder, name, getattr(saved, name))
    manifest = Manifest(step=saved.step, device=saved.device, versions=_versions(), aliases=aliases, best=best)
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
    write_durably(folder / MANIFEST, render(replace(manifest, files=list_files(folder))))
    sync_folder(model)
    sync_folder(folder)


def _put_in_place(temporary: Path, final: Path) -> None:
    aside = final.with_name(f".{final.name}.old")
    if final.exists():
        final.rename(aside)
    temporary.rename(final)
    sync_folder(final.parent)
    if aside.exists():
        shutil.rmtree(aside)


def _clear_leftovers(directory: Path) -> None:
    """Finish what a killed save left: half-written folders go, a checkpoint moved aside comes back or goes."""
    for path in sorted(directory.iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            final = path.with_name(path.stem.removeprefix("."))
            if path.suffix == ".old" and not final.exists():
                path.rename(final)
            else:
                shutil.rmtree(path)


def _prune(directory: Path, keep: int) -> None:
    best_seen = False
    for rank, path in enumerate(list_checkpoints(directory)):
        try:
            best = read_manifest(path).best
        except TrainingError:
            continue  # what cannot be read may be the best one: deleting it is the user's decision
        if rank >= keep and (best_seen or not best):
            doomed = path.with_name(f".{path.name}.tmp")  # so that a half-deleted folder never passes for a checkpoint
            path.rename(doomed)
            shutil.rmtree(doomed)
        best_seen = best_seen or best


def _without_aliases(model: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each memory once, under its first name, and the other names (tied weights) pointing to it."""
    first: dict[tuple[Any, ...], str] = {}
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in model.items():
        key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
            stored[name] = tensor
    return stored, aliases


def _versions() -> dict[str, str]:
    return {"palaestra": palaestra.__version__, **{name: version(name) for name in ("numpy", "safetensors", "torch")}}
