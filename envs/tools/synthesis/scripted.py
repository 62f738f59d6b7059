"""The scripted teacher: no model, only phrases; the same words for the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from palaestra.envs.tools.synthesis.bindings import pick
from palaestra.envs.tools.synthesis.chains import Paths, bind
from palaestra.envs.tools.synthesis.everyday import called, everyday_request, sentences
from palaestra.envs.tools.synthesis.graph import Graph, graph_of
from palaestra.envs.tools.synthesis.phrases import Phrases, Wording, phrases_of, wording
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.scene import Made, Spoken
from palaestra.envs.tools.synthesis.speaking import noun, say
from palaestra.envs.tools.synthesis.teacher import Query
from palaestra.mcp_servers.framework.server import ToolServer


class Scripted:
    """Builds requests and replies from phrases/<server>.toml."""

    kind = "scripted"
    counts: Mapping[str, int] = MappingProxyType({})

    def propose_graph(self, server: ToolServer) -> Graph:
        """The graph that ships with the package. Raises: TaskError "stale_graph"."""
        return graph_of(server)

    def next_action(self, world: Field, paths: Paths, rng: np.random.Generator) -> list[Call] | None:
        """A path of the graph, bound in the world."""
        return bind(world, paths.draw(rng), paths, rng)

    def about(self) -> dict[str, Any]:
        """Kind, and no model."""
        return {"kind": self.kind, "model": None}

    def write_query(self, query: Query, rng: np.random.Generator) -> str:
        """The message, with a greeting or a thank-you now and then."""
        phrases = phrases_of(query.server)
        match query.manner:
            case "irrelevant":
                text = everyday_request(rng)
            case "again":
                text = str(pick(sentences("again"), rng))
            case "goal":
                text = self._goal(query, phrases, rng)
            case "supply":
                text = self._supply(query, phrases, rng)
            case "instead":
                text = f"{pick(sentences('instead'), rng)} {self._requests(query, phrases, rng)}"
            case _:
                text = self._requests(query, phrases, rng)
        if query.opening:
            opener, closer = str(pick(phrases.openers, rng)), str(pick(phrases.closers, rng))
            text = f"{opener}{text}" if rng.random() < 0.5 or not closer else f"{text}{closer}"
        return text

    def _requests(self, query: Query, phrases: Phrases, rng: np.random.Generator) -> str:
        first, *rest = query.calls
        bends = query.manner == "follow_up" and first.pronouns
        text = _sentence(self._request(first, phrases, "then" if bends else "ask", rng))
        for spoken in rest:
            text = _join(text, self._request(spoken, phrases, "then", rng))
        return text

    def _request(self, spoken: Spoken, phrases: Phrases, form: str, rng: np.random.Generator) -> str:
        tool = phrases.of(spoken.tool, tuple(spoken.said))
        offered: tuple[Wording, ...] = getattr(tool, form) or tool.ask
        fitting = [one for one in offered if one.suits(spoken.said)] or [
            one for one in tool.ask if one.suits(spoken.said)
        ]
        if fitting:
            chosen = pick(fitting, rng)
            return str(chosen.fill(spoken.said, spoken.pronouns))
        partly = [one for one in offered if one.needed <= spoken.said.keys()] or [
            wording(f"please {noun(spoken.tool)}")
        ]
        most = max(len(one.possible & spoken.said.keys()) for one in partly)
        chosen = pick([one for one in partly if len(one.possible & spoken.said.keys()) == most], rng)
        left = {name: text for name, text in spoken.said.items() if name not in chosen.possible}
        return _and_also(chosen.fill(spoken.said, spoken.pronouns), left)

    def _goal(self, query: Query, phrases: Phrases, rng: np.random.Generator) -> str:
        """The goal, and what is not withheld in sentences of its own."""
        spoken = query.calls[0]
        open_ = {name: text for name, text in spoken.said.items() if name not in query.withheld}
        tool = phrases.of(spoken.tool, tuple(spoken.said))
        fitting = [one for one in tool.goal if one.needed <= open_.keys()] or [
            wording(f"I need to {noun(spoken.tool)}.")
        ]
        chosen = pick(fitting, rng)
        rest = {name: text for name, text in open_.items() if name not in chosen.possible}
        return " ".join([chosen.fill(open_, spoken.pronouns), *self._supplied(spoken, rest, phrases, rng)])

    def _supply(self, query: Query, phrases: Phrases, rng: np.random.Generator) -> str:
        """What was withheld, and then the calls that follow."""
        first, *rest = query.calls
        wanted = {name: text for name, text in first.said.items() if name in query.withheld}
        text = " ".join(self._supplied(first, wanted, phrases, rng)) or str(pick(sentences("yes"), rng))
        for spoken in rest:
            text = _join(text, self._request(spoken, phrases, "then", rng))
        return text

    def _supplied(
        self, spoken: Spoken, wanted: dict[str, str], phrases: Phrases, rng: np.random.Generator
    ) -> list[str]:
        supply = phrases.of(spoken.tool, tuple(spoken.said)).supply
        made = []
        for name in wanted:
            generic = tuple(wording(w.text.replace("{*}", f"{{{name}}}")) for w in supply.get("*", ()))
            offered = [one for one in (*supply.get(name, ()), *generic) if one.needed <= wanted.keys() | {name}]
            plain = wording(f"{called(name).capitalize()}: {{{name}}}.")
            made.append(str(pick(offered or [plain], rng).fill(wanted)))
        return [_sentence(text) for text in made]

    def write_reply(self, query: Query, made: Sequence[Made], rng: np.random.Generator) -> str:
        """What was done; or what is missing; or that there is no tool for it."""
        if query.manner in ("irrelevant",) or (query.manner in ("ask", "follow_up") and not made):
            return str(pick(sentences("no_tool"), rng))
        if query.manner == "goal":
            *names, last = [called(name) for name in query.asked] or ["one"]
            asked = f"{', the '.join(names)} and the {last}" if names else last
            found = f"{pick(sentences('found'), rng)} " if made else ""
            return found + str(pick(sentences("which"), rng)).replace("{what}", asked)
        phrases = phrases_of(query.server)
        done = [self._done(call, phrases, rng) for call in made if not call.lookup]
        return " ".join(done[-2:]) or "Done."

    def _done(self, call: Made, phrases: Phrases, rng: np.random.Generator) -> str:
        told: dict[str, str] = {}
        for name, value in call.value.items():
            if isinstance(value, str | int) and value != "":
                kind = phrases.slots.get(name, "raw")
                told[f"result.{name}"] = say("raw" if ":" in kind else kind, value, rng)
        arguments = {name: say(k if ":" not in (k := phrases.slots.get(name, "raw")) else "raw", value, rng)
                     for name, value in call.arguments.items()}  # fmt: skip
        told |= arguments
        fitting = [one for one in phrases.of(call.tool).done if one.needed <= told.keys()]
        return str(pick(fitting, rng).fill(told)) if fitting else "That is done."


def _sentence(text: str) -> str:
    text = text.strip()
    # A sentence that begins with a value (a path, a key) keeps it as it is.
    text = text[0].upper() + text[1:] if text[:1].isalpha() and text.split(" ", 1)[0].isalpha() else text
    return text if text.rstrip("”")[-1:] in ".?!" else text + "."


def _join(text: str, further: str) -> str:
    """One more wish behind others."""
    return f"{text} {_sentence(further)}"


def _and_also(text: str, left: dict[str, str]) -> str:
    told = " ".join(f"{called(name).capitalize()}: {value}." for name, value in left.items())
    return f"{_sentence(text)} {told}"
