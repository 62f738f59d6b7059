"""What a checkpoint folder must hold, and the check that it does: one wrong bit anywhere is found.

`manifest.json` lists every other file with its size and sha256. It is written in one canonical form and carries the
digest of its own content, so a changed manifest is found as surely as a changed tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from palaestra.agents.durable import sha256
from palaestra.envs.core.types import canonical_json
from palaestra.mcp_servers.errors import TrainingError

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        step: training steps done.
        device: "cpu", "cuda", ...: resuming is bit-identical within one device type.
        versions: of the software that wrote it, by distribution.
        aliases: tensors that share the memory of another (tied weights) and are stored once, by name.
        best: it was the best so far when it was written; the newest such one is the best.
        files: {"sha256", "size"} by path within the folder.
    """

    step: int
    device: str
    versions: Mapping[str, str]
    aliases: Mapping[str, str]
    best: bool = False
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: int = FORMAT


def render(manifest: Manifest) -> bytes:
    """The one text of a manifest, digest included."""
    content = asdict(manifest)
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    return (json.dumps({**content, "digest": digest}, indent=2, sort_keys=True) + "\n").encode()


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below the folder but the manifest; reads them all once."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "size": path.stat().st_size} for path in paths
    }


def verify(folder: Path) -> Manifest:
    """The manifest of a checkpoint whose every byte is as written; reads all files once.

    Raises: TrainingError "checkpoint_missing", "checkpoint_corrupt" naming the file, "checkpoint_version".
    """
    if not folder.is_dir():
        raise TrainingError("checkpoint_missing", f"{folder} is not a checkpoint folder; check the path")
    manifest = read_manifest(folder)
    found = list_files(folder)
    for name, expected in manifest.files.items():
        if name not in found:
            raise _corrupt(folder / name, "is missing")
        if found[name] != expected:
            raise _corrupt(folder / name, f"has sha256 {found[name]['sha256'][:12]}…, not {expected['sha256'][:12]}…")
    for name in found:
        if name not in manifest.files:
            raise _corrupt(folder / name, f"is not listed in {MANIFEST}: it was added afterwards")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, checked against its own digest.

    Raises: TrainingError "checkpoint_corrupt", "checkpoint_version".
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise _corrupt(path, "is missing")
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
        if content.pop("digest") and content["format"] > FORMAT:
            fix = "load it with a newer palaestra"
            raise TrainingError("checkpoint_version", f"{path} has format {content['format']}; {fix}")
        manifest = Manifest(**content)
        intact = render(manifest) == raw
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _corrupt(path, f"cannot be read ({error})") from error
    if not intact:
        raise _corrupt(path, "is not as it was written")
    return manifest


def _corrupt(path: Path, what: str) -> TrainingError:
    fix = "delete this checkpoint and resume from an earlier one (latest_valid finds it)"
    return TrainingError("checkpoint_corrupt", f"{path} {what}; {fix}")
