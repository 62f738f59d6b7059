"""A model's view of which tools need each other, held against what happens when they are called.

Every pair of tools is one question. A dependency the model names counts only where calls show it: the execution test of
`graph` has found it, and its example, made again now, still does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any, Final

from palaestra.envs.core.config import Settings
from palaestra.envs.tools.schemas import function_of, shown_schema
from palaestra.envs.tools.synthesis.graph import Edge, Graph
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_prompts import PAIR, told
from palaestra.envs.tools.synthesis.llm_reading import Needs, PairAnswer, read_as
from palaestra.envs.tools.synthesis.machine import Dropped
from palaestra.envs.tools.synthesis.probing import replay
from palaestra.envs.tools.synthesis.products import made_up
from palaestra.envs.tools.synthesis.recording import shows
from palaestra.envs.tools.synthesis.sampling import PAGE, Call
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import derive_seed
from palaestra.mcp_servers.framework.spec import ToolSpec

_CALLS: Final = 10**9
Answers = Mapping[tuple[str, str], Needs]
"""(source, target) -> what the model says of that order."""


class Agreement(Settings):
    """How a model's answers compare with execution, in ordered pairs of tools.

    Attributes:
        asked: ordered pairs.
        unanswered: of these, the ones whose answers could not be read.
        confirmed: the model and execution say the same kind.
        other_kind: both see a dependency, of different kinds; execution's is kept.
        refuted: the model sees one that no call shows.
        missed: calls show one that the model does not see.
    """

    asked: int
    unanswered: int
    confirmed: int
    other_kind: int
    refuted: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the dependencies the model named that execution shows; 1 if it named none."""
        found = self.confirmed + self.other_kind
        return found / (found + self.refuted) if found + self.refuted else 1.0

    @property
    def recall(self) -> float:
        """Share of the dependencies execution shows that the model named; 1 if there are none."""
        found = self.confirmed + self.other_kind
        return found / (found + self.missed) if found + self.missed else 1.0


def ask_pairs(chat: Chat, server: ToolServer) -> Answers:
    """What the model says of every pair of tools, asked several at a time; pairs it gave no usable answer are left out.

    Raises: as `Chat.complete`; what was answered by then is in the cache. Cost: n(n-1)/2 requests for n tools.
    """
    shown = {name: function_of(spec, shown_schema(spec))["function"] for name, spec in server.tools.items()}
    outputs = {name: sorted(spec.output_schema().get("properties", {})) for name, spec in server.tools.items()}
    about = {name: {**shown[name], "returns": outputs[name]} for name in shown}

    def ask(pair: tuple[str, str]) -> PairAnswer | None:
        a, b = pair
        seed = derive_seed(chat.settings.seed, "pair", server.name, a, b)
        try:
            return chat.ask("pair", told(PAIR, {"a": about[a], "b": about[b]}), lambda t: read_as(PairAnswer, t), seed)
        except Dropped:
            return None

    pairs = list(combinations(server.tools, 2))
    found: dict[tuple[str, str], Needs] = {}
    with ThreadPoolExecutor(chat.settings.concurrency) as pool:
        for (a, b), answer in zip(pairs, pool.map(ask, pairs), strict=True):
            if answer is not None:
                found[a, b], found[b, a] = answer.a_then_b, answer.b_then_a
    return found


def confirmed_graph(
    server: ToolServer, answers: Answers, evidence: Callable[[ToolServer], Graph]
) -> tuple[Graph, Agreement]:
    """The edges that the model names and execution shows, and how the two agree. Costs two replays per edge.

    Args:
        server: whose tools they are.
        answers: of `ask_pairs`.
        evidence: the graph found by execution; edges that block belong to it alone and are kept.
    """
    executed = evidence(server)
    shown: dict[tuple[str, str], set[str]] = {}
    kept: list[Edge] = []
    with EpisodeStore([server], limits=Limits(calls=_CALLS)) as store:
        for edge in executed.edges:
            pair = (edge.source, edge.target)
            if edge.kind == "blocks":
                kept.append(edge)
            elif _holds(store, server, edge):
                shown.setdefault(pair, set()).add(edge.kind)
                if answers.get(pair, "none") != "none":
                    kept.append(edge)
    asked = len(server.tools) * (len(server.tools) - 1)
    named = {pair: kind for pair, kind in answers.items() if kind != "none"}
    agreement = Agreement(
        asked=asked, unanswered=asked - len(answers),
        confirmed=sum(kind in shown.get(pair, ()) for pair, kind in named.items()),
        other_kind=sum(pair in shown and kind not in shown[pair] for pair, kind in named.items()),
        refuted=sum(pair not in shown for pair in named),
        missed=sum(pair not in named for pair in shown),
    )  # fmt: skip
    return executed.model_copy(update={"edges": tuple(kept)}), agreement


def _holds(store: EpisodeStore, server: ToolServer, edge: Edge) -> bool:
    """Whether the edge's example, made again from its seed, shows the edge."""
    handle, episode = store.open([server.name], seed=edge.seed)
    try:
        *before, (source, given), (tool, arguments) = [(name, dict(arguments)) for name, arguments in edge.calls]
        given = _whole_page(server.tools[source], given)
        values = replay(episode, [*before, (source, given), (tool, arguments)])
        if values is None:
            return False
        if edge.kind == "implicit":
            return _refused(episode, before, (tool, arguments))
        slot = next((slot for slot in slots_of(server.tools[tool]) if slot.name == edge.label), None)
        if slot is None or not shows(values[-2], arguments[slot.name]):
            return False
        return _refused(episode, [*before, (source, given)], (tool, {**arguments, slot.name: made_up(slot, server)}))
    finally:
        store.end(handle)


def _whole_page(spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """A READ with its largest page: examples leave paging out, and what they show may stand on a later page."""
    pages = {"limit", "cursor"} <= spec.input_model.model_fields.keys()
    return {**arguments, "limit": PAGE} if pages else arguments


def _refused(episode: Episode, before: Sequence[Call], call: Call) -> bool:
    return replay(episode, before) is not None and dispatch(episode, *call).fault is not None
