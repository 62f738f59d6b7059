"""Every random stream a training run draws from, captured and restored together.

Leaving one out breaks a bit-identical resume silently (the global torch stream through dropout, for instance), so the
named streams must match exactly on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from palaestra.mcp_servers.errors import TrainingError, nearest

Generators = Mapping[str, torch.Generator]
NumpyStreams = Mapping[str, np.random.Generator]


def capture_rng(
    generators: Generators | None = None, numpy_streams: NumpyStreams | None = None, *, cuda: bool = False
) -> dict[str, Any]:
    """The state of torch's global CPU stream (if `cuda`, every device's too) and of the named ones: a tensor tree."""
    return {
        "torch_cpu": torch.get_rng_state(),
        "torch_cuda": list(torch.cuda.get_rng_state_all()) if cuda else [],
        "generators": {name: generator.get_state() for name, generator in (generators or {}).items()},
        "numpy": {name: dict(stream.bit_generator.state) for name, stream in (numpy_streams or {}).items()},
    }


def restore_rng(
    state: Mapping[str, Any], generators: Generators | None = None, numpy_streams: NumpyStreams | None = None
) -> None:
    """Put every stream back where `capture_rng` found it; the named objects are changed in place.

    Raises: TrainingError "rng_mismatch" if the names, the kind of a NumPy stream or the number of CUDA devices
        differ; nothing is changed then.
    """
    generators, numpy_streams = generators or {}, numpy_streams or {}
    _same_names("torch generators", state["generators"], generators)
    _same_names("NumPy streams", state["numpy"], numpy_streams)
    for name, stream in numpy_streams.items():
        saved, now = state["numpy"][name]["bit_generator"], type(stream.bit_generator).__name__
        if saved != now:
            raise TrainingError("rng_mismatch", f"NumPy stream {name!r} was a {saved}, now it is a {now}")
    devices = torch.cuda.device_count() if state["torch_cuda"] else 0
    if devices != len(state["torch_cuda"]):
        message = f"the checkpoint holds the streams of {len(state['torch_cuda'])} CUDA devices, here are {devices}"
        raise TrainingError("rng_mismatch", f"{message}; resume on as many as it was trained on")
    torch.set_rng_state(state["torch_cpu"])
    if state["torch_cuda"]:
        torch.cuda.set_rng_state_all(state["torch_cuda"])
    for name, generator in generators.items():
        generator.set_state(state["generators"][name])
    for name, stream in numpy_streams.items():
        stream.bit_generator.state = state["numpy"][name]


def _same_names(kind: str, saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name in saved:
        if name not in given:
            raise TrainingError("rng_mismatch", f"{kind}: the checkpoint holds {name!r}; {nearest(name, given)}")
    for name in given:
        if name not in saved:
            raise TrainingError("rng_mismatch", f"{kind}: {name!r} is not in the checkpoint; {nearest(name, saved)}")
