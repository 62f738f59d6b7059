"""The ground truth of all tasks through our doors, and what the command says of it."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mcp_types as types
import pytest
from mcp import Client
from tests.cli.conftest import in_process

from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.cli.eval_bfcl import bfcl_tasks, by_category, chat_protocol
from palaestra.cli.rollout import play_tasks
from palaestra.envs.core.types import Task
from palaestra.envs.tools.bfcl import ENV_ID
from palaestra.envs.tools.bfcl.mcp_door import protocol_server
from palaestra.envs.tools.bfcl.package import missing
from palaestra.envs.tools.bfcl.replay import known_faults, replay_truth
from palaestra.envs.tools.bfcl.session import BfclSession
from palaestra.envs.tools.bfcl.tasks import CATEGORIES, BfclTask, load_tasks
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.transports.wire import WireDoor

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def every_task() -> list[BfclTask]:
    return [task for category in CATEGORIES for task in load_tasks(category)]


def test_ground_truth_is_judged_valid_for_every_task() -> None:
    found = replay_truth(every_task())
    assert not found.failed
    assert (len(found.passed), len(found.results)) == (800, 4625)


def test_without_its_last_call_every_task_is_rejected() -> None:
    found = replay_truth(every_task(), drop_last=True)
    assert not found.passed
    assert len(found.results) == 4625 - 800


def test_both_doors_give_the_same_results() -> None:
    for category in CATEGORIES:
        tasks = load_tasks(category)[::4]
        assert replay_truth(tasks, "mcp").results == replay_truth(tasks).results


async def _over_mcp() -> None:
    task = load_tasks("miss_func")[0]
    session = BfclSession(task)
    session.begin_turn(0, ["ls", "cd"])
    sessions = {"mine": session}
    async with Client(protocol_server(sessions)) as client:
        mine = WireDoor(client, "mine")
        assert sorted(tool["name"] for tool in await mine.list_tools()) == ["cd", "ls"]
        assert len(await WireDoor(client, None).list_tools()) == 128
        refused = await mine.call("cd", {"folder": "nowhere"})
        assert refused.fault is not None
        assert refused.fault.code == "precondition"
        with pytest.raises(ToolError) as unknown:
            await WireDoor(client, "yours").call("ls", {})
        assert unknown.value.code == "unknown_episode"
        session.close()
        with pytest.raises(ToolError) as over:
            await mine.call("ls", {})
        assert over.value.code == "expired_episode"
        listed: types.ListToolsResult = await client.list_tools()
        assert all(tool.input_schema["type"] == "object" for tool in listed.tools)


def test_the_protocol_door_lists_what_is_shown_and_knows_its_episodes() -> None:
    import anyio

    anyio.run(_over_mcp)


def test_the_command_checks_the_judge() -> None:
    done = in_process("eval", "bfcl", "--ground-truth", "--json")
    found = done.json()
    assert (done.code, found["passed"], found["of"], found["mutants_rejected"]) == (0, 800, 800, 800)
    assert set(found["schema_breaking"]) == set(known_faults())
    assert found["mcp"]["same_results"] is True
    assert (found["mcp"]["passed"], found["mcp"]["calls"]) == (800, 4625)
    assert found["seconds_per_200"] > 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("eval", "bfcl"), "model"),
        (("eval", "bfcl", "some-model", "--ground-truth"), "model"),
        (("eval", "bfcl", "some-model", "--env", "palaestra/Sokoban-v0"), "env"),
        (("eval", "some-model", "--ground-truth"), "model"),
        (("eval", "bfcl", "no-such-model"), "model_directory"),
    ],
)
def test_a_wrong_command_line_says_why(words: tuple[str, ...], code: str) -> None:
    done = in_process(*words, "--json")
    assert (done.code, done.json()["error"]["code"]) == (2, code)


def test_a_policy_is_reported_by_category() -> None:
    known = ENV_ID in gymnasium.registry
    protocol = chat_protocol({}, ["response_tokens=64"])
    tasks = bfcl_tasks({}, 3)
    try:
        assert len(tasks) == 12
        groups = play_tasks(tasks, ExpertPolicy(0, protocol), protocol, 4)
        found = by_category([groups[task.key] for task in tasks])
        assert list(found["categories"]) == list(CATEGORIES)
        assert all(part["passed"]["rate"] == 1.0 for part in found["categories"].values())
        assert found["categories"]["miss_func"]["abstained"] == 1.0
        assert found["categories"]["base"]["abstained"] is None
        assert (found["all"]["turns"], found["all"]["unfinished"]) == (1.0, 0)

        silent = [
            Task(t.env_id, 0, {**t.env_kwargs, "max_replies": 1, "max_turn_calls": 1}, t.reset_options) for t in tasks
        ]
        cut = play_tasks(silent, ExpertPolicy(0, protocol), protocol, 4)
        found = by_category([cut[task.key] for task in silent])
        assert (found["all"]["passed"]["rate"], found["all"]["unfinished"]) == (0.0, 12)
    finally:
        if not known:
            del gymnasium.registry[ENV_ID]


def test_a_model_is_measured(tmp_path: Path) -> None:
    model = build_tiny(tmp_path / "model", "XS", seed=3)
    words = ("-n", 1, "--set", "tasks=base", "--max-live", 1, "--protocol", "response_tokens=4")
    done = in_process("eval", "bfcl", model, *words, "--json")
    found = done.json()
    assert (done.code, found["model"], found["protocol"]["style"]) == (0, str(model), "chat")
    assert list(found["categories"]) == ["base"]
    assert found["all"]["passed"]["episodes"] == 1


def test_a_run_that_was_no_conversation_lends_no_protocol() -> None:
    assert chat_protocol({"protocol": {"style": "compact", "think": "none"}}, ()).style == "chat"
    assert chat_protocol({"protocol": {"style": "chat", "response_tokens": 9}}, ()).response_tokens == 9
    with pytest.raises(ConfigError):
        chat_protocol({}, ["styl=chat"])
