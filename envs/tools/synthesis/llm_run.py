"""A run whose teacher is a model: where its answers lie, what a worker does, what it cost, and what the report says.

The answers are kept beside the output after the run: the same command makes the same bytes from them, with no endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.synthesis.brief import Brief
from palaestra.envs.tools.synthesis.filters import Score
from palaestra.envs.tools.synthesis.llm_cache import Answers, Spent
from palaestra.envs.tools.synthesis.llm_graph import Agreement
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.llm_teacher import LlmTeacher, about
from palaestra.envs.tools.synthesis.server_job import Job, run_job
from palaestra.mcp_servers.catalog import load_server

PURPOSES: Final = ("pair", "call", "query", "reply")
"""What a teacher asks about: two tools, the next call, the user's words, the assistant's words."""
_OUTCOMES: Final = ("asked", "malformed", "dropped")
_GRAPH: Final = ".graph.json"


def answers_beside(out: Path) -> Path:
    """The file of the model's answers for an output."""
    return out.with_name(out.name + ".answers.sqlite")


def identity(settings: LlmSettings) -> dict[str, Any]:
    """What the answers of a model depend on, besides the questions; not where it is, nor what it may cost."""
    return {**about(settings), "seed": settings.seed, "reply_tokens": settings.reply_tokens}


@contextmanager
def ledger(settings: LlmSettings, out: Path) -> Iterator[Answers]:
    """The answers of an output, open for as long as its run: workers find the file ready to be shared.

    Raises: StoreError "bad_cache".
    """
    with closing(Answers(answers_beside(out), settings)) as answers:
        yield answers


def run_with_model(
    job: Job, briefs: Sequence[Brief], folder: Path, settings: LlmSettings, cache: Path, score: Score | None
) -> None:
    """As `run_job`, with a teacher of its own; also writes down what the model made of the server's graph.

    Raises: as `Chat.ask`. Cost: requests for every pair of tools, once, and some ten per record.
    """
    with LlmTeacher(settings, cache) as teacher:
        teacher.propose_graph(load_server(job.server))
        agreement = teacher.agreement[job.server]
        told = {"agreement": agreement.model_dump(), "counts": dict(teacher.counts)}
        (folder / f"{job.server}{_GRAPH}").write_text(canonical_json(told), "utf-8")
        run_job(job, briefs, folder, teacher, score)


def told_by_model(folder: Path, counts: Mapping[str, int], answers: Answers) -> dict[str, Any]:
    """What the report says of the questions: how many there were, what became of them, and what they cost.

    Args:
        folder: of the parts.
        counts: of all blocks.
        answers: of the run.
    """
    found = sorted(folder.glob("*" + _GRAPH))
    graphs = {path.name.removesuffix(_GRAPH): json.loads(path.read_text("utf-8")) for path in found}
    total = dict(counts)
    for graph in graphs.values():
        for name, count in graph["counts"].items():
            total[f"teacher.{name}"] = total.get(f"teacher.{name}", 0) + count
    agreements = {name: Agreement(**graph["agreement"]) for name, graph in graphs.items()}
    spent: Spent = answers.spent()
    return {
        "questions": {p: {o: total.get(f"teacher.{p}.{o}", 0) for o in _OUTCOMES} for p in PURPOSES},
        "calls": {name: total.get(f"teacher.call.{name}", 0) for name in ("failed", "given_up")},
        "graphs": {
            name: {**a.model_dump(), "precision": round(a.precision, 4), "recall": round(a.recall, 4)}
            for name, a in agreements.items()
        },
        "requests": spent.requests, "tokens_booked": spent.tokens, "tokens_told": answers.tokens_told(),
    }  # fmt: skip
