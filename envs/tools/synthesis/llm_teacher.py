"""The teacher that is a language model. What it writes passes the checks the scripted teacher's words pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.synthesis.bindings import pick
from palaestra.envs.tools.synthesis.chains import Paths
from palaestra.envs.tools.synthesis.everyday import everyday_request
from palaestra.envs.tools.synthesis.graph import Graph, graph_of
from palaestra.envs.tools.synthesis.llm_acting import Acting
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_graph import Agreement, ask_pairs, confirmed_graph
from palaestra.envs.tools.synthesis.llm_prompts import QUERY, REPLIES, REPLY, TASKS, prompt_digest, told
from palaestra.envs.tools.synthesis.llm_reading import Rules, read_message
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.phrases import phrases_of
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.scene import Made, Spoken
from palaestra.envs.tools.synthesis.speaking import noun, ways
from palaestra.envs.tools.synthesis.teacher import Query
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.server import ToolServer

_RESULT: Final = 3000
_WAYS: Final = ("raw", "money", "minutes", "instant", "day")


def about(settings: LlmSettings) -> dict[str, Any]:
    """Which model, how it is asked, and a digest of the prompts; nothing of where it is or of its key."""
    return {
        "kind": LlmTeacher.kind, "model": settings.model, "temperature": settings.temperature,
        "prompt_digest": prompt_digest(),
    }  # fmt: skip


class LlmTeacher:
    """Asks a model for everything a conversation needs. One conversation at a time: it remembers what was said.

    Args:
        cache: file of the model's answers; an interrupted run goes on from it, a finished one repeats from it.
        evidence: a server's graph as found by execution; the shipped one by default.
        sleep: waits between attempts at a request.

    Attributes:
        agreement: server -> how the model's view of its tools compares with execution.

    Raises, from every method that asks: as `Chat.ask`. After "budget_spent" nothing more is sent.
    """

    kind = "llm"

    def __init__(
        self, settings: LlmSettings, cache: Path, *, evidence: Callable[[ToolServer], Graph] = graph_of,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.chat = Chat(settings, cache, sleep=sleep)
        self.agreement: dict[str, Agreement] = {}
        self._evidence = evidence
        self._graphs: dict[ToolServer, Graph] = {}
        self._voice = ""
        self._lines: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and the cache."""
        self.chat.close()

    def about(self) -> dict[str, Any]:
        """As the function `about`."""
        return about(self.settings)

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of the questions: "<purpose>.asked", ".malformed", ".dropped"; "call.failed", ".given_up"."""
        return self.chat.counts

    def propose_graph(self, server: ToolServer) -> Graph:
        """The dependencies the model names and execution shows. Cost: see `ask_pairs`, once per server."""
        if server not in self._graphs:
            answers = ask_pairs(self.chat, server)
            self._graphs[server], self.agreement[server.name] = confirmed_graph(server, answers, self._evidence)
        return self._graphs[server]

    def next_action(self, world: Field, paths: Paths, rng: np.random.Generator) -> list[Call] | None:
        """A path of the graph, its arguments chosen by the model; None if it finds none that work."""
        return Acting(self.chat, world, paths.draw(rng), paths.needs, rng).run()

    def write_query(self, query: Query, rng: np.random.Generator) -> str:
        """The user's message, held to say all it must and nothing that is withheld."""
        if query.opening:
            self._voice, self._lines = str(pick(phrases_of(query.server).voices, rng)), []
        tools = load_server(query.server).tools
        must, must_not = must_say(query), _withheld(query)
        facts = {
            "persona": self._voice, "server": noun(query.server), "task": TASKS[query.manner], "so_far": self._lines,
            "requests": [_request(query, spoken, tools[spoken.tool].description) for spoken in query.calls],
            "must_say": must, "must_not_say": must_not,
            **({"topic": everyday_request(rng)} if query.manner == "irrelevant" else {}),
        }  # fmt: skip
        rules = Rules(must, must_not, tools)
        return self._write("query", QUERY, facts, rules, "user", rng)

    def write_reply(self, query: Query, made: Sequence[Made], rng: np.random.Generator) -> str:
        """The assistant's words, held to figures the conversation or the results show."""
        asks = query.manner == "goal"
        task = "ask" if asks else "done" if made else "decline"
        facts = {
            "user": self._lines[-1]["text"] if self._lines else "", "task": REPLIES[task],
            "calls": [_outcome(one) for one in made],
            "missing": sorted(noun(name) for name in query.withheld) if asks else [],
        }  # fmt: skip
        shown = " ".join(
            [*(line["text"] for line in self._lines), *_figures([[one.arguments, one.value] for one in made])]
        )
        rules = Rules(tools=load_server(query.server).tools, figures=shown)
        return self._write("reply", REPLY, facts, rules, "assistant", rng)

    def _write(
        self, purpose: str, role: str, facts: dict[str, Any], rules: Rules, speaker: str, rng: np.random.Generator
    ) -> str:
        seed = int(rng.integers(2**31))
        text = self.chat.ask(purpose, told(role, facts), lambda answer: read_message(answer, rules), seed)
        self._lines.append({"speaker": speaker, "text": text})
        return text


def must_say(query: Query) -> list[str]:
    """The texts a message has to hold, so that every value of the calls can be read out of the conversation."""
    if query.manner in ("again", "irrelevant"):
        return []
    texts: list[str] = []
    for at, spoken in enumerate(query.calls):
        for name, text in spoken.said.items():
            held = name in query.withheld
            settled = at == 0 and ((query.manner == "goal" and held) or (query.manner == "supply" and not held))
            if text and name not in spoken.pronouns and not settled:
                texts.append(text)
    return list(dict.fromkeys(texts))


def _withheld(query: Query) -> list[str]:
    """The texts that may not be said yet: not those that are said anyhow."""
    if query.manner != "goal":
        return []
    first, open_ = query.calls[0], must_say(query)
    held = [first.said[name] for name in sorted(query.withheld - first.pronouns) if name in first.said]
    return [text for text in held if text and text not in open_]


def _request(query: Query, spoken: Spoken, description: str) -> dict[str, Any]:
    hidden = query.withheld if query.manner == "goal" else frozenset[str]()
    said = {noun(name): text for name, text in spoken.said.items() if name not in hidden}
    return {"wants": description, "values": said, "pointed_at": sorted(noun(name) for name in spoken.pronouns)}


def _outcome(made: Made) -> dict[str, Any]:
    return {"tool": made.tool, "arguments": made.arguments, "result": canonical_json(made.value)[:_RESULT]}


def _figures(value: Any) -> Iterator[str]:
    """Every way in which a value's figures may be named, how many members its lists have among them."""
    if isinstance(value, dict):
        for member in value.values():
            yield from _figures(member)
    elif isinstance(value, list):
        yield str(len(value))
        for member in value:
            yield from _figures(member)
    elif isinstance(value, str | int) and value != "":
        for kind in _WAYS:
            yield from ways(kind, value)
