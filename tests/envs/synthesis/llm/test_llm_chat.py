"""A model is asked over HTTP that fails in every way, within its budget, and never twice for the same thing."""

from __future__ import annotations

import copy
import json
import logging
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_http import Failure
from palaestra.envs.tools.synthesis.llm_reading import Message, read_as
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.machine import Dropped
from palaestra.mcp_servers.errors import ConfigError, PalaestraError, StoreError, TaskError, ToolError

from .endpoint import (
    KEY,
    VARIABLE,
    Behaviour,
    Endpoint,
    breaks_off,
    completion,
    drips,
    echoes_the_key,
    floods,
    hangs,
    says,
    sends,
)

ASKED = [{"role": "user", "content": "Grüße?"}]
GOOD = '{"message": "Hello."}'
Open = Callable[..., Chat]


@pytest.fixture
def waits() -> list[float]:
    """The seconds waited between attempts."""
    return []


@pytest.fixture
def chat(endpoint: Endpoint, tmp_path: Path, waits: list[float]) -> Iterator[Open]:
    """Opens chats with the endpoint over one cache; a good answer is `GOOD`."""
    endpoint.think = lambda body: GOOD
    opened: list[Chat] = []

    def start(**settings: Any) -> Chat:
        made = Chat(
            endpoint.settings(**settings),
            tmp_path / "answers.sqlite",
            sleep=waits.append,
            clock=lambda: 1_000_000_000.0,
        )
        opened.append(made)
        return made

    yield start
    for made in opened:
        made.close()


def test_a_question_is_sent_once_and_says_all_it_should(chat: Open, endpoint: Endpoint) -> None:
    first = chat(key_env=VARIABLE, temperature=0.25)
    reply = first.complete(ASKED, 7)
    assert (reply.text, reply.cut, reply.tokens) == (GOOD, False, 50)
    assert first.complete(ASKED, 7) == reply == chat(temperature=0.25).complete(ASKED, 7)
    assert endpoint.bodies == [
        {"model": "small", "messages": ASKED, "temperature": 0.25, "seed": 7, "max_tokens": 1024}
    ]
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    for other in (8, 9):
        first.complete(ASKED, other)
    assert len(endpoint.bodies) == 3


def test_no_key_is_sent_where_none_is_named(chat: Open, endpoint: Endpoint) -> None:
    chat().complete(ASKED, 0)
    assert "authorization" not in endpoint.headers[0]


BAD: dict[str, tuple[Behaviour, str]] = {
    "500": (sends(b"oops", 500), "endpoint_status"),
    "503": (sends(b"", 503), "endpoint_status"),
    "529": (sends(b"\xff\x00", 529), "endpoint_status"),
    "429": (sends(b"{}", 429), "endpoint_status"),
    "hangs": (hangs, "endpoint_timeout"),
    "drips": (drips, "endpoint_timeout"),
    "breaks off": (breaks_off, "endpoint_unreachable"),
    "floods": (floods, "endpoint_answer"),
    "cut json": (sends(json.dumps(completion(GOOD)).encode()[:-9]), "endpoint_answer"),
    "no json": (sends(b"<html>It works!</html>"), "endpoint_answer"),
    "empty": (sends(b""), "endpoint_answer"),
    "a list": (sends(b"[]"), "endpoint_answer"),
    "no choices": (sends(b'{"choices": []}'), "endpoint_answer"),
    "no message": (sends(b'{"choices": [{"message": null}]}'), "endpoint_answer"),
    "number": (sends(b'{"choices": [{"message": {"content": 5}}]}'), "endpoint_answer"),
    "usage": (sends(json.dumps({**completion(GOOD), "usage": {"total_tokens": -5}}).encode()), "endpoint_answer"),
    "gzip": (sends(b"not gzip", content_encoding="gzip"), "endpoint_unreachable"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_failure_is_tried_again_and_then_reported(
    name: str, chat: Open, endpoint: Endpoint, waits: list[float]
) -> None:
    behaviour, code = BAD[name]
    patient = chat(timeout_s=0.3, retries=1)
    endpoint.planned.append(behaviour)
    assert patient.complete(ASKED, 0).text == GOOD
    assert len(endpoint.bodies) == 2
    assert endpoint.bodies[0] == endpoint.bodies[1]
    assert 0.25 <= waits[0] <= 0.5

    endpoint.planned.extend([behaviour] * 2)
    with pytest.raises(ToolError) as caught:
        patient.complete(ASKED, 1)
    assert (caught.value.code, caught.value.retryable) == (code, True)
    assert len(endpoint.bodies) == 4
    assert patient.complete(ASKED, 1).text == GOOD  # nothing of the failures was kept


def test_waits_grow_are_jittered_and_repeat_exactly(chat: Open, endpoint: Endpoint, waits: list[float]) -> None:
    for seed in (0, 1):
        endpoint.planned.extend([sends(b"", 500)] * 5)
        with pytest.raises(ToolError, match="answered 500"):
            chat().complete(ASKED, seed)
    assert len(endpoint.bodies) == 10
    first, other = waits[:4], waits[4:]
    assert all(0.25 * 2**at <= wait <= 0.5 * 2**at for at, wait in enumerate(first))
    assert first != other
    endpoint.planned.extend([sends(b"", 500)] * 5)
    with pytest.raises(ToolError, match="answered 500"):
        chat().complete(ASKED, 0)
    assert waits[8:] == first


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7.0, 7.3), ("Sun, 09 Sep 2001 01:46:50 GMT", 10.0, 10.3), ("soon", 0.25, 0.5), ("0", 0.25, 0.5)],
)
def test_a_wait_that_is_asked_for_is_kept(
    header: str, least: float, most: float, chat: Open, endpoint: Endpoint, waits: list[float]
) -> None:
    endpoint.planned.append(sends(b"", 429, retry_after=header))
    chat().complete(ASKED, 0)
    assert least <= waits[0] <= most


