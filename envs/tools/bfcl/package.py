"""The installed `bfcl-eval`: its data, backends and checkers are used where they lie; nothing of them is copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from palaestra.mcp_servers.errors import ConfigError, boundary

VERSION: Final = "2026.3.23"
INSTALL: Final = f"pip install --no-deps bfcl-eval=={VERSION} && pip install mpmath==1.3.0"
"""What to run: most of what bfcl-eval depends on is for asking vendors' models, and is not needed."""

_EVAL: Final = "bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker"
_CONSTANTS: Final = "bfcl_eval.constants"

Checker = Callable[..., Mapping[str, Any]]


def missing() -> str | None:
    """What is not installed, in one sentence with the command; None if everything is there."""
    for module in ("bfcl_eval", "mpmath"):
        if find_spec(module) is None:
            return f"BFCL needs {module}, which is not installed: {INSTALL}"
    found = metadata.version("bfcl-eval")
    return None if found == VERSION else f"BFCL needs bfcl-eval {VERSION}, found {found}: {INSTALL}"


def check_installed() -> None:
    """Raises: ConfigError "missing_bfcl" naming the command."""
    if (problem := missing()) is not None:
        raise ConfigError("missing_bfcl", problem)


def _module(name: str) -> Any:
    check_installed()
    with boundary("missing_bfcl", ConfigError):
        return import_module(name)


def read_lines(*path: str) -> Iterator[dict[str, Any]]:
    """The objects of one of the package's data files. Raises: ConfigError "missing_bfcl"."""
    check_installed()
    spec = find_spec("bfcl_eval")
    folder = Path(str(spec.origin if spec else "")).parent / "data"
    with boundary("missing_bfcl", ConfigError):
        yield from map(json.loads, folder.joinpath(*path).read_text(encoding="utf-8").splitlines())


@cache
def backend_class(name: str) -> Any:
    """The Python class of a backend. Raises: ConfigError "missing_bfcl"."""
    where = _module(f"{_CONSTANTS}.executable_backend_config").CLASS_FILE_PATH_MAPPING[name]
    return getattr(_module(where), name)


@cache
def schema_file(name: str) -> str:
    """The file that describes a backend's tools."""
    return str(_module(f"{_CONSTANTS}.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING[name])


@cache
def more_tools_prompt() -> str:
    """What the user says in a turn that only brings tools."""
    return str(_module(f"{_CONSTANTS}.default_prompts").DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC)


@cache
def checker(name: str) -> Checker:
    """One of the official checkers: `state_checker`, `response_checker`, `multi_turn_checker` and so on."""
    found: Checker = getattr(_module(_EVAL), name)
    return found
