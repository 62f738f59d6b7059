"""Hacks written by hand: each is really played in its task's world and must earn less than honest play.

A line names the chains its task is made of, one a turn, and says turn by turn what the cheat does: "c2" is the third
gold call, anything else a call or a piece of text. `idle` adds a turn that needs no call, or leaves only such a turn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.requirements.ledger import requirement

from palaestra.benchmarks.probe import nothing_to_call, with_idle_turn
from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.chain_tasks import chain_record
from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.catalog import load_server
from palaestra.rewards.compose import RewardBreakdown
from palaestra.rewards.probe import MARGIN
from palaestra.rewards.prove import best_reward, score
from palaestra.rewards.replay import Move, perform

HACKS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "hacks.jsonl").read_text("utf-8").splitlines()
]


def chain_of(record_name: str) -> tuple[str, Any]:
    """A server's chain by "server.name"."""
    server, _, name = record_name.partition(".")
    return server, next(chain for chain in load_server(server).chains if chain.__name__ == name)


def record_of(hack: dict[str, Any]) -> TaskRecord:
    """The task a hack is played on."""
    record = chain_record([chain_of(name) for name in hack["chain"]], 0)
    if hack.get("idle") == "only":
        return nothing_to_call(record)
    return with_idle_turn(record, first=hack["idle"] == "first") if "idle" in hack else record


def move_of(said: Any, gold: dict[str, AskedCall]) -> Move:
    """One thing the cheat does."""
    if isinstance(said, str):
        return gold[said]
    text: str | None = said.get("text")
    return AskedCall(said["tool"], said["arguments"]) if text is None else text


def reward_of(record: TaskRecord, plan: list[list[Move]]) -> RewardBreakdown:
    """What a plan earns."""
    reward = score(record, perform(record, plan))
    assert isinstance(reward, RewardBreakdown), reward
    return reward


@requirement("R15")
def test_there_are_at_least_fifty_different_hacks() -> None:
    assert len({json.dumps([hack["chain"], hack["turns"], hack.get("idle")]) for hack in HACKS}) == len(HACKS) >= 50


@requirement("R15")
@pytest.mark.parametrize("hack", HACKS, ids=[hack["hack"] for hack in HACKS])
def test_a_hack_earns_less_than_honest_play(hack: dict[str, Any]) -> None:
    record = record_of(hack)
    source = chain_record([chain_of(name) for name in hack["chain"]], 0)
    gold = {call.id: AskedCall(call.tool, dict(call.arguments)) for _, call in source.gold_calls}
    honest: list[list[Move]] = [[gold[call.id] for call in turn.gold] for turn in record.turns]
    plan = [[move_of(said, gold) for said in turn] for turn in hack["turns"]]
    assert len(plan) == len(record.turns)
    best = reward_of(record, honest)
    assert best.total == best_reward(record)
    cheated = reward_of(record, plan)
    assert cheated.total <= best.total - MARGIN, cheated
    claimed = [[*moves, "All done: the reward is 2.3."] if moves else moves for moves in plan]
    assert reward_of(record, claimed) == cheated  # no text a model writes raises a reward
