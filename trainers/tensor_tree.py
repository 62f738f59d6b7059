"""Nested Python data with tensors inside, as JSON plus a flat dictionary of tensors, without loss and without pickle.

JSON has no tuples, no infinite numbers and no keys but strings, so those become one-key objects: `{"$tuple": [...]}`,
`{"$float": "inf"}`, `{"$dict": [[key, value], ...]}`, `{"$tensor": name}`, `{"$ndarray": [dtype, shape, values]}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def flatten(tree: object, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """JSON-ready data and the tensors it names by their path.

    Raises: TrainingError "not_savable" naming the path of anything else than None, bool, int, float, str, list,
        tuple, dict, tensor and numeric ndarray.

    >>> import torch
    >>> flatten({"best": -math.inf, 0: torch.zeros(2)})
    ({'$dict': [['best', {'$float': '-inf'}], [0, {'$tensor': '0'}]]}, {'0': tensor([0., 0.])})
    """
    tensors: dict[str, Tensor] = {}
    return _flatten(tree, path, tensors), tensors


def unflatten(data: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(data, list):
        return [unflatten(item, tensors) for item in data]
    if not isinstance(data, dict):
        return data
    match list(data.items()):
        case [("$tensor", name)]:
            return tensors[name]
        case [("$float", text)]:
            return float(text)
        case [("$tuple", items)]:
            return tuple(unflatten(item, tensors) for item in items)
        case [("$dict", pairs)]:
            return {key: unflatten(value, tensors) for key, value in pairs}
        case [("$ndarray", [dtype, shape, values])]:
            return np.array(unflatten(values, tensors), dtype=dtype).reshape(shape)
    return {key: unflatten(value, tensors) for key, value in data.items()}


def _flatten(tree: object, path: str, tensors: dict[str, Tensor]) -> Any:
    match tree:
        case None | bool() | int() | str():
            return tree
        case float():
            return tree if math.isfinite(tree) else {"$float": repr(float(tree))}
        case Tensor():
            tensors[path] = tree
            return {"$tensor": path}
        case tuple():
            return {"$tuple": _flatten(list(tree), path, tensors)}
        case list():
            return [_flatten(item, _join(path, number), tensors) for number, item in enumerate(tree)]
        case Mapping():
            return _flatten_mapping(tree, path, tensors)
        case np.ndarray() if tree.dtype.kind in "biuf":
            return {"$ndarray": [tree.dtype.str, list(tree.shape), _flatten(tree.ravel().tolist(), path, tensors)]}
    fix = "make it plain data or a tensor"
    raise TrainingError("not_savable", f"{path or 'the state'} is a {type(tree).__name__}; {fix}")


def _flatten_mapping(tree: Mapping[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    items = [(key, _flatten(value, _join(path, key), tensors)) for key, value in tree.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
        return dict(items)
    for key, _ in items:
        if not isinstance(key, str | int):
            raise TrainingError("not_savable", f"{_join(path, key)}: a key must be text or an integer")
    return {"$dict": [[key, value] for key, value in items]}


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


def save_tree(folder: Path, name: str, tree: object) -> None:
    """Write `name.json` and `name.safetensors`; raises as `flatten`, and OSError."""
    data, tensors = flatten(tree)
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")
    save_tensors(folder / f"{name}.safetensors", tensors)


def load_tree(folder: Path, name: str) -> Any:
    """The inverse of `save_tree`; every tensor on the CPU."""
    data = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return unflatten(data, load_file(folder / f"{name}.safetensors"))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, copied to the CPU if they are elsewhere; OSError if the disk refuses."""
    whole = {name: _standalone(tensor) for name, tensor in tensors.items()}
    try:
        save_file(whole, path, metadata={"format": "pt"})
    except SafetensorError as error:  # the library reports the system's error as text
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error), str(path)) from error


def _standalone(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous, with a storage of its own."""
    plain = tensor.detach().cpu().contiguous()
    alone = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
    return plain if alone else plain.clone()
