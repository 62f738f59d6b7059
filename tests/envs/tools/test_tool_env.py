"""The tool environment over live servers: what it shows, what it proves, when it ends, and that it can be left."""

from __future__ import annotations

import copy
import gc
import gzip
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded

import palaestra  # noqa: F401 - registers the environments
from palaestra.envs.core import checks
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.text.wrapper import TextAgentWrapper
from palaestra.envs.registration import ENVIRONMENTS, TOOL_SERVERS, tools_id
from palaestra.envs.tools.chain_tasks import chain_record
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.dataset import SPLITS, open_tasks
from palaestra.envs.tools.env import ToolEnv
from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.records import GoldTurn, Shown, TaskRecord, write_records
from palaestra.envs.tools.vector import ToolVectorEnv
from palaestra.envs.tools.worlds import _store
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError

BANK = load_server("banking")
CHAINS = {chain.__name__: ("banking", chain) for chain in BANK.chains}
RENT = chain_record([CHAINS["pay_the_rent_twice"]], seed=0)
CARDS = '<tool_call>{"name": "list_bank_cards", "arguments": {}}</tool_call>'


def env_of(tmp_path: Path, *records: TaskRecord, **settings: Any) -> ToolEnv:
    path = tmp_path / "tasks.jsonl"
    write_records(path, records)
    return ToolEnv(tasks=str(path), split="all", **settings)


def make_env(**settings: Any) -> ToolEnv:
    return ToolEnv(**settings)


def evidence(info: dict[str, Any]) -> StepEvidence:
    return StepEvidence.from_json(info["evidence"])


def with_shown(record: TaskRecord, **changed: Any) -> TaskRecord:
    shown = Shown(**{**record.shown.model_dump(), **changed})
    return record.model_copy(update={"shown": shown})


def one_turn(kind: Any, user: str = "Sing a song.") -> TaskRecord:
    return RENT.model_copy(update={"kind": kind, "turns": (GoldTurn(user=user, kind=kind),)})


