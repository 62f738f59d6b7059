"""A reward of your own: a pure function of a trajectory, composed with others by name and weight."""

from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.rollout import collect
from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import RolloutError
from palaestra.rewards.compose import Invalid, Reward, Score, compose
from palaestra.rewards.outcome import success
from palaestra.trainers.evaluate import held_out_tasks


def pushes(trajectory: Trajectory) -> Score:
    """1 for every step that moved a box. A world without boxes gets a reason instead of a zero."""
    if any("action.moved_box" not in step.info for step in trajectory.steps):
        raise RolloutError("not_applicable", "this world reports no pushes")
    raw = tuple(float(step.info["action.moved_box"]) for step in trajectory.steps)
    return Score(raw, f"{sum(raw):.0f} pushes")


def reward(trajectory: Trajectory) -> Reward:
    return compose(trajectory, {"success": success, "pushes": pushes}, {"success": 1.0, "pushes": 0.05})


tasks = held_out_tasks("palaestra/Sokoban-v0", {"min_len": 3, "max_len": 5}, "train", 8, seed=0)
for group in collect(tasks, RandomPolicy(seed=0)):
    trajectory = group.rollouts[0].trajectory
    found = reward(trajectory)
    assert not isinstance(found, Invalid)
    terms = ", ".join(f"{c.name} {c.total:+.2f} ({c.evidence})" for c in found.components)
    print(f"{found.total:+.2f} = {terms}")
    assert abs(found.total - sum(c.total for c in found.components)) < 1e-9
