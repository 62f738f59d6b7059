"""Going back to a snapshot equals never having left it, in every environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest

from palaestra.envs.registration import ENVIRONMENTS
from tests.requirements.ledger import requirement

Env = gymnasium.Env[Any, Any]
BRANCHES = 20


def tail(env: Env, actions: list[Any]) -> list[str]:
    """Everything the rest of the episode shows."""
    return [str(env.step(action)) for action in actions]


@requirement("R14")
@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_a_branch_equals_the_run_never_left(env_id: str) -> None:
    kwargs = {} if "Reference" not in env_id else {"size": 7, "boxes": 1}  # the original's generator is slow on 10x10
    env, other = (gymnasium.make(env_id, disable_env_checker=True, **kwargs) for _ in range(2))
    world: Any = env.unwrapped
    branch: Any = other.unwrapped
    branches, seed = 0, 0
    while branches < BRANCHES:
        env.reset(seed=seed)
        other.reset(seed=1000 + seed)
        env.action_space.seed(seed)
        seed += 1
        snapshots: list[bytes] = []
        actions: list[Any] = []
        shown: list[str] = []
        over = False
        while not over:
            snapshots.append(world.snapshot())
            actions.append(env.action_space.sample())
            result = env.step(actions[-1])
            shown.append(str(result))
            over = bool(result[2] or result[3])
        for at in range(0, len(actions), 4):
            branch.restore(snapshots[at])
            assert branch.snapshot() == snapshots[at]
            assert tail(other, actions[at:]) == shown[at:]
            branches += 1
