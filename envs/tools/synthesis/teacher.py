"""Who writes a conversation: proposes what tools need, what the user says, what is called next, what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from palaestra.envs.tools.synthesis.chains import Paths
from palaestra.envs.tools.synthesis.graph import Graph
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.scene import Made, Spoken
from palaestra.mcp_servers.framework.server import ToolServer

Manner = Literal["ask", "follow_up", "goal", "supply", "again", "instead", "irrelevant"]
"""What a message does: ask for everything; go on; name a goal only; say what was missing; ask again once a tool is
there; drop it and ask for something else; ask for what no tool does."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a message of the user must get across.

    Attributes:
        calls: what is asked for, in order, with every value that has to be said.
        withheld: arguments of the first call that must not be said.
        asked: those of them that the assistant has to ask for.
        opening: whether it is the first message of the conversation.
    """

    manner: Manner
    server: str
    calls: tuple[Spoken, ...] = ()
    withheld: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ()
    opening: bool = False


class Teacher(Protocol):
    """Writes what people and programs say; the pipeline checks all of it on the live servers.

    Raises, from every method: whatever its source raises; nothing it writes is trusted.
    """

    kind: str

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of the questions it had to ask of somebody, so far."""
        ...

    def propose_graph(self, server: ToolServer) -> Graph:
        """What the tools of a server need from each other."""
        ...

    def next_action(self, world: Field, paths: Paths, rng: np.random.Generator) -> list[Call] | None:
        """The calls of one task, each of which works after the ones before; None if nothing was found this time."""
        ...

    def write_query(self, query: Query, rng: np.random.Generator) -> str:
        """What the user says."""
        ...

    def write_reply(self, query: Query, made: Sequence[Made], rng: np.random.Generator) -> str:
        """What a good assistant says after the calls of a turn were made."""
        ...

    def about(self) -> dict[str, Any]:
        """JSON-ready facts about the teacher, for the record."""
        ...
