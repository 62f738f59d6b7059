"""Errors as data, for a rollout to carry."""

from __future__ import annotations

from palaestra.agents.types import RolloutFailure
from palaestra.mcp_servers.errors import PalaestraError, RolloutError


def failure_of(stage: str, error: PalaestraError) -> RolloutFailure:
    """Where an error happened, its type, code and message; of a foreign error that `boundary` wrapped, its own type.

    >>> failure_of("policy", RolloutError("no_actions", "none listed"))
    RolloutFailure(stage='policy', type='RolloutError', code='no_actions', message='none listed')
    """
    original = error.__cause__ if type(error) is RolloutError and error.__cause__ is not None else error
    return RolloutFailure(stage, type(original).__name__, error.code, error.message)
