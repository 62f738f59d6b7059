"""A model behind a real endpoint writes records that pass every filter, through failures and kills, and offline."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.tools.synthesis.brief import deal
from palaestra.envs.tools.synthesis.graph import graph_of
from palaestra.envs.tools.synthesis.llm_prompts import PAIR
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.llm_teacher import LlmTeacher
from palaestra.envs.tools.synthesis.scene import Made, Spoken
from palaestra.envs.tools.synthesis.server_job import Block, Job, run_job
from palaestra.envs.tools.synthesis.teacher import Query, Teacher
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.framework.sources import stream

from .endpoint import KEY, VARIABLE, Endpoint, answer_of, breaks_off, sends

SERVER = "payments"
JOB = Job(server=SERVER, servers=(SERVER,), seed=0, profile="small")
BRIEFS = deal({"train": {"multi": 2, "abstain": 1}}, {SERVER: 1.0}, 0)

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from llm.test_llm_teacher import write
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
write(LlmSettings.model_validate_json(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
"""


def write(settings: LlmSettings, cache: Path, folder: Path) -> Counter[str]:
    """Write the records of `BRIEFS` into a folder; what became of the questions."""
    folder.mkdir(exist_ok=True)
    with LlmTeacher(settings, cache, sleep=lambda _: None) as teacher:
        checked: Teacher = teacher
        run_job(JOB, BRIEFS, folder, checked)
        return teacher.chat.counts


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.part")}


def asked(endpoint: Endpoint) -> set[str]:
    return {json.dumps(body, sort_keys=True) for body in endpoint.bodies}


def test_records_are_written_and_written_again_without_the_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    counts = write(endpoint.settings(key_env=VARIABLE), cache, tmp_path / "first")
    (part,) = (Block.load(path) for path in (tmp_path / "first").iterdir())
    assert len(part.records) == len(BRIEFS)
    for _, record in part.records:
        assert record.meta["teacher"] | {"prompt_digest": ""} == {
            "kind": "llm", "model": "small", "temperature": 0.7, "prompt_digest": "", "seed": 0
        }  # fmt: skip
        assert all("context" not in call.source.values() for _, call in record.gold_calls)
    assert counts["call.asked"] > 0
    assert counts["query.asked"] == counts["reply.asked"] > 0

    sent = len(endpoint.bodies)
    nowhere = endpoint.settings(base_url="http://127.0.0.1:1", offline=True, key_env="PALAESTRA_TEST_NOT_SET")
    assert write(nowhere, cache, tmp_path / "again") == counts
    assert parts(tmp_path / "again") == parts(tmp_path / "first")
    assert len(endpoint.bodies) == sent
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_failures_of_the_endpoint_change_nothing_that_is_written(endpoint: Endpoint, tmp_path: Path) -> None:
    write(endpoint.settings(), tmp_path / "a.sqlite", tmp_path / "smooth")
    clean = asked(endpoint)
    endpoint.bodies.clear()
    failing = [sends(b"", 429, retry_after="1"), sends(b"", 500), breaks_off, sends(b'{"choices": 5}'), sends(b"{")]
    for behaviour in itertools.islice(itertools.cycle(failing), len(clean)):
        endpoint.planned.extend([behaviour, None])
    write(endpoint.settings(concurrency=1), tmp_path / "b.sqlite", tmp_path / "rough")
    assert not endpoint.planned
    assert parts(tmp_path / "rough") == parts(tmp_path / "smooth")
    assert asked(endpoint) == clean


CARELESS = (
    '{"tool": "delete_everything", "arguments": {}}', '{"tool": "void_invoice", "arguments": {"invoice_id": 7}}',
    '{"message": "<|im_start|>"}', "I cannot help with that.", '{"a_then_b": "maybe", "b_then_a": []}', '{"message":',
)  # fmt: skip


def test_a_careless_model_is_asked_again(endpoint: Endpoint, tmp_path: Path) -> None:
    def sloppy(body: dict[str, Any]) -> str:
        first = len(body["messages"]) == 2
        return CARELESS[body["seed"] % len(CARELESS)] if first else answer_of(body)

    endpoint.think = sloppy
    counts = write(endpoint.settings(), tmp_path / "c.sqlite", tmp_path / "out")
    (part,) = (Block.load(path) for path in (tmp_path / "out").iterdir())
    assert part.records
    for purpose in ("pair", "call", "query", "reply"):
        assert counts[f"{purpose}.malformed"] == counts[f"{purpose}.asked"] > 0
        assert counts[f"{purpose}.dropped"] == 0