def test_a_wait_that_is_too_long_is_reported_instead(chat: Open, endpoint: Endpoint, waits: list[float]) -> None:
    endpoint.planned.append(sends(b"", 429, retry_after="3600"))
    with pytest.raises(ToolError, match="asks to wait 3600 s"):
        chat().complete(ASKED, 0)
    assert waits == []


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_what_will_not_get_better_is_not_tried_again(status: int, chat: Open, endpoint: Endpoint) -> None:
    endpoint.planned.append(sends(b"no such model", status, location="http://127.0.0.1:1/"))
    with pytest.raises(
        ToolError, match=f"answered {status}: 'no such model'; check base_url, model and the key"
    ) as found:
        chat(key_env=VARIABLE).complete(ASKED, 0)
    assert not found.value.retryable
    assert len(endpoint.bodies) == 1


def test_an_endpoint_that_is_not_there(tmp_path: Path, waits: list[float]) -> None:
    settings = LlmSettings(base_url="http://127.0.0.1:1/v1", model="m", max_requests=9, max_tokens=10**5, retries=2)
    with Chat(settings, tmp_path / "c", sleep=waits.append) as chat:
        with pytest.raises(ToolError, match="gave no answer: ConnectError"):
            chat.complete(ASKED, 0)
        assert len(waits) == 2
        assert (chat.spent().requests, chat.spent().tokens) == (3, 0)  # nobody was reached, so nobody counted tokens


