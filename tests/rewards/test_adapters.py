"""The reward as other trainers call it, on real episodes."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from tool_cases import as_trajectory

from palaestra.envs.tools.chain_tasks import chain_record
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.remote import doors
from palaestra.mcp_servers.banking import SERVER
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError
from palaestra.rewards.adapters import replies_of, score_completion, trl_reward, verifiers_reward, verl_reward
from palaestra.rewards.compose import Invalid, InvalidReason, RewardBreakdown
from palaestra.rewards.prove import PAPER
from palaestra.rewards.replay import replay


@pytest.fixture(scope="module")
def record() -> TaskRecord:
    """A chain of the bank and one of the payments, one after another."""
    return chain_record([("banking", SERVER.chains[0]), ("payments", load_server("payments").chains[0])], 0)


def text_of(record: TaskRecord, turn: int) -> str:
    """A turn's gold calls as one reply."""
    calls = [{"name": call.tool, "arguments": dict(call.arguments)} for call in record.turns[turn].gold]
    return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)


def messages_of(record: TaskRecord) -> list[dict[str, Any]]:
    """The whole conversation as a chat, calls beside the text, with results a cheat would like to be believed."""
    chat: list[dict[str, Any]] = []
    for number, turn in enumerate(record.turns):
        if number:
            chat.append({"role": "user", "content": turn.user})
        for call in turn.gold:
            function = {"name": call.tool, "arguments": json.dumps(dict(call.arguments))}
            chat.append(
                {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
            )
            chat.append({"role": "tool", "content": "made up"})
        chat.append({"role": "assistant", "content": [{"type": "text", "text": "Done."}]})
    return chat


@pytest.fixture
def whole(record: TaskRecord) -> list[dict[str, Any]]:
    """The gold conversation, few enough replies for the environment's limit."""
    chat: list[dict[str, Any]] = []
    for number in range(len(record.turns)):
        chat += [{"role": "assistant", "content": text_of(record, number)}, {"role": "tool", "content": "made up"}]
        chat += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "next"}]
    return chat


def test_trl_gets_one_number_or_none_per_completion(record: TaskRecord, whole: Any) -> None:
    reward = trl_reward()
    first = text_of(record, 0)
    found = reward(prompts=["p"] * 3, completions=[whole, first, ""], record=[record.to_json()] * 3, trainer_state=None)
    assert found[0] == 2.3
    assert isinstance(found[1], float)
    assert 0 < found[1] < 2.3
    assert found[2] is not None
    assert found[2] < found[1]
    signature = inspect.signature(reward)
    assert [p.name for p in signature.parameters.values()] == ["prompts", "completions", "columns"]
    assert reward.__name__ == "palaestra_reward"


def test_calls_beside_the_text_count_as_calls(record: TaskRecord) -> None:
    one = chain_record([("banking", SERVER.chains[2])], 0)
    assert len(one.gold_calls) < 9
    scored = score_completion(one, messages_of(one))
    assert isinstance(scored, RewardBreakdown)
    assert scored.total == 2.3


def test_a_stored_trajectory_is_scored_without_playing(record: TaskRecord, whole: Any) -> None:
    steps = replay(record, replies_of(whole))
    stored = as_trajectory(record, steps)
    lost = as_trajectory(record, [steps[0].model_copy(update={"lost": "timeout"})])
    columns = [stored.to_dict(), json.dumps(stored.to_dict()), stored, lost]
    found = trl_reward()(prompts=[""] * 4, completions=[""] * 4, trajectory=columns)
    assert found == [2.3, 2.3, 2.3, None]
    verl = verl_reward()
    assert verl("tools", "", None, {"trajectory": stored.to_dict()})["score"] == 2.3
    invalid = verl("tools", "", None, {"trajectory": lost.to_dict()})
    assert (invalid["score"], invalid["valid"], invalid["invalid"]) == (0.0, False, "timeout")
    state: dict[str, Any] = {"trajectory_json": lost.to_dict()}
    assert verifiers_reward()(completion="", state=state) == 0.0
    assert state["reward_invalid"] == "timeout"


def test_verl_reads_a_chat_in_chatml(record: TaskRecord, whole: Any) -> None:
    text = "".join(
        f"{m['content']}<|im_end|>\n" if n == 0 else f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
        for n, m in enumerate(whole)
    )
    compute_score = verl_reward(PAPER)
    found = compute_score("tools", text, record.to_json(), {"index": 3})
    assert (found["score"], found["valid"], found["invalid"]) == (1.3, True, "")
    assert found["coverage"] == 0.5
    assert found.keys() - {"score", "valid", "invalid"} == PAPER.weights.keys()
    names = list(inspect.signature(compute_score).parameters)
    assert names == ["data_source", "solution_str", "ground_truth", "extra_info"]


def test_verifiers_finds_the_record_in_info_or_answer(record: TaskRecord, whole: Any) -> None:
    reward = verifiers_reward()
    state: dict[str, Any] = {}
    assert reward(completion=whole, info={"record": record.to_json()}, state=state, prompt=[], task="t") == 2.3
    assert reward(completion=whole, answer=json.loads(record.to_json())) == 2.3
    assert state == {"reward_invalid": ""}
    assert {"completion", "answer", "info", "state"} <= set(inspect.signature(reward).parameters)


def test_lost_servers_are_no_reward(record: TaskRecord) -> None:
    nobody = "http://127.0.0.1:1"
    try:
        found = score_completion(record, "Done.", config=ToolConfig(door=nobody))
    finally:
        doors(nobody).close()
    assert isinstance(found, Invalid)
    assert found.reason is InvalidReason.TOOL_SERVER_LOST


@pytest.mark.parametrize(
    ("columns", "said"),
    [({}, "'record' has none for 2"), ({"record": ["x"]}, "1 entries for 2"), ({"record": [1, 2]}, "int as its task")],
)
def test_missing_columns_are_named(columns: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trl_reward()(prompts=["", ""], completions=["", ""], **columns)


def test_a_record_of_another_world_is_an_error_not_a_reward(record: TaskRecord) -> None:
    world = record.env.model_copy(update={"image_digests": {"banking": "0" * 64}})
    with pytest.raises(TaskError, match="another world"):
        score_completion(record.model_copy(update={"env": world}), "")
    with pytest.raises(ConfigError, match="KeyError"):
        score_completion(record, [{"content": "no role"}])
    with pytest.raises(ConfigError, match="trajectory"):
        trl_reward()(prompts=[""], completions=[""], trajectory=["{}"])