def call(tool: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


# -- playing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_format", ["hermes", "json", "pythonic", "compact"])
def test_the_plan_of_every_chain_wins_in_every_format(call_format: str) -> None:
    for server in ("banking", "filesystem", "vehicle", "calendar"):
        env = ToolEnv(tasks="chains", servers=(server,), call_format=call_format, split="valid")
        for index in range(len(load_server(server).chains)):
            env.reset(seed=0, options={"index": index})
            plan = env.plan()
            assert plan
            rewards = []
            for left, reply in zip(range(len(plan), 0, -1), plan, strict=True):
                assert env.distance() == left
                _, reward, terminated, truncated, info = env.step(reply)
                assert info["action_status"] == "ok", info["messages"]
                rewards.append(reward)
            assert (terminated, truncated, info["stop"], info["won"], info["score"]) == (True, False, "done", True, 1.0)
            assert rewards == [0.0] * (len(plan) - 1) + [1.0]
            assert env.distance() == 0
        env.close()


@pytest.mark.parametrize("call_format", ["hermes", "compact"])
def test_the_plan_wins_with_short_ids_and_is_written_with_them(call_format: str) -> None:
    whole: dict[str, Any] = {
        "tasks": "chains",
        "servers": ("banking", "email"),
        "call_format": call_format,
        "split": "valid",
    }
    env, plain = ToolEnv(ids="short", **whole), ToolEnv(**whole)
    for index in range(6):
        env.reset(seed=0, options={"index": index})
        plain.reset(seed=0, options={"index": index})
        while reply := (env.plan() or [""])[0]:
            assert re.search(r"[a-z]_\d{5}", reply) is None
            assert env.possible(reply)
            observation, *_, info = env.step(reply)
            assert re.search(r"[a-z]_\d{5}", observation) is None
            *_, other = plain.step((plain.plan() or [""])[0])
            assert evidence(info).calls == evidence(other).calls
        assert info["won"]
        assert other["won"]


def test_short_ids_are_given_as_they_are_shown_and_cannot_be_guessed(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT, ids="short")
    env.reset(seed=0)
    freeze = call("freeze_card", card_id="crd_1", reason="a guess")
    assert evidence(env.step(freeze)[4]).calls[0].fault == "not_found"
    env.step(CARDS)
    saved = env.snapshot()
    assert evidence(env.step(freeze)[4]).calls[0].changed
    env.restore(saved)
    assert evidence(env.step(freeze)[4]).calls[0].changed


def test_two_servers_in_one_conversation() -> None:
    env = ToolEnv(tasks="chains", mixed=True, servers=("banking", "vehicle"))
    _, info = env.reset(seed=1)
    record = TaskRecord.from_json(info["record"])
    assert record.env.servers == ("banking", "vehicle")
    assert len(record.turns) == 2
    for reply in env.plan() or []:
        _, reward, terminated, _, info = env.step(reply)
    assert (terminated, reward, info["turn"]) == (True, 1.0, 1)


def test_a_detour_that_changes_nothing_leaves_the_plan_and_one_that_does_ends_it(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT)
    env.reset(seed=0)
    whole = env.distance()
    env.step(CARDS + call("freeze_card", card_id="crd_1", reason="no such card"))
    assert env.distance() == whole
    env.step((env.plan() or [])[0])
    assert env.distance() == whole - 1
    env.step(call("create_payee", name="Nobody", iban="DE02120300000000202051"))
    assert (env.plan(), env.distance()) == (None, math.inf)
    *_, info = env.step("Done.")
    assert (info["stop"], info["won"], 0 <= info["score"] < 1) == ("done", False, True)


def test_calls_of_one_reply_run_in_order_and_each_is_proved(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT)
    env.reset(seed=0)
    observation, _, _, _, info = env.step(f"Let me see. {CARDS}{call('no_such_tool')}<tool_call>oops</tool_call>")
    assert [message["role"] for message in info["messages"]] == ["tool"] * 3
    assert observation == "\n".join(message["content"] for message in info["messages"])
    assert info["action_status"] == "not_in_language"
    cards, unknown, broken = evidence(info).calls
    assert (cards.tool, cards.shown, cards.fits, cards.fault, cards.writes) == (
        "list_bank_cards",
        True,
        True,
        None,
        False,
    )
    assert cards.rows
    assert cards.defaulted == {"limit": 20}
    assert (unknown.shown, unknown.fits, unknown.fault, unknown.arguments) == (False, False, "unknown_tool", {})
    assert (broken.tool, broken.arguments, broken.fault) == ("", None, "unparsable")
    assert json.loads(info["messages"][2]["content"])["code"] == "unparsable"
    *_, info = env.step(call("transfer_money", account_id="acc_1", payee_id="pay_1", amount=5.0))
    (wrong,) = evidence(info).calls
    assert (wrong.shown, wrong.fits, wrong.fits_loose, wrong.fault) == (True, False, False, "invalid_arguments")
    *_, info = env.step(call("list_bank_cards", colour="red"))
    assert [(made.fits, made.fits_loose) for made in evidence(info).calls] == [(False, True)]
    assert info["calls"] == 5
    plan = env.plan() or []
    env.step(plan[0])
    *_, info = env.step(plan[1])
    (paid,) = evidence(info).calls
    assert (paid.changed, paid.writes, paid.fault) == (True, True, None)
    assert not evidence(info).changes
    *_, info = env.step("There.")
    assert evidence(info).turn_over
    assert {cell[0] for cell in evidence(info).changes["banking"]} == {"account", "transfer"}


def test_an_empty_reply_counts_and_nothing_else(tmp_path: Path) -> None:
    env = env_of(tmp_path, one_turn("abstain"))
    env.reset(seed=0)
    for reply in ("", " \n", "<noop>", "\0"):
        _, reward, terminated, _, info = env.step(reply)
        assert (reward, terminated, info["action_status"], info["score"]) == (0.0, False, "empty_action", 0.0)
    assert info["step"] == 4
    assert info["messages"][0]["role"] == "user"


# -- kinds of tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reply", "reward"), [("I cannot sing.", 1.0), (CARDS, 0.0), ("<tool_call>la la", 0.0)])
def test_where_no_tool_fits_any_call_is_wrong(tmp_path: Path, reply: str, reward: float) -> None:
    env = env_of(tmp_path, one_turn("abstain"))
    env.reset(seed=0)
    _, got, terminated, _, info = env.step(reply)
    if not terminated:
        _, got, terminated, _, info = env.step("I cannot sing.")
    assert (terminated, got, info["won"], info["score"]) == (True, reward, reward == 1.0, reward)


def test_asking_back_is_right_and_guessing_wrong(tmp_path: Path) -> None:
    asking = GoldTurn(user="Pay the rent.", kind="clarify")
    record = RENT.model_copy(update={"turns": (asking, *RENT.turns)})
    env = env_of(tmp_path, record)
    _, info = env.reset(seed=0)
    assert info["messages"][-1]["content"] == "Pay the rent."
    plan = env.plan() or []
    _, _, _, _, info = env.step(plan[0])
    assert (info["turn"], info["score"]) == (1, 0.5)
    assert info["messages"] == [{"role": "user", "content": RENT.turns[0].user}]
    for reply in plan[1:]:
        *_, info = env.step(reply)
    assert info["won"]
    env.reset(seed=0)
    for reply in [*plan[1:-1], "Paid.", plan[-1]]:
        *_, info = env.step(reply)
    assert (info["won"], info["score"]) == (False, pytest.approx(0.5))


def test_a_tool_that_appears_later_is_named_then_and_refused_before(tmp_path: Path) -> None:
    first = GoldTurn(user="Pay the rent.", kind="clarify")
    shown = {"missing": {"transfer_money": 1, "pay_bill": None}}
    record = with_shown(RENT.model_copy(update={"turns": (first, *RENT.turns)}), **shown)
    for schemas in ("json", "signature", "none"):
        env = env_of(tmp_path, record, schemas=schemas)
        observation, info = env.reset(seed=0)
        assert "transfer_money" not in observation
        if schemas == "none":
            assert "transfer_money" not in {tool["function"]["name"] for tool in info["tools"]}
        _, _, _, _, info = env.step(call("transfer_money", account_id="a", payee_id="b", amount=1))
        (early,) = evidence(info).calls
        assert (early.shown, early.fault, early.writes) == (False, "unknown_tool", None)
        observation, _, _, _, info = env.step("I cannot yet.")
        assert "transfer_money" in observation
        assert RENT.turns[0].user in observation
        assert "pay_bill" not in observation
        if schemas == "none":
            assert "transfer_money" in {tool["function"]["name"] for tool in info["tools"]}
        for reply in env.plan() or []:
            *_, info = env.step(reply)
        assert info["won"]


def test_words_that_are_not_shown_are_judged_by_the_server_alone(tmp_path: Path) -> None:
    record = with_shown(RENT, stripped_enums=("dispute_transfer.reason",))
    env = env_of(tmp_path, record, schemas="signature")
    observation, _ = env.reset(seed=0)
    assert "dispute_transfer(transfer_id, reason)" in observation
    *_, info = env.step(call("dispute_transfer", transfer_id="tra_1", reason="bored"))
    (made,) = evidence(info).calls
    assert (made.fits, made.fault) == (True, "invalid_arguments")


def test_distractors_can_be_called_and_their_damage_counts(tmp_path: Path) -> None:
    world = RENT.env.model_copy(update={"servers": ("banking", "vehicle"), "catalog_digest": ""})
    tools = (*RENT.shown.tools, "open_trunk")
    record = with_shown(RENT.model_copy(update={"env": world}), tools=tools, distractors=("open_trunk",))
    env = env_of(tmp_path, record)
    env.reset(seed=0)
    plan = env.plan() or []
    *_, info = env.step(call("open_trunk"))
    assert evidence(info).calls[0].shown
    changed = evidence(info).calls[0].changed
    for reply in plan:
        *_, info = env.step(reply)
    assert (changed, info["won"]) == (True, False)
    assert 0 < info["score"] < 1


# -- limits --------------------------------------------------------------------------------------------------------


def test_limits_end_a_conversation_without_a_reward(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT, max_replies=2)
    env.reset(seed=0)
    env.step(CARDS)
    _, reward, terminated, truncated, info = env.step(CARDS)
    assert (reward, terminated, truncated, info["stop"]) == (0.0, False, True, "turn_limit")
    with pytest.raises(ResetNeeded):
        env.step(CARDS)
    env = env_of(tmp_path, RENT, max_calls=3)
    env.reset(seed=0)
    assert env.distance() < math.inf
    _, _, terminated, truncated, info = env.step(CARDS * 5)
    assert (terminated, truncated, info["stop"], info["calls"]) == (False, True, "call_limit", 3)
    assert len(evidence(info).calls) == len(info["messages"]) == 3
    talk = RENT.model_copy(update={"turns": (GoldTurn(user="Hello.", kind="clarify"), *RENT.turns)})
    env = env_of(tmp_path, talk, max_turns=1)
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step("Hello!")
    assert (terminated, truncated, info["stop"]) == (False, True, "turn_limit")


def test_a_long_result_is_cut_visibly_and_only_what_is_shown_is_proved(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT, result_chars=600)
    env.reset(seed=0)
    *_, info = env.step(call("list_transfers", limit=100))
    content = info["messages"][0]["content"]
    assert len(content) <= 600
    cut = json.loads(content)
    assert "items; ask for fewer at a time" in cut["not_shown"]
    (made,) = evidence(info).calls
    assert 0 < len(made.rows) == len(cut["items"]) < 10
    short = env_of(tmp_path, RENT, result_chars=200)
    short.reset(seed=0)
    *_, info = short.step(call("list_transfers", limit=100))
    assert len(info["messages"][0]["content"]) <= 200
    assert "characters)" in info["messages"][0]["content"]
    assert evidence(info).calls[0].rows == ()


def test_lost_tool_servers_are_no_zero(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT)
    env.reset(seed=0)
    env.step(CARDS)
    session: Any = env._session
    session.close()
    _, _, terminated, truncated, info = env.step(CARDS)
    assert (terminated, truncated, info["stop"], info["lost"]) == (False, True, "tool_server_lost", "expired_episode")
    assert evidence(info).lost == "expired_episode"
    env.reset(seed=0)
    for reply in env.plan() or []:
        *_, info = env.step(reply)
    assert info["won"]


def test_an_environment_nobody_closed_leaves_no_episode(tmp_path: Path) -> None:
    gc.collect()
    before = _store().stats()["open"]
    env = env_of(tmp_path, RENT)
    env.reset(seed=0)
    env.reset()
    twin = copy.deepcopy(env)
    assert _store().stats()["open"] == before + 2
    twin.close()
    twin.close()
    del env
    gc.collect()
    assert _store().stats()["open"] == before


# -- where tasks come from -----------------------------------------------------------------------------------------


def test_a_record_of_another_world_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    def refused(record: TaskRecord) -> str:
        with pytest.raises(TaskError) as error:
            env_of(tmp_path, record).reset(seed=0)
        return str(error.value)

    def in_world(**changed: Any) -> TaskRecord:
        return RENT.model_copy(update={"env": RENT.env.model_copy(update=changed)})

    assert "another world of 'banking'" in refused(in_world(seed=1))
    assert "[other_world]" in refused(in_world(seed=1))
    assert "for seed 0, profile 'small'" in refused(in_world(profile="small"))
    assert "other tools of banking" in refused(in_world(catalog_digest="0" * 32))
    assert "did you mean 'freeze_card'" in refused(with_shown(RENT, tools=("freeze_crad",)))
    with pytest.raises(ConfigError, match="bankin"):
        env_of(tmp_path, in_world(servers=("bankin",), catalog_digest="")).reset(seed=0)


def test_chains_are_asked_for_in_as_many_worlds_as_wanted() -> None:
    chosen = ("banking.pay_the_rent_twice", "vehicle.warm_the_cabin")
    tasks = open_tasks(ToolConfig(tasks="chains", chains=chosen, worlds=6))
    assert [tasks.count(split) for split in SPLITS] == [8, 2, 2, 12]
    for split in SPLITS[:-1]:
        made = [tasks.at(split, index).record for index in range(tasks.count(split))]
        assert {record.split for record in made} == {split}
        assert {record.meta["chain"][0] for record in made} == set(chosen)
    worlds = {tasks.at("all", index).record.env.seed for index in range(12)}
    assert worlds == set(range(6))


def test_a_chain_says_which_row_of_a_list_it_means() -> None:
    env = ToolEnv(tasks="chains", chains=("vehicle.warm_the_cabin",))
    first, _ = env.reset(seed=0)
    listed, opened, *_ = env.plan() or []
    result, *_ = env.step(listed)
    (row,) = [row for row in json.loads(result.split("\n")[0])["items"] if row["driver_profile_id"] in opened]
    assert f"driver profile: {row['name']}" in first


def test_tasks_come_from_files_by_split_index_and_id(tmp_path: Path) -> None:
    records = [chain_record([chain], seed) for chain in CHAINS.values() for seed in (0, 2)]
    plain, packed = tmp_path / "t.jsonl", tmp_path / "t.jsonl.gz"
    write_records(plain, records)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        env = ToolEnv(tasks=str(path))
        drawn = [env.reset(seed=7 if n == 0 else None)[1]["task_id"] for n in range(20)]
        assert drawn == [env.reset(seed=7 if n == 0 else None)[1]["task_id"] for n in range(20)]
        assert set(drawn) == {record.id for record in records if record.split == "train"}
        _, info = env.reset(options={"split": "valid", "index": 1})
        assert (info["task_id"], info["split"]) == (records[3].id, "valid")
        assert env.reset(options={"task": records[5].id})[1]["task_id"] == records[5].id
    for options, code in (
        ({"splt": "valid"}, "unknown_option"), ({"split": "vald"}, "unknown_split"), ({"index": 99}, "bad_index"),
        ({"index": True}, "bad_index"), ({"task": "x"}, "unknown_task"), ({"split": "test"}, "no_tasks"),
    ):  # fmt: skip
        with pytest.raises(TaskError) as error:
            env.reset(options=options)
        assert error.value.code == code
    packed.write_bytes(packed.read_bytes()[:100])
    for path, code in ((packed, "no_records"), (tmp_path / "none.jsonl", "no_records")):
        with pytest.raises(TaskError) as error:
            ToolEnv(tasks=str(path), mixed=True)
        assert error.value.code == code
    with pytest.raises(TaskError, match="no mixed task about banking"):
        ToolEnv(tasks=str(plain), mixed=True, servers=("banking",))


def test_settings_are_checked() -> None:
    for settings, code in (
        ({"call_format": "hermse"}, "call_format"), ({"servers": ("bank",)}, "unknown_server"),
        ({"chains": ("banking.pay_the_rent",)}, "unknown_chain"),
        ({"schemas": "xml"}, "config"), ({"max_calls": 0}, "config"), ({"max_calls": 600}, "config"),
        ({"render_mode": "rgb"}, "render_mode"), ({"task": "x"}, "config"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as error:
            make_env(**{"tasks": "chains", **settings})
        assert error.value.code == code


def test_there_is_an_environment_for_every_server() -> None:
    assert tuple(CATALOG) == TOOL_SERVERS
    assert {tools_id(name) for name in CATALOG} | {"palaestra/Tools-v0", "palaestra/ToolsMixed-v0"} <= set(ENVIRONMENTS)


def test_a_prompting_wrapper_can_stand_around_it() -> None:
    inner = gymnasium.make("palaestra/Tools-Banking-v0", tasks="chains", disable_env_checker=True)
    env = TextAgentWrapper(inner, TextProtocol(style="chat"))
    observation, info = env.reset(seed=3)
    assert info["task"] in observation
    for reply in inner.unwrapped.plan():  # type: ignore[attr-defined]
        observation, reward, terminated, _, info = env.step(reply)
    assert (terminated, reward, info["action"]) == (True, 1.0, "Done.")


# -- the contract --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_format", ["hermes", "compact"])
def test_it_keeps_an_environments_promises(call_format: str) -> None:
    for server in ("Banking", "Filesystem"):
        report = checks.check_agent_env(
            f"palaestra/Tools-{server}-v0", seeds=(0, 1), tasks="chains", call_format=call_format, oracle_info=True
        )
        assert {"gymnasium", "info", "noop", "end", "replay", "copy", "snapshot", "leaks"} == set(report.checks)


def test_a_snapshot_goes_on_in_another_process(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT)
    env.reset(seed=0)
    plan = env.plan() or []
    env.step(plan[0])
    env.step(plan[1])
    saved = tmp_path / "saved.json"
    saved.write_bytes(env.snapshot())
    script = (
        "import json, sys, pathlib; from palaestra.envs.tools.env import ToolEnv; env = ToolEnv(tasks=sys.argv[1], "
        "split='all'); env.restore(pathlib.Path(sys.argv[2]).read_bytes()); "
        "print(json.dumps([env.step(reply) for reply in env.plan()]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "tasks.jsonl"), str(saved)], check=True, capture_output=True
    )  # fmt: skip
    here = [env.step(reply) for reply in plan[2:]]
    assert json.loads(told.stdout) == json.loads(json.dumps(here))
    assert here[-1][1] == 1.0


def test_a_snapshot_is_checked(tmp_path: Path) -> None:
    env = env_of(tmp_path, RENT)
    with pytest.raises(ResetNeeded):
        env.snapshot()
    env.reset(seed=0)
    env.step(CARDS)
    saved = env.snapshot()
    state = json.loads(saved)
    wrong = [b"", b"{}", saved[:-5], json.dumps({**state, "replies": [CARDS, CARDS, "Bye."]}).encode(),
             json.dumps({**state, "record": state["record"].replace("rent", "rant")}).encode()]  # fmt: skip
    for data in wrong:
        with pytest.raises(TaskError) as error:
            env.restore(data)
        assert error.value.code == "bad_snapshot"
    with pytest.raises(TaskError, match="result_chars=8000"):
        env_of(tmp_path, RENT, result_chars=900).restore(saved)
    env.restore(saved)
    assert env.snapshot() == saved


def test_a_batch_equals_single_environments() -> None:
    settings: dict[str, Any] = {"tasks": "chains", "servers": ("banking",)}
    made = gymnasium.make_vec("palaestra/Tools-Banking-v0", num_envs=3, tasks="chains")
    assert isinstance(made, ToolVectorEnv)
    made.close()
    batch = ToolVectorEnv(3, **settings)
    singles = [ToolEnv(**settings) for _ in range(3)]
    observations, infos = batch.reset(seed=5)
    alone = [env.reset(seed=5 + i) for i, env in enumerate(singles)]
    assert list(observations) == [observation for observation, _ in alone]
    for _ in range(12):
        replies = [(env.plan() or ["Bye."])[0] for env in singles]
        over = [bool(env._talk and env._talk.over) for env in singles]
        observations, rewards, *_, infos = batch.step(replies)
        for i, env in enumerate(singles):
            if over[i]:
                observation, info = env.reset()
                reward = 0.0
            else:
                observation, reward, _, _, info = env.step(replies[i])
            assert (observations[i], rewards[i]) == (observation, reward)
            assert infos["state_key"][i] == info["state_key"]
            assert infos["messages"][i] == info["messages"]
    batch.close()
