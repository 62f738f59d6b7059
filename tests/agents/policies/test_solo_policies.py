from __future__ import annotations

import re
from collections import Counter
from typing import Any

import gymnasium
import pytest

from palaestra.agents.policies.base import Policy, TurnReply, TurnRequest
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.policies.scripted import ScriptedPolicy
from palaestra.agents.rollout import collect
from palaestra.agents.types import RolloutFailure
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import ConfigError

WORDS = ("up", "down", "left", "right")
COMPACT = TextProtocol(style="compact", context="window", history=0)


def request(episode: str = "e", turn: int = 0, admissible: tuple[str, ...] = WORDS, env: Any = None) -> TurnRequest:
    return TurnRequest(episode, turn, (), True, "o", admissible, env or gymnasium.Env())


def text(reply: TurnReply | RolloutFailure) -> str:
    assert isinstance(reply, TurnReply)
    return reply.text


def test_scripts_answer_in_the_protocols_tags() -> None:
    requests = [request(turn=0), request(turn=1)]
    assert [text(r) for r in ScriptedPolicy(["up", "left"]).act(requests)] == [
        "<think></think><action>up</action>",
        "<think></think><action>left</action>",
    ]
    by_function = ScriptedPolicy(lambda r: r.admissible[-1], COMPACT)
    assert text(by_function.act([request()])[0]) == "<action>right</action>"
    assert text(ScriptedPolicy(["??"], raw=True).act([request()])[0]) == "??"


def test_an_exhausted_script_fails_that_episode_alone() -> None:
    replies = ScriptedPolicy(["up"]).act([request(turn=1), request(turn=0)])
    assert isinstance(replies[0], RolloutFailure)
    assert (replies[0].code, replies[0].type) == ("script_exhausted", "RolloutError")
    assert isinstance(replies[1], TurnReply)


def draws(policy: Policy, episode: str, count: int) -> list[str]:
    return [text(policy.act([request(episode, turn)])[0]) for turn in range(count)]


def test_random_streams_belong_to_the_episode() -> None:
    policy = RandomPolicy(3)
    alone = draws(RandomPolicy(3), "a", 20)
    mixed = [[text(r) for r in policy.act([request("b", t), request("a", t)])] for t in range(20)]
    assert [pair[1] for pair in mixed] == alone
    assert [pair[0] for pair in mixed] != alone
    assert draws(RandomPolicy(4), "a", 20) != alone


def test_a_closed_episode_starts_its_stream_again() -> None:
    policy = RandomPolicy(3)
    first = draws(policy, "a", 5)
    policy.close_episode("a")
    policy.close_episode("unknown")
    assert draws(policy, "a", 5) == first


def test_random_draws_are_uniform_over_the_admissible_actions() -> None:
    counts = Counter(draws(RandomPolicy(0, COMPACT), "a", 4000))
    assert counts.keys() == {f"<action>{word}</action>" for word in WORDS}
    assert all(900 < count < 1100 for count in counts.values())


@pytest.mark.parametrize("policy", [RandomPolicy(0), ExpertPolicy(0, noise=1.0)])
def test_nothing_admissible_is_a_failure(policy: Policy) -> None:
    (reply,) = policy.act([request(admissible=())])
    assert isinstance(reply, RolloutFailure)
    assert reply.code == "no_actions"


def test_an_environment_without_a_planner_is_named() -> None:
    (reply,) = ExpertPolicy().act([request(env=gymnasium.make("CartPole-v1", disable_env_checker=True))])
    assert isinstance(reply, RolloutFailure)
    assert reply.code == "no_planner"
    assert "CartPoleEnv" in reply.message


@pytest.mark.parametrize("name", ["noise", "haste"])
def test_noise_and_haste_must_be_probabilities(name: str) -> None:
    for value in (-0.1, 1.5, float("nan")):
        settings: dict[str, Any] = {name: value}
        with pytest.raises(ConfigError, match=name):
            ExpertPolicy(**settings)


def test_a_hasty_expert_leaves_out_what_can_be_left_out() -> None:
    shop = {"catalogue": "corner", "goals": "synthetic"}
    tasks = [Task("palaestra/WebShop-v0", seed, shop) for seed in range(30)]

    def bought(haste: float) -> list[Any]:
        return [group.rollouts[0].trajectory for group in collect(tasks, ExpertPolicy(haste=haste))]

    careful, hasty = bought(0.0), bought(0.999)
    assert all(trajectory.won for trajectory in careful)
    # Of the options one was not chosen; neither searching nor opening the product can be left out.
    assert [len(trajectory.steps) for trajectory in hasty] == [len(trajectory.steps) - 1 for trajectory in careful]
    assert not any(trajectory.won for trajectory in hasty)
    assert sum(trajectory.won for trajectory in bought(0.5)) in range(1, 25)


def test_a_hasty_expert_of_tools_leaves_out_only_what_tells_it_nothing_it_needs() -> None:
    def called(chain: str) -> list[str]:
        (group,) = collect(
            [Task("palaestra/Tools-v0", 0, {"tasks": "chains", "chains": [chain]})], ExpertPolicy(haste=0.999)
        )
        replies = [step.action.text for step in group.rollouts[0].trajectory.steps]
        return [name for reply in replies for name in re.findall(r'"name": "(\w+)"', reply)]

    assert called("vehicle.fetch_from_the_trunk") == ["shut_trunk"]
    # A card's key is shown by the list, so looking it up cannot be left out; unfreezing the card can.
    assert called("banking.use_a_frozen_card_and_freeze_it_again") == [
        "list_bank_cards",
        "verify_identity",
        "freeze_card",
    ]


def sokoban_groups(policy: Policy, count: int = 12) -> list[Any]:
    tasks = [Task("palaestra/Sokoban-v0", seed, {"oracle_info": True}) for seed in range(count)]
    return [group.rollouts[0].trajectory for group in collect(tasks, policy, protocol=COMPACT)]


def test_the_expert_is_optimal() -> None:
    for trajectory in sokoban_groups(ExpertPolicy(protocol=COMPACT)):
        assert trajectory.won
        assert len(trajectory.steps) == trajectory.start["oracle_distance"]


def test_the_expert_plans_once_without_noise() -> None:
    env = gymnasium.make("palaestra/Sokoban-v0", disable_env_checker=True)
    env.reset(seed=4)
    policy, calls = ExpertPolicy(protocol=COMPACT), 0
    planner = env.get_wrapper_attr("plan")

    def counted() -> list[str] | None:
        nonlocal calls
        calls += 1
        plan: list[str] | None = planner()
        return plan

    env.unwrapped.plan = counted  # type: ignore[attr-defined]
    terminated = False
    for turn in range(15):
        action = COMPACT.parse(text(policy.act([request("e", turn, env=env)])[0])).action.text
        terminated = env.step(action)[2]
        if terminated:
            break
    assert terminated
    assert calls == 1


def test_noise_makes_detours_and_the_expert_recovers_where_it_can() -> None:
    noisy = sokoban_groups(ExpertPolicy(1, COMPACT, noise=0.3), 40)
    assert any(t.won and len(t.steps) > t.start["oracle_distance"] for t in noisy)
    assert any(step.info.get("deadlock") for t in noisy for step in t.steps)
    wins = sum(t.won for t in noisy)
    lost = sum(t.won for t in sokoban_groups(ExpertPolicy(1, COMPACT, noise=1.0), 40))
    assert lost < wins < 40


def test_noise_is_reproducible() -> None:
    assert sokoban_groups(ExpertPolicy(2, COMPACT, noise=0.5)) == sokoban_groups(ExpertPolicy(2, COMPACT, noise=0.5))