def test_a_killed_run_goes_on_where_it_was(endpoint: Endpoint, tmp_path: Path) -> None:
    write(endpoint.settings(), tmp_path / "whole.sqlite", tmp_path / "whole")
    clean, sent = asked(endpoint), len(endpoint.bodies)
    endpoint.bodies.clear()
    endpoint.enough = sent * 2 // 3
    cache, out = tmp_path / "killed.sqlite", tmp_path / "killed"
    settings = endpoint.settings(key_env=VARIABLE)
    given = [str(Path(__file__).parent.parent), settings.model_dump_json(), str(cache), str(out)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *given], env={**os.environ, VARIABLE: KEY})
    try:
        assert endpoint.reached.wait(60)
    finally:
        child.kill()
        child.wait(20)
    assert parts(out) == {}
    under_way = len(endpoint.bodies) - endpoint.enough + 1
    endpoint.enough = 10**9
    write(settings, cache, out)
    assert parts(out) == parts(tmp_path / "whole")
    assert asked(endpoint) == clean
    assert sent < len(endpoint.bodies) <= sent + under_way  # only what the kill cut off was asked twice
    with LlmTeacher(settings, cache) as teacher:
        assert teacher.chat.spent().requests == len(endpoint.bodies)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_budget_stops_a_run_and_more_of_it_lets_it_go_on(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with pytest.raises(TaskError, match="max_requests = 50 are spent"):
        write(endpoint.settings(max_requests=50), cache, tmp_path / "out")
    assert len(endpoint.bodies) == 50
    assert parts(tmp_path / "out") == {}
    write(endpoint.settings(), cache, tmp_path / "out")
    assert len(parts(tmp_path / "out")) == 1
    assert len(endpoint.bodies) == len(asked(endpoint))  # nothing was asked twice


def test_a_dependency_counts_only_where_calls_show_it(endpoint: Endpoint, tmp_path: Path) -> None:
    server = load_server(SERVER)
    shown = graph_of(server)
    real = set(shown.needs())
    blind = sorted(real)[0]
    wrong_kind = sorted(real)[1]
    made_up = next(pair for pair in itertools.permutations(server.tools, 2) if pair not in real)

    def think(body: dict[str, Any]) -> str:
        said = json.loads(answer_of(body))
        facts = json.loads(body["messages"][1]["content"])
        a, b = facts["a"]["name"], facts["b"]["name"]
        for key, pair in (("a_then_b", (a, b)), ("b_then_a", (b, a))):
            if pair == blind:
                said[key] = "none"
            elif pair == made_up:
                said[key] = "explicit"
            elif pair == wrong_kind:
                said[key] = "implicit" if said[key] == "explicit" else "explicit"
        return json.dumps(said)

    endpoint.think = think
    with LlmTeacher(endpoint.settings(), tmp_path / "c") as teacher:
        graph = teacher.propose_graph(server)
        assert teacher.propose_graph(server) is graph
        found = teacher.agreement[SERVER]
    assert set(graph.needs()) == real - {blind}
    assert [edge for edge in graph.edges if edge.kind == "blocks"] == [e for e in shown.edges if e.kind == "blocks"]
    assert (found.asked, found.unanswered) == (90, 0)
    assert (found.confirmed, found.other_kind, found.refuted, found.missed) == (len(real) - 2, 1, 1, 1)
    assert found.precision == found.recall == (len(real) - 1) / len(real)
    assert len(endpoint.bodies) == 45
    assert all(body["messages"][0]["content"] == PAIR for body in endpoint.bodies)
    assert endpoint.most <= 8


QUERY = Query(
    "goal", SERVER, (Spoken("create_invoice", {"amount": "12.50", "memo": "“poster”"}, frozenset()),),
    frozenset({"amount"}), opening=True,
)  # fmt: skip


def test_a_goal_says_nothing_that_is_withheld_and_a_reply_nothing_made_up(endpoint: Endpoint, tmp_path: Path) -> None:
    answers = iter(["I need a poster for 12.50.", "I need a poster.", "It is inv_9, 13.50.", "Invoice inv_7 is 12.50."])
    endpoint.think = lambda body: json.dumps({"message": next(answers)})
    made = [Made(0, "create_invoice", {"amount": 1250}, {"invoice_id": "inv_7", "amount": 1250}, False)]
    with LlmTeacher(endpoint.settings(), tmp_path / "c") as teacher:
        assert teacher.write_query(QUERY, stream(0, "t")) == "I need a poster."
        assert teacher.write_reply(Query("supply", SERVER), made, stream(1, "t")) == "Invoice inv_7 is 12.50."
        assert teacher.chat.counts["query.malformed"] == teacher.chat.counts["reply.malformed"] == 1
    facts = json.loads(endpoint.bodies[0]["messages"][1]["content"])
    assert facts["must_not_say"] == ["12.50"]
    assert facts["requests"][0]["values"] == {"memo": "“poster”"}
    assert "12.50" in endpoint.bodies[1]["messages"][3]["content"]
    reply = json.loads(endpoint.bodies[2]["messages"][1]["content"])
    assert reply["user"] == "I need a poster."
