"""The tool environment with a model as its user: other words for the same wishes, and every time the same ones."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.core import checks
from palaestra.envs.tools.dataset import EMBEDDED
from palaestra.envs.tools.env import ToolEnv
from palaestra.envs.tools.records import TaskRecord, read_records
from palaestra.envs.tools.synthesis.llm_reading import Malformed, _held_to
from palaestra.envs.tools.synthesis.llm_rewording import rules_of
from palaestra.envs.tools.synthesis.speaking import says
from palaestra.mcp_servers.errors import ConfigError, PalaestraError

from .endpoint import VARIABLE, Endpoint, answer_of

RECORDS = list(read_records(EMBEDDED))


def toml(folder: Path, endpoint: Endpoint, **changes: object) -> Path:
    given = {"base_url": endpoint.url, "model": "small", "max_requests": 5000, "max_tokens": 10**8, **changes}
    file = folder / "user.toml"
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items()), "utf-8")
    return file


def make(file: Path, **settings: Any) -> ToolEnv:
    return ToolEnv(servers=("payments",), user=str(file), **settings)


def play(env: ToolEnv, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """What the user says in a conversation whose assistant does the right thing, and every `info`."""
    said, infos = [], [env.reset(seed=0, options=options)[1]]
    infos += [env.step(reply)[4] for reply in env.plan() or []]
    for info in infos:
        said += [message["content"] for message in info["messages"] if message["role"] == "user"]
    return said, infos


def test_the_user_says_the_same_in_other_words_and_nothing_else_changes(endpoint: Endpoint, tmp_path: Path) -> None:
    file = toml(tmp_path, endpoint, key_env=VARIABLE)
    env, scripted, turns = make(file), ToolEnv(servers=("payments",)), 0
    for index in range(8):
        said, infos = play(env, index=index)
        own, wanted = play(scripted, index=index)
        record = TaskRecord.from_json(infos[0]["record"])
        turns += len(record.turns)
        assert (len(said), infos[-1]["user_kept"]) == (len(own), 0)
        assert said != own
        assert infos[0]["task"] == said[0]
        for _, call in record.gold_calls:
            for name, source in call.source.items():
                if source.startswith("user:"):
                    assert says(said[int(source[5:])], call.arguments[name])
        for key in ("record", "evidence", "score", "won", "state_key", "action_status", "task_id"):
            assert [info.get(key) for info in infos] == [info.get(key) for info in wanted]
        assert "user_kept" not in wanted[-1]
    assert len(endpoint.bodies) == turns
    offline = make(toml(tmp_path, endpoint, base_url="http://127.0.0.1:1/v1", offline=True))
    assert [play(offline, index=index) for index in range(8)] == [play(env, index=index) for index in range(8)]
    assert len(endpoint.bodies) == turns


def test_another_seed_makes_other_words(endpoint: Endpoint, tmp_path: Path) -> None:
    def think(body: dict[str, Any]) -> str:
        said = json.loads(answer_of(body))["message"]
        return json.dumps({"message": f"{'Please. ' if body['seed'] % 2 else 'Hello. '}{said}"})

    endpoint.think = think
    heard = {
        seed: [play(make(toml(tmp_path, endpoint, seed=seed)), index=n)[0] for n in range(4)] for seed in (0, 1, 0)
    }
    sent = len(endpoint.bodies)
    assert heard[0] != heard[1]
    assert [play(make(toml(tmp_path, endpoint, seed=0)), index=n)[0] for n in range(4)] == heard[0]
    assert len(endpoint.bodies) == sent


def test_a_model_that_drops_or_adds_something_is_not_heard(endpoint: Endpoint, tmp_path: Path) -> None:
    answers = ["I need help.", "I need help with inv_99999."]
    endpoint.think = lambda body: json.dumps({"message": answers[body["seed"] % 2]})
    env = make(toml(tmp_path, endpoint))
    record = next(r for r in RECORDS if r.env.servers[0] == "payments" and r.split == "train" and r.kind == "act")
    said, infos = play(env, task=record.id)
    rules = rules_of(record)
    kept = [bool(rule.says or rule.values) for rule in rules]
    assert any(kept)
    assert infos[-1]["user_kept"] == sum(kept)
    for text, turn, own in zip(said, record.turns, kept, strict=True):
        assert text == turn.user if own else text == "I need help."
    assert infos[-1]["won"]


def test_every_record_passes_its_own_rules_and_every_value_is_in_them() -> None:
    for record in RECORDS[::9]:
        for turn, rules in zip(record.turns, rules_of(record), strict=True):
            assert _held_to(rules, turn.user) == turn.user.strip()
            for part in rules.says:
                with pytest.raises(Malformed):
                    _held_to(rules, turn.user.replace(part, "that"))


def test_it_keeps_an_environments_promises(endpoint: Endpoint, tmp_path: Path) -> None:
    filling = make(toml(tmp_path, endpoint))
    every = sum(record.env.servers[0] == "payments" and record.split == "train" for record in RECORDS)
    for index in range(every):
        filling.reset(options={"index": index})
    sent = len(endpoint.bodies)
    settings: dict[str, Any] = {"user": str(toml(tmp_path, endpoint, offline=True)), "oracle_info": True}
    report = checks.check_agent_env("palaestra/Tools-Payments-v0", seeds=(0, 1), **settings)
    assert {"replay", "copy", "snapshot", "leaks"} <= set(report.checks)
    assert len(endpoint.bodies) == sent > every


def test_a_snapshot_goes_on_in_another_process_without_the_model(endpoint: Endpoint, tmp_path: Path) -> None:
    file = toml(tmp_path, endpoint)
    env = make(file)
    record = next(r for r in RECORDS if r.env.servers[0] == "payments" and r.split == "train" and len(r.turns) == 3)
    env.reset(seed=0, options={"task": record.id})
    plan = env.plan() or []
    env.step(plan[0])
    saved = tmp_path / "saved.json"
    saved.write_bytes(env.snapshot())
    file.with_suffix(".answers.sqlite").unlink()
    sent = len(endpoint.bodies)
    script = (
        "import json, sys, pathlib; from palaestra.envs.tools.env import ToolEnv; env = ToolEnv(servers=('payments',), "
        "user=sys.argv[1]); env.restore(pathlib.Path(sys.argv[2]).read_bytes()); "
        "print(json.dumps([env.step(reply) for reply in env.plan()]))"
    )
    told = subprocess.run([sys.executable, "-c", script, str(file), str(saved)], check=True, capture_output=True)
    twin = copy.deepcopy(env)
    here = [env.step(reply) for reply in plan[1:]]
    assert json.loads(told.stdout) == json.loads(json.dumps(here))
    assert [twin.step(reply) for reply in plan[1:]] == here
    assert here[-1][1] == 1.0
    assert len(endpoint.bodies) == sent
    broken = json.loads(saved.read_bytes())
    others: list[Any] = [{"texts": ["Hi."], "kept": 0}, {"kept": 0}, [], {"texts": 5, "kept": 0}]
    for words in others:
        with pytest.raises(PalaestraError, match="bad_snapshot"):
            env.restore(json.dumps({**broken, "words": words}).encode())


def test_what_is_wrong_with_the_model_is_said(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml.*write a TOML file"):
        make(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"user\.toml: .*did you mean 'model'"):
        make(toml(tmp_path, endpoint, modle="x"))
    wrong: list[tuple[dict[str, object], str]] = [
        ({"key_env": "PALAESTRA_TEST_NOT_SET"}, "no_key"), ({"offline": True}, "not_cached"),
        ({"max_tokens": 1}, "budget_spent"),
        ({"base_url": "http://127.0.0.1:1/v1", "retries": 0}, "endpoint_unreachable"),
    ]  # fmt: skip
    for changes, code in wrong:
        env = make(toml(tmp_path, endpoint, **changes))
        with pytest.raises(PalaestraError) as caught:
            env.reset(seed=0)
        assert caught.value.code == code
    assert not endpoint.bodies
    env = make(toml(tmp_path, endpoint))
    before = env.reset(seed=0)
    with pytest.raises(PalaestraError, match="max_requests"):
        make(toml(tmp_path, endpoint, max_requests=1)).reset(seed=5)
    assert make(toml(tmp_path, endpoint)).reset(seed=0) == before
