from __future__ import annotations

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from palaestra.envs.core.info import json_ready, merge_status
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.text.wrapper import TextAgentWrapper
from palaestra.envs.core.types import Action, ActionStatus, ParseFailure


def sokoban(protocol: TextProtocol) -> TextAgentWrapper:
    return TextAgentWrapper(gymnasium.make("palaestra/Sokoban-v0", disable_env_checker=True), protocol)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version.*:UserWarning")
@pytest.mark.parametrize("style", ["full", "compact"])
def test_gymnasium_accepts_the_wrapper(style: str) -> None:
    protocol = TextProtocol.model_validate({"style": style, "context": "window", "response_tokens": 8})
    check_env(sokoban(protocol), skip_render_check=True)


@pytest.mark.parametrize("context", ["append", "window"])
def test_the_expert_solves_through_tags(context: str) -> None:
    protocol = TextProtocol.model_validate({"context": context})
    env = sokoban(protocol)
    prompt, _ = env.reset(seed=5)
    assert env.observation_space.contains(prompt)
    plan = env.get_wrapper_attr("plan")()
    for turn, action in enumerate(plan):
        prompt, _, terminated, _, info = env.step(f"<think>√</think><action>{action.upper()}</action>")
        assert env.observation_space.contains(prompt)
        assert f"Steps so far: {turn + 1} of 15." in prompt
        assert (info["action_status"], info["action"], info["action_failure"]) == ("ok", action, "")
    assert terminated
    assert info["won"]


@pytest.mark.parametrize("context", ["append", "window"])
def test_the_expert_solves_by_number(context: str) -> None:
    env = sokoban(TextProtocol.model_validate({"context": context, "actions": "number"}))
    _, info = env.reset(seed=5)
    for action in env.get_wrapper_attr("plan")():
        number = info["admissible_commands"].index(action) + 1
        _, _, terminated, _, info = env.step(f"<think></think><action>{number}</action>")
        assert (info["action_status"], info["action"]) == ("ok", action)
    assert terminated
    assert info["won"]
    env.reset(seed=5)
    *_, info = env.step("<think></think><action>up</action>")
    assert (info["action_status"], info["action"]) == ("not_in_language", "<noop>")


def test_an_unreadable_response_is_a_no_op_that_says_why() -> None:
    env = sokoban(TextProtocol(style="compact", context="window", history=0))
    before, _ = env.reset(seed=5)
    after, reward, _, _, info = env.step("<action>up</action> or <action>down</action>")
    assert after == before
    assert reward == pytest.approx(-0.1)
    assert (info["action_status"], info["action_valid"], info["action"]) == ("many_actions", False, "<noop>")
    assert "2 <action>" in info["action_failure"]


def test_the_world_may_refuse_a_well_formed_action() -> None:
    env = sokoban(TextProtocol(style="compact"))
    env.reset(seed=5)
    _, _, _, _, info = env.step("<action>jump</action>")
    assert (info["action_status"], info["action"]) == ("not_in_language", "jump")


def test_the_instruction_leads_the_task() -> None:
    env = TextAgentWrapper(gymnasium.make("palaestra/Sokoban-v0"), TextProtocol(style="compact"), instruction="Hurry.")
    prompt, _ = env.reset(seed=5)
    assert prompt.startswith("Hurry.\n")


def test_info_keeps_plain_scalars() -> None:
    import numpy as np

    info = {
        "won": np.bool_(True),
        "score": np.float64(0.5),
        "boxes_on_target": np.int64(2),
        "nan": float("nan"),
        "oracle_distance": np.float32("inf"),
        "board": np.zeros(3),
        "admissible_commands": ["up"],
        "split": "train",
        "none": None,
    }
    kept = json_ready(info)
    plain = {"won": True, "score": 0.5, "boxes_on_target": 2, "nan": None, "none": None}
    assert kept == {**plain, "oracle_distance": None, "deadlock": True}
    assert type(kept["won"]) is bool
    assert type(kept["boxes_on_target"]) is int
    assert json_ready({"split": "train", "oracle_distance": 3}, start=True) == {"split": "train", "oracle_distance": 3}


def test_a_parse_failure_outranks_what_the_world_says() -> None:
    failure = ParseFailure(ActionStatus.NOT_IN_LANGUAGE, "no known word")
    info = {"action_status": "ok", "action_valid": True}
    assert merge_status(Action("<noop>", failure.status, failure=failure), info) is ActionStatus.NOT_IN_LANGUAGE
    assert info == {"action_status": "not_in_language", "action_valid": False}
    silent: dict[str, object] = {}
    assert merge_status(Action("up"), silent) is ActionStatus.OK
    assert silent == {"action_status": "ok", "action_valid": True}
