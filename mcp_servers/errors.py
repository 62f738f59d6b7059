"""The one error tree of Palaestra.

PalaestraError          code, message, retryable; survives a pickle round trip
|- ConfigError          bad or unknown setting; names the nearest key        (also ValueError)
|- TaskError            unknown id, task cannot be built, seeded or reset    (also LookupError)
|- ToolError            door unreachable, handle unknown or expired          (also ConnectionError)
|- RolloutError         policy, parser or deadline ended an episode; stored in its group, not raised past it
|- StoreError           the trajectory store or a run directory cannot be read or written   (also OSError)
`- TrainingError        shape mismatch, non-finite loss, corrupt checkpoint  (also RuntimeError)

A code is a short stable word a program can test; the message names the key, the value and the fix.
Recover narrowly: `boundary` is the one place that catches broadly, and it is applied at named places only
(rollout, scoring, command line).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class PalaestraError(Exception):
    """Base of every error Palaestra raises on purpose.

    >>> error = TaskError("unknown_task", "no level 'x'; known: a, b")
    >>> error.code, error.retryable, str(error)
    ('unknown_task', False, "no level 'x'; known: a, b [unknown_task]")
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        self.code = code
        self.message = message
        self.retryable = retryable
        Exception.__init__(self, code, message)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.code, self.message, self.retryable)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready data: type, code, message, retryable."""
        return {"type": type(self).__name__, "code": self.code, "message": self.message, "retryable": self.retryable}


def _rebuild(cls: type[PalaestraError], code: str, message: str, retryable: bool) -> PalaestraError:
    return cls(code, message, retryable=retryable)


class ConfigError(PalaestraError, ValueError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class TaskError(PalaestraError, LookupError):
    """A task is unknown or cannot be built, seeded or reset."""


class ToolError(PalaestraError, ConnectionError):
    """A tool door is unreachable, or an episode handle is unknown or expired."""


class RolloutError(PalaestraError):
    """A policy, a parser or a deadline ended an episode; it travels inside the rollout group as data."""


class StoreError(PalaestraError, OSError):
    """The trajectory store or a run directory cannot be read or written."""

    def __str__(self) -> str:
        return PalaestraError.__str__(self)


class TrainingError(PalaestraError, RuntimeError):
    """Training cannot go on: wrong shapes, a non-finite loss, a corrupt checkpoint."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint naming the closest known word and all known ones, to end an error message with.

    >>> nearest("learning_rat", ["learning_rate", "seed"])
    "did you mean 'learning_rate'? known: learning_rate, seed"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names) if names else 'none'}"


class boundary:
    """Turn any foreign exception raised inside into `as_(code, ...)`; Palaestra's own and BaseExceptions pass through.

    >>> with boundary("policy_failed", RolloutError):
    ...     1 / 0
    Traceback (most recent call last):
    ...
    palaestra.mcp_servers.errors.RolloutError: ZeroDivisionError: division by zero [policy_failed]
    """

    __slots__ = ("_as", "_code")

    def __init__(self, code: str, as_: type[PalaestraError]) -> None:
        self._code = code
        self._as = as_

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, PalaestraError):
            raise self._as(self._code, f"{type(error).__name__}: {error}") from error