def test_the_key_is_in_no_file_log_or_exception(
    chat: Open, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asking = chat(key_env=VARIABLE, retries=0, timeout_s=0.3)
    endpoint.planned.extend([says(f'{{"message": "{KEY}"}}'), echoes_the_key, hangs, breaks_off, sends(KEY.encode())])
    assert asking.complete(ASKED, 0).text == '{"message": "[key]"}'
    for seed in range(1, 5):
        with pytest.raises(ToolError) as caught:
            asking.complete(ASKED, seed)
        ours = caught.value.with_traceback(caught.tb.tb_next)  # this function's own variables hold the key
        shown = traceback.TracebackException.from_exception(ours, capture_locals=True)
        assert KEY not in "".join(shown.format())
        assert KEY not in repr(caught.value.to_dict())
        assert caught.value.__context__ is None or KEY not in repr(vars(caught.value.__context__))
    assert all(KEY in headers["authorization"] for headers in endpoint.headers)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"[key]" in written
    assert KEY.encode() not in written
    assert "HTTP Request: POST" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("value", "code"), [("", "no_key"), (" ", "no_key"), ("a\nb-secret", "bad_key"), ("ü-secret", "bad_key")]
)
def test_a_key_that_cannot_be_one(
    value: str, code: str, chat: Open, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=VARIABLE) as caught:
        chat(key_env=VARIABLE).complete(ASKED, 0)
    assert caught.value.code == code
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert endpoint.bodies == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"key_env": "sk-secret"}, {"key_env": ["sk-secret"]}, {"base_url": "http://user:secret@host/v1"},
        {"base_url": "http://host/v1?key=secret"}, {"base_url": "host:80"}, {"base_url": "ftp://host"}, {"base_url": 5},
        {"temperature": 3}, {"max_requests": 0}, {"timeout_s": 0}, {"model": ""}, {"api_key": "sk-secret"},
    ],
)  # fmt: skip
def test_settings_name_what_is_wrong_and_show_no_key(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"base_url": "http://host/v1/", "model": "m", "max_requests": 1, "max_tokens": 1}
    assert LlmSettings(**good).base_url == "http://host/v1"
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        LlmSettings(**{**good, **wrong})
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("missing", ["base_url", "model", "max_requests", "max_tokens"])
def test_what_costs_money_has_no_default(missing: str) -> None:
    good: dict[str, Any] = {"base_url": "http://host/v1/", "model": "m", "max_requests": 1, "max_tokens": 1}
    with pytest.raises(ConfigError, match=missing):
        LlmSettings(**{name: value for name, value in good.items() if name != missing})


def test_requests_stop_at_the_budget_over_runs_and_threads(chat: Open, endpoint: Endpoint) -> None:
    endpoint.planned.append(sends(b"", 500))
    with chat(max_requests=3) as first:
        first.complete(ASKED, 0)  # two requests, the first of them in vain
    both = [chat(max_requests=8), chat(max_requests=8)]

    def ask(seed: int) -> str:
        try:
            return both[seed % 2].complete(ASKED, seed).text
        except TaskError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(1, 21)))
    assert len(endpoint.bodies) == both[0].spent().requests == 8
    assert sorted(set(found)) == ["budget_spent", GOOD]
    assert found.count(GOOD) == 6
    assert both[0].complete(ASKED, 0).text == GOOD  # what is in the cache costs nothing
    with pytest.raises(TaskError, match="8 of max_requests = 8 are spent; what is done is kept: raise the budget"):
        both[0].complete(ASKED, 99)
    assert chat(max_requests=9).complete(ASKED, 99).text == GOOD


def test_tokens_are_booked_at_most_and_then_as_counted(chat: Open, endpoint: Endpoint) -> None:
    asking = chat(max_tokens=3000, reply_tokens=1000)
    asking.complete(ASKED, 0)
    assert asking.spent().tokens == 50
    endpoint.planned.append(says(GOOD, tokens=None))
    asking.complete(ASKED, 1)
    booked = asking.spent().tokens - 50
    assert 1000 + len("Grüße?".encode()) <= booked < 1500  # nobody counted, so the most it can have been stands
    endpoint.planned.extend([sends(b"", 500), says(GOOD, tokens=1900)])
    assert asking.complete(ASKED, 2).tokens == 1900
    assert asking.spent().tokens == 50 + booked + 1900
    sent = len(endpoint.bodies)
    with pytest.raises(TaskError, match="max_tokens = 3000"):
        asking.complete(ASKED, 3)
    assert len(endpoint.bodies) == sent


def test_a_request_that_may_have_been_worked_on_stays_paid(chat: Open, endpoint: Endpoint) -> None:
    asking = chat(timeout_s=0.2, retries=0)
    endpoint.planned.append(hangs)
    with pytest.raises(ToolError):
        asking.complete(ASKED, 0)
    assert asking.spent().requests == 1
    assert asking.spent().tokens > 1024


def test_offline_answers_come_from_the_cache_and_no_others(chat: Open, endpoint: Endpoint) -> None:
    chat().complete(ASKED, 0)
    offline = chat(offline=True, key_env="PALAESTRA_TEST_NOT_SET")
    assert offline.complete(ASKED, 0).text == GOOD
    with pytest.raises(TaskError, match="not in the cache; set offline to false"):
        offline.complete(ASKED, 1)
    assert len(endpoint.bodies) == 1


