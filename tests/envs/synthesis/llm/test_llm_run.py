"""`palaestra synth --teacher`, the whole command: a model behind a real endpoint, stopped in every way and gone on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import ENVIRONMENT, Command, command

from palaestra.envs.tools.records import read_records
from palaestra.envs.tools.synthesis.filters import FILTERS
from palaestra.rewards.gold import earns_the_most

from .endpoint import KEY, VARIABLE, Endpoint

__all__ = ["command"]

WORDS = ("synth", "--records", 4, "--servers", "payments", "--profile", "small", "--workers", 1)


def toml(folder: Path, endpoint: Endpoint, **changes: object) -> Path:
    """A file of settings that reach the endpoint."""
    given = {"base_url": endpoint.url, "model": "small", "max_requests": 5000, "max_tokens": 10**8, **changes}
    file = folder / "model.toml"
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items()), "utf-8")
    return file


@pytest.fixture(scope="module")
def whole(fresh: Callable[[], Endpoint], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that nothing happens to writes."""
    folder = tmp_path_factory.mktemp("whole")
    file, out = toml(folder, fresh()), folder / "tasks.jsonl"
    words = [sys.executable, "-m", "palaestra", *map(str, WORDS), "--out", str(out), "--teacher", str(file)]
    subprocess.run(words, env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    return out.read_bytes()


def test_a_model_writes_and_the_same_is_written_again_offline(
    command: Command, endpoint: Endpoint, tmp_path: Path
) -> None:
    out, file = tmp_path / "tasks.jsonl", toml(tmp_path, endpoint, key_env=VARIABLE)
    words = ("synth", "--records", 4, "--test", 2, "--servers", "payments,team_chat", "--profile", "small")
    report = command(*words, "--out", out, "--workers", 2, "--teacher", file, "--json").json()
    records = list(read_records(out))
    assert len(records) == report["records"] == 6
    assert all(record.meta["teacher"]["model"] == "small" and earns_the_most(record) for record in records)
    assert list(report["yields"]["filters"]) == list(FILTERS)
    assert report["settings"]["teacher"]["model"] == "small"
    told = report["teacher"]
    assert told["requests"] == len(endpoint.bodies) == sum(q["asked"] for q in told["questions"].values())
    assert told["tokens_told"] == told["tokens_booked"] == 50 * told["requests"]
    assert told["questions"]["pair"]["asked"] == sum(g["asked"] for g in told["graphs"].values()) / 2
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in endpoint.headers)
    assert "the model `small`" in out.with_suffix(".md").read_text("utf-8")

    first = {path.name: path.read_bytes() for path in tmp_path.glob("tasks*") if path.suffix != ".sqlite"}
    assert sorted(first) == ["tasks.jsonl", "tasks.md", "tasks.report.json"]
    for name in first:
        (tmp_path / name).unlink()
    nowhere = toml(tmp_path, endpoint, base_url="http://127.0.0.1:1/v1", key_env="PALAESTRA_TEST_NOT_SET", offline=True)
    assert command(*words, "--out", out, "--workers", 1, "--teacher", nowhere).code == 0
    assert {name: (tmp_path / name).read_bytes() for name in first} == first
    assert len(endpoint.bodies) == told["requests"]
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_interrupted_run_goes_on_where_it_was(
    command: Command, endpoint: Endpoint, whole: bytes, tmp_path: Path
) -> None:
    out, file = tmp_path / "tasks.jsonl", toml(tmp_path, endpoint)
    words = (*WORDS, "--out", out, "--teacher", file)
    endpoint.enough = 120
    run = subprocess.Popen(
        [sys.executable, "-m", "palaestra", *map(str, words)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert endpoint.reached.wait(60)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=30)[1]
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 130, said
    assert said == f"Interrupted. Call the same command again to go on with {out}.\n"
    assert not out.exists()
    sent = len(endpoint.bodies)
    endpoint.enough = 10**9
    done = command(*words)
    assert done.code == 0, done.err
    assert out.read_bytes() == whole
    answered = {json.dumps(body, sort_keys=True) for body in endpoint.bodies}
    assert len(endpoint.bodies) - len(answered) <= 1  # only what the interrupt cut off was asked twice
    assert len(endpoint.bodies) > sent > 100
    assert f"{len(endpoint.bodies):,} requests were sent" in done.out


def test_the_budget_stops_a_run_and_nothing_of_it_is_lost(
    command: Command, endpoint: Endpoint, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "tasks.jsonl"
    words = (*WORDS, "--out", out, "--teacher")
    done = command(*words, toml(tmp_path, endpoint, max_requests=100))
    assert done.code == 2
    for word in ("budget_spent", "max_requests = 100", "call the same command again"):
        assert word in done.err
    assert len(endpoint.bodies) == 100
    done = command(*words, toml(tmp_path, endpoint, model="other"))
    assert (done.code, "[other_parts]" in done.err) == (2, True)
    done = command(*WORDS, "--out", out)
    assert (done.code, "[other_parts]" in done.err) == (2, True)
    assert len(endpoint.bodies) == 100
    done = command(*words, toml(tmp_path, endpoint, timeout_s=30.0, retries=1))
    assert done.code == 0, done.err
    assert out.read_bytes() == whole
    assert len({json.dumps(body, sort_keys=True) for body in endpoint.bodies}) == len(endpoint.bodies)


MISTAKES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "unknown key": ({"temprature": 0.5}, ("model.toml", "unknown key 'temprature'", "did you mean 'temperature'")),
    "wrong value": ({"temperature": 3.5}, ("model.toml", "LlmSettings.temperature", "given 3.5")),
    "key in the file": ({"api_key": KEY}, ("unknown key 'api_key'",)),
    "no address": ({"base_url": "localhost:80"}, ("base_url", "http://HOST:PORT/v1")),
    "no key": ({"key_env": "PALAESTRA_TEST_NOT_SET"}, ("[no_key]", "PALAESTRA_TEST_NOT_SET", "set it to the key")),
    "nobody there": (
        {"base_url": "http://127.0.0.1:1/v1", "retries": 0},
        ("[endpoint_unreachable]", "http://127.0.0.1:1/v1", "check that base_url"),
    ),
    "offline": ({"offline": True}, ("[not_cached]", "set offline to false")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named_and_show_no_key(name: str, command: Command, endpoint: Endpoint, tmp_path: Path) -> None:
    changes, said = MISTAKES[name]
    done = command(*WORDS, "--out", tmp_path / "x.jsonl", "--teacher", toml(tmp_path, endpoint, **changes))
    assert done.code == 2
    for word in said:
        assert word in done.err
    assert KEY not in done.err + done.out
    assert not endpoint.bodies
    assert not (tmp_path / "x.jsonl").exists()


def test_a_file_that_is_none(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text(f"key = {KEY}", "utf-8")
    for name in ("missing.toml", "broken.toml"):
        done = command(*WORDS, "--out", tmp_path / "x.jsonl", "--teacher", tmp_path / name)
        assert (done.code, "[model_file]" in done.err, name in done.err) == (2, True, True)
        assert "base_url, model, max_requests and max_tokens" in done.err
        assert KEY not in done.err
