"""One switch between numba and plain Python: a kernel is written once and runs under either, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def _find_compiler() -> Any:
    try:
        import numba
    except ImportError:
        return None
    return numba.njit


_njit = _find_compiler()
HAVE_NUMBA: bool = _njit is not None
"""True if kernels are compiled (extra `palaestra[fast]`)."""


def compiled(kernel: Callable[P, R]) -> Callable[P, R]:
    """The kernel, compiled by numba if it is installed; machine code is cached on disk where the disk is writable."""
    if _njit is None:
        return kernel
    try:
        fast: Callable[P, R] = _njit(cache=True)(kernel)
    except RuntimeError:  # numba found no writable place for its cache
        fast = _njit(kernel)
    return fast