def test_no_more_requests_are_under_way_than_allowed(chat: Open, endpoint: Endpoint) -> None:
    endpoint.waits_for = 4
    asking = chat(concurrency=4)
    with ThreadPoolExecutor(12) as pool:
        assert {reply.text for reply in pool.map(lambda seed: asking.complete(ASKED, seed), range(24))} == {GOOD}
    assert endpoint.most == 4


def test_the_first_answer_to_a_question_counts_for_everybody(chat: Open, endpoint: Endpoint) -> None:
    endpoint.waits_for = 2
    answers = iter(["one", "two"])
    endpoint.think = lambda body: next(answers)
    both = [chat(), chat()]
    barrier = threading.Barrier(2, timeout=10)

    def ask(one: Chat) -> str:
        barrier.wait()
        return one.complete(ASKED, 0).text

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(ask, both))) == 1


def read(text: str) -> str:
    return read_as(Message, text).message


def test_an_answer_that_cannot_be_read_is_asked_for_again(chat: Open, endpoint: Endpoint) -> None:
    endpoint.planned.extend([says("I'd love to!"), says('{"message": 5}'), says(GOOD, reason="length")])
    asking = chat()
    assert asking.ask("query", ASKED, read, 0) == "Hello."
    assert asking.counts == {"query.asked": 1, "query.malformed": 3}
    last = [message["content"] for message in endpoint.bodies[-1]["messages"]]
    assert last[1::2] == ["I'd love to!", '{"message": 5}', GOOD]
    assert last[2].startswith("There is no JSON object")
    assert last[4].startswith("The answer does not have the form asked for: message: Input should be a valid string.")
    assert last[6].startswith("The answer was cut off")
    assert len({body["seed"] for body in endpoint.bodies}) == 4
    assert asking.ask("query", ASKED, read, 0) == "Hello."
    assert len(endpoint.bodies) == 4  # the bad answers are remembered too


def test_after_three_further_answers_it_is_dropped_and_counted(chat: Open, endpoint: Endpoint) -> None:
    bad = json.dumps(completion("\ud800 no")).encode()
    endpoint.planned.extend([sends(bad)] * 4)
    asking = chat()
    with pytest.raises(Dropped, match="llm_query"):
        asking.ask("query", ASKED, read, 0)
    assert asking.counts == {"query.asked": 1, "query.malformed": 4, "query.dropped": 1}
    assert len(endpoint.bodies) == 4


OPENING = """
import sys
from pathlib import Path
from palaestra.envs.tools.synthesis.llm_cache import Answers
from palaestra.envs.tools.synthesis.llm_http import Reply
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
settings = LlmSettings(base_url="http://127.0.0.1:1/v1", model="m", max_requests=1000, max_tokens=10**6)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    answers = Answers(Path(sys.argv[1]), settings)
    answers.book(9)
    answers.keep(f"{sys.argv[2]} {number}", Reply("x", False, 5), 9)
    answers.close()
"""


def test_processes_open_a_new_cache_at_once_and_lose_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = tmp_path / "new.sqlite"
    command = [sys.executable, "-c", OPENING, str(cache)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    several = [subprocess.Popen([*command, name], **pipes) for name in "abcd"]
    try:
        for one in several:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in several:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        assert [one.communicate(timeout=60)[1] for one in several] == [""] * 4
    finally:
        for one in several:
            one.kill()
            one.communicate()
    with Chat(endpoint.settings(), cache) as chat:
        assert (chat.spent().requests, chat.spent().tokens) == (80, 400)


def test_a_failure_can_be_passed_on_between_processes() -> None:
    failure = Failure("endpoint_status", "the endpoint answered 503", again=True, wait_s=7.0, spent=True)
    passed = copy.copy(failure)
    assert vars(passed) == vars(failure)
    assert str(passed) == str(failure) == "the endpoint answered 503 [endpoint_status]"


def test_a_cache_that_is_none_is_refused_and_left_alone(endpoint: Endpoint, tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("Dear diary, " * 1000, "utf-8")
    with sqlite3.connect(other) as db:
        db.execute("create table mine (x)")
    db.close()
    for path in (text, other, tmp_path / "no" / "folder", tmp_path):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(StoreError, match="name another file") as caught:
            Chat(endpoint.settings(), path)
        assert isinstance(caught.value, PalaestraError)
        assert caught.value.code == "bad_cache"
        assert before == (path.read_bytes() if path.is_file() else b"")
