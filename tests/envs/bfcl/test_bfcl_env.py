"""`palaestra/BFCL-MultiTurn-v0`: what it shows and when, how turns come out, and the promises of an environment."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from palaestra.envs.core.checks import check_agent_env
from palaestra.envs.tools.bfcl import ENV_ID
from palaestra.envs.tools.bfcl.env import BfclEnv
from palaestra.envs.tools.bfcl.package import missing, more_tools_prompt
from palaestra.envs.tools.bfcl.replay import known_faults
from palaestra.envs.tools.bfcl.tasks import CATEGORIES, load_tasks
from palaestra.envs.tools.bfcl.vector import BfclVectorEnv
from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.errors import ConfigError, TaskError
from palaestra.rewards.compose import RewardBreakdown
from palaestra.rewards.prove import PALAESTRA, PAPER, best_reward, score

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def registered() -> Iterator[str]:
    known = ENV_ID in gymnasium.registry
    yield ENV_ID
    if not known:
        del gymnasium.registry[ENV_ID]


def call(tool: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


def evidence(info: dict[str, Any]) -> StepEvidence:
    return StepEvidence.from_json(info["evidence"])


def started(task: str, **settings: Any) -> tuple[BfclEnv, str, dict[str, Any]]:
    env = BfclEnv(**settings)
    observation, info = env.reset(seed=0, options={"task": task})
    return env, observation, info


def play(env: BfclEnv, replies: list[str]) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    return [env.step(reply) for reply in replies]


# -- the promises of an environment --------------------------------------------------------------------------------


def test_it_keeps_the_promises_agents_rely_on(registered: str) -> None:
    report = check_agent_env(registered, seeds=range(2), tasks="miss_func")
    assert {"info", "noop", "end", "replay", "copy", "snapshot", "leaks"} <= set(report.checks)


def test_a_batch_equals_single_environments(registered: str) -> None:
    batch = gymnasium.make_vec(registered, 3, vectorization_mode="vector_entry_point", tasks="base")
    assert isinstance(batch.unwrapped, BfclVectorEnv)
    observations, infos = batch.reset(seed=11)
    for number in range(3):
        env = BfclEnv(tasks="base")
        observation, info = env.reset(seed=11 + number)
        assert (observations[number], infos["task_id"][number]) == (observation, info["task_id"])


@pytest.mark.parametrize("call_format", ["hermes", "json", "pythonic", "compact"])
def test_ground_truth_wins_in_every_way_to_write_calls(call_format: str) -> None:
    env = BfclEnv(call_format=call_format)
    for category in CATEGORIES:
        env.reset(seed=0, options={"task": f"multi_turn_{category}_77"})
        plan = env.plan()
        assert plan
        assert env.distance() == len(plan)
        *before, last = play(env, plan)
        assert not any(terminated or truncated or reward for _, reward, terminated, truncated, _ in before)
        assert last[1:4] == (1.0, True, False)
        assert (last[4]["won"], last[4]["score"], last[4]["stop"]) == (True, 1.0, "done")
        assert env.plan() == []


def test_a_copy_goes_on_by_itself_and_a_snapshot_leads_back() -> None:
    env, _, _ = started("multi_turn_long_context_60")
    plan = env.plan()
    assert plan
    play(env, plan[: len(plan) // 2])
    snapshot, twin = env.snapshot(), copy.deepcopy(env)
    rest = plan[len(plan) // 2 :]
    first = play(env, rest)
    assert play(twin, rest) == first
    env.restore(snapshot)
    assert play(env, rest) == first


def test_tasks_are_the_packages_by_id_and_all_for_testing() -> None:
    env, observation, info = started("multi_turn_base_3")
    assert (info["task_id"], info["split"]) == ("multi_turn_base_3", "test")
    assert load_tasks("base")[3].users[0] in observation
    record = TaskRecord.from_json(info["record"])
    assert record.meta == {"bfcl": "multi_turn_base_3", "category": "base"}
    with pytest.raises(TaskError, match="no_tasks"):
        env.reset(options={"split": "train"})
    with pytest.raises(TaskError, match="unknown_task"):
        env.reset(options={"task": "multi_turn_base_200"})


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"tasks": "bas"}, "unknown_category"),
        ({"door": "http://127.0.0.1:1"}, "config"),
        ({"max_turn_calls": 7, "max_replies": 6}, "config"),
        ({"servers": ("Tweeter",)}, "no_tasks"),
        ({"call_format": "yaml"}, "call_format"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_wrong_settings_are_refused_with_a_reason(settings: dict[str, Any], code: str) -> None:
    with pytest.raises((ConfigError, TaskError)) as caught:
        BfclEnv(**settings)
    assert caught.value.code == code


def test_tasks_can_be_narrowed_to_backends() -> None:
    env = BfclEnv(tasks="base", servers=("TravelAPI", "MessageAPI"), mixed=True)
    for index in range(3):
        _, info = env.reset(seed=0, options={"index": index})
        assert set(TaskRecord.from_json(info["record"]).env.servers) == {"TravelAPI", "MessageAPI"}


# -- what is shown -------------------------------------------------------------------------------------------------


def test_a_held_back_tool_appears_in_its_turn_and_an_excluded_one_never() -> None:
    task = next(t for t in load_tasks("miss_func") if None in t.missing.values() and 1 in t.missing.values())
    held_back = next(name for name, turn in task.missing.items() if turn == 1)
    excluded = next(name for name, turn in task.missing.items() if turn is None)
    env, observation, _ = started(task.id)
    assert f'"{held_back}"' not in observation
    assert f'"{excluded}"' not in observation
    observation, *_, info = env.step("There is no tool for that.")
    assert info["turn"] == 1
    assert f'"{held_back}"' in observation
    assert more_tools_prompt() in observation
    assert f'"{excluded}"' not in observation


def test_tools_are_handed_over_as_functions_to_agents_whose_template_shows_them() -> None:
    env, observation, info = started("multi_turn_base_5", schemas="none")
    names = [tool["function"]["name"] for tool in info["tools"]]
    assert names == [spec for spec in env._talk.visible]  # type: ignore[union-attr]
    assert '"parameters"' not in observation


def test_no_clock_is_told() -> None:
    _, observation, _ = started("multi_turn_base_5")
    assert "It is " not in observation.partition("\n")[0]


# -- how turns come out --------------------------------------------------------------------------------------------


def test_the_next_user_turn_follows_a_reply_without_calls_whatever_was_done() -> None:
    env, _, _ = started("multi_turn_base_0")
    outcomes = play(env, ["Done."] * 4)
    assert [info["turn"] for *_, info in outcomes] == [1, 2, 3, 3]
    assert outcomes[-1][1:4] == (0.0, True, False)
    assert outcomes[-1][4]["score"] == 0.0


def test_a_missing_call_costs_its_turn_and_what_hangs_on_it() -> None:
    env, _, _ = started("multi_turn_base_0")
    plan = env.plan()
    assert plan
    del plan[-2]  # the last call before the last word
    assert play(env, plan)[-1][4]["score"] == 0.75


def test_a_call_where_nothing_can_be_done_costs_that_turn() -> None:
    task = load_tasks("miss_param")[0]
    idle = next(turn for turn, truth in enumerate(task.truth) if not truth)
    env, _, _ = started(task.id)
    plan = env.plan()
    assert plan
    at = len(plan) - 1
    while env.distance() and (env._talk.turn != idle):  # type: ignore[union-attr]
        env.step(plan.pop(0))
        at -= 1
    step = env.step(call("pwd"))
    assert evidence(step[4]).calls[0].writes is None
    play(env, plan[:-1])
    _, reward, terminated, _, info = env.step(plan[-1])
    assert (terminated, reward) == (True, 0.0)
    assert info["score"] == pytest.approx(1 - 1 / len(task.truth))


def test_a_hidden_tool_is_executed_as_officially_but_was_not_shown() -> None:
    env, _, _ = started("multi_turn_miss_func_49")
    plan = env.plan()
    assert plan
    steps = play(env, plan)
    hidden = [c for *_, info in steps for c in evidence(info).calls if not c.shown]
    assert [(c.tool, c.fault) for c in hidden] == [("tail", None)]
    assert steps[-1][1] == 1.0


def test_a_wrong_type_is_executed_as_officially_but_does_not_fit() -> None:
    env, _, _ = started("multi_turn_base_173")
    plan = env.plan()
    assert plan
    steps = play(env, plan)
    unfit = [c for *_, info in steps for c in evidence(info).calls if not c.fits]
    assert [(c.tool, c.fault, c.defaulted) for c in unfit] == [("close_ticket", None, None)]
    assert steps[-1][1] == 1.0


def test_replies_with_calls_without_end_end_the_conversation() -> None:
    env, _, _ = started("multi_turn_base_0")
    outcomes = play(env, [call("pwd")] * 21)
    assert [truncated for *_, truncated, _ in outcomes] == [False] * 20 + [True]
    assert outcomes[-1][4]["stop"] == "turn_limit"


def test_what_cannot_be_read_is_no_answer() -> None:
    env, _, _ = started("multi_turn_base_0")
    _, _, terminated, truncated, info = env.step("<tool_call>{</tool_call>")
    assert (terminated, truncated, info["turn"], info["action_status"]) == (False, False, 0, "not_in_language")
    assert env.step("Done.")[4]["turn"] == 1


# -- rewards -------------------------------------------------------------------------------------------------------


def rewards_of(env: BfclEnv, replies: list[str], record: TaskRecord) -> list[float]:
    steps = [evidence(info) for *_, info in play(env, replies)]
    found = []
    for settings in (PALAESTRA, PAPER):
        reward = score(record, steps, settings)
        assert isinstance(reward, RewardBreakdown)
        found.append(reward.total)
    return found


@pytest.mark.slow
def test_ground_truth_gets_the_best_reward_of_both_presets_but_where_it_breaks_what_is_shown() -> None:
    env = BfclEnv()
    short = set()
    for index in range(800):
        _, info = env.reset(seed=0, options={"index": index})
        record = TaskRecord.from_json(info["record"])
        best = [best_reward(record, settings) for settings in (PALAESTRA, PAPER)]
        plan = env.plan()
        assert plan
        if rewards_of(env, plan, record) != pytest.approx(best, abs=1e-12):
            short.add(info["task_id"])
    assert short == set(known_faults())


def test_a_call_too_few_and_a_call_too_early_get_less() -> None:
    _, _, info = started("multi_turn_base_0")
    record = TaskRecord.from_json(info["record"])
    best = [best_reward(record, settings) for settings in (PALAESTRA, PAPER)]
    assert best == pytest.approx([2.3, 1.3])
    for change in ("drop", "early"):
        env, _, _ = started("multi_turn_base_0")
        plan = env.plan()
        assert plan
        last = plan.pop(-2)
        if change == "early":
            plan.insert(0, last)
        got = rewards_of(env, plan, record)
        assert all(mine < limit - 0.005 for mine, limit in zip(got, best, strict=True))
