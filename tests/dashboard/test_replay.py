from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.rollout import collect
from palaestra.agents.store import Store, StoredRollout
from palaestra.agents.types import Rollout, RolloutFailure, RolloutGroup
from palaestra.dashboard.replay import (
    MOST_BYTES,
    MOST_CHARACTERS,
    MOST_STEPS,
    clip,
    frames,
    inert_json,
    outcome,
    read_board,
    replay,
)
from palaestra.envs.core.types import Action, ActionStatus, Step, StopReason, Task, Trajectory
from palaestra.envs.sokoban.render import TextStyle, draw_text
from tests.dashboard.runs import ENV_ID, KWARGS, tasks


def stored(tmp_path: Path, rollout: Rollout) -> StoredRollout:
    """The episode after a round trip through a real store."""
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("run")
        task = rollout.trajectory.task
        store.append([RolloutGroup(rollout.group, task, [rollout])], run_id="run", iteration=0, phase="eval")
        return store.stored(rollout.rollout_id)


def text_episode(count: int, **changes: Any) -> Rollout:
    steps = tuple(Step(f"room {i}", f"<b>{i}</b>", Action("go"), 0.5, False, False) for i in range(count))
    trajectory = Trajectory(Task("other/Env-v0", 0), steps, StopReason.TRUNCATED, "the end", False, 0.0)
    return Rollout("r", "g", 0, replace(trajectory, **changes))


@pytest.mark.parametrize("style", ["compact", "padded", "xsb"])
def test_boards_of_every_style_become_the_cells_they_show(tmp_path: Path, style: TextStyle) -> None:
    kwargs = {**KWARGS, "text_style": style}
    rollout = collect(tasks(1, "test", kwargs), ExpertPolicy(0))[0].rollouts[0]
    shown = replay(stored(tmp_path, rollout), "after")
    steps = rollout.trajectory.steps
    assert shown["kind"] == "board"
    assert shown["won"]
    assert len(shown["frames"]) == len(shown["steps"]) + 1 == len(steps) + 1
    drawn = [draw_text(bytes(map(int, frame.replace("/", ""))), 7, style) for frame in shown["frames"]]
    assert drawn == [*(step.observation for step in steps), rollout.trajectory.final_observation]
    assert [step["action"] for step in shown["steps"]] == [step.action.text for step in steps]
    assert [step["response"] for step in shown["steps"]] == [step.response for step in steps]


def test_pixel_observations_are_drawn_from_the_board_in_info() -> None:
    first, second = "####\n#P_#\n####", "####\n#_P#\n####"
    step = Step("[pixels]", "right", Action("right"), 0.0, False, True, {"anchor": second})
    trajectory = Trajectory(Task(ENV_ID, 0), (step,), StopReason.TRUNCATED, "[pixels]", False, 0.0, {"anchor": first})
    assert frames(trajectory) == [first, second]


def test_an_episode_without_steps_has_one_frame() -> None:
    trajectory = Trajectory(Task("e", 0), (), StopReason.ENV_ERROR, "", won=False, score=0.0)
    assert frames(trajectory) == [""]


@pytest.mark.parametrize("text", ["", "a prompt", "###\n##", "#P#\n<script>", "###\n\n###"])
def test_text_that_is_no_board_is_not_read_as_one(text: str) -> None:
    assert read_board(Task(ENV_ID, 0), text) is None


def test_boards_of_other_environments_are_text() -> None:
    assert read_board(Task("other/Env-v0", 0), "####") is None


def test_distances_to_the_goal_are_told_where_known(tmp_path: Path) -> None:
    rollout = collect(tasks(1, "test"), ExpertPolicy(0))[0].rollouts[0]
    shown = replay(stored(tmp_path, rollout), "after")
    length = len(rollout.trajectory.steps)
    assert shown["distance"] == length
    assert [step["distance"] for step in shown["steps"]] == list(range(length - 1, -1, -1))
    dead = replace(rollout.trajectory.steps[0], info={"oracle_distance": None, "deadlock": True})
    rollout = replace(rollout, rollout_id="d", trajectory=replace(rollout.trajectory, steps=(dead,)))
    (tmp_path / "2").mkdir()
    step = replay(stored(tmp_path / "2", rollout), "after")["steps"][0]
    assert (step["distance"], step["deadlock"]) == (None, True)


def test_long_episodes_and_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    rollout = text_episode(MOST_STEPS + 30, final_observation="x" * 10)
    first = replace(rollout.trajectory.steps[0], response="y" * (MOST_CHARACTERS + 7))
    rollout = replace(rollout, trajectory=replace(rollout.trajectory, steps=(first, *rollout.trajectory.steps[1:])))
    shown = replay(stored(tmp_path, rollout), "")
    assert shown["kind"] == "text"
    assert len(shown["steps"]) == MOST_STEPS
    assert len(shown["frames"]) == MOST_STEPS + 1
    assert shown["left_out"] == 30
    assert shown["steps"][0]["response"].endswith("y… (7 more characters)")


def test_a_step_that_no_longer_fits_ends_what_is_shown(tmp_path: Path) -> None:
    rollout = text_episode(60)
    steps = tuple(replace(step, response="<" * MOST_CHARACTERS) for step in rollout.trajectory.steps)
    shown = replay(stored(tmp_path, replace(rollout, trajectory=replace(rollout.trajectory, steps=steps))), "")
    assert 0 < len(shown["steps"]) < 60
    assert len(shown["frames"]) == len(shown["steps"]) + 1
    assert shown["left_out"] == 60 - len(shown["steps"])
    assert 0.9 * MOST_BYTES < len(inert_json(shown)) < 1.1 * MOST_BYTES


def test_failures_and_misread_responses_are_shown(tmp_path: Path) -> None:
    rollout = text_episode(2, stop_reason=StopReason.POLICY_ERROR)
    bad = replace(rollout.trajectory.steps[1], action=Action("", ActionStatus.NO_ACTION))
    trajectory = replace(rollout.trajectory, steps=(rollout.trajectory.steps[0], bad))
    failure = RolloutFailure("policy", "ValueError", "policy_failed", "it broke\x00")
    shown = replay(stored(tmp_path, replace(rollout, trajectory=trajectory, failure=failure)), "")
    assert [step["status"] for step in shown["steps"]] == ["", "no action"]
    assert shown["failure"] == "it broke\ufffd"
    assert shown["outcome"] == "not solved, policy error after 2 steps"


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_stop_reason_has_words(reason: StopReason) -> None:
    trajectory = text_episode(1, stop_reason=reason).trajectory
    assert outcome(trajectory).startswith("not solved")
    assert "_" not in outcome(trajectory)
    assert outcome(trajectory).endswith("1 step")
    assert outcome(replace(trajectory, won=True)) == "solved in 1 step"


def test_what_a_page_cannot_hold_is_replaced() -> None:
    assert clip("a\ud800\x1b\nb\tç") == "a\ufffd\ufffd\nb\tç"
