"""What Palaestra promises about reliability and security, as data; `test_coverage.py` binds it to the tests both ways.

A statement says what must be true, not what is. A gap is recorded, never hidden: `deferred` says why no test carries
the id yet, `divergence` that a test pins a weaker behaviour than the statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import pytest

Tested = TypeVar("Tested", bound=Callable[..., object])
Door = Literal["in-process", "stdio", "http"]
ALL_DOORS: tuple[Door, ...] = ("in-process", "stdio", "http")


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise.

    Attributes:
        id: `R2`, or finer: `R2.extra-argument`.
        statement: what must be true.
        anchor: who set the bar.
        figure: how much of it is measured in the full tier.
        tier: "gate" if every change is tested to the full figure, "full" if the gate tests a smaller one.
        doors: transports the same test body must run over; None if it does not depend on them.
        divergence: what today's weaker behaviour is, if a test pins it.
        deferred: why no test carries the id; starts with "Covered by <path>", "Not implemented" or "Not yet covered".
    """

    id: str
    statement: str
    anchor: str
    figure: str
    tier: Literal["gate", "full"] = "full"
    doors: tuple[Door, ...] | None = None
    divergence: str | None = None
    deferred: str | None = None


_DOORS_HELD_EQUAL = (
    "The gate runs in process and over the in-memory client; stdio and HTTP are held equal to those, call by call on "
    "every story of every server in both revisions, by tests/mcp_servers/transports/test_doors.py"
)

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="R1",
        statement="No episode ever sees or changes another episode's state.",
        anchor="MCP best practice: bind state to its caller",
        figure="1,000 concurrent episodes, 1,000,000 calls, 0 leaks",
        doors=ALL_DOORS,
        divergence=_DOORS_HELD_EQUAL,
    ),
    Promise(
        id="R2",
        statement="Every malformed call gets a typed fault and leaves the state unchanged.",
        anchor="MCP tool errors",
        figure="343 tools x 1,000 calls, 100 % typed, 0 internal, 0 digest changes",
        doors=ALL_DOORS,
        divergence=_DOORS_HELD_EQUAL,
    ),
    Promise(
        id="R3",
        statement="The HTTP door never crashes and never answers 5xx, whatever bytes it gets.",
        anchor="schemathesis, the MCP SDK",
        figure="100,000 inputs, 0 answers 5xx, memory growth below 10 %",
        doors=("http",),
    ),
    Promise(
        id="R4",
        statement="The servers conform to the protocol revisions 2026-07-28 and 2025-11-25.",
        anchor="the official conformance suite",
        figure="100 % of the required server scenarios of both revisions, empty baseline",
        tier="gate",
        doors=("http",),
    ),
    Promise(
        id="R5",
        statement="The HTTP door enforces Host and Origin.",
        anchor="CVE-2025-66416, CVE-2025-66414, CVE-2026-34742 (DNS rebinding)",
        figure="100 % of Host/Origin x route, docker-compose names included",
        tier="gate",
        doors=("http",),
    ),
    Promise(
        id="R6",
        statement="An episode handle cannot be guessed and opens no other episode.",
        anchor="CVE-2025-6515, CVE-2026-33946",
        figure="1,000,000 guesses, 0 hits; 0 occurrences in artefacts",
        doors=ALL_DOORS,
        divergence=_DOORS_HELD_EQUAL,
    ),
    Promise(
        id="R7",
        statement="No argument is ever run as SQL or escapes its folder.",
        anchor="the injection report on the archived SQLite reference server",
        figure="343 tools x 200 payloads, 0 effects",
        doors=ALL_DOORS,
        divergence=_DOORS_HELD_EQUAL,
    ),
    Promise(
        id="R8",
        statement="What a tool or an environment says is data: it never becomes a control token or a trained token.",
        anchor="prompt injection",
        figure="10,000 outputs, 0 special tokens, 0 tool tokens in the loss mask",
    ),
    Promise(
        id="R9",
        statement="SIGKILL at any instant loses, duplicates and damages no acknowledged rollout.",
        anchor="SQLite",
        figure="1,000 kills: 0 lost, 0 duplicated, 0 damaged",
    ),
    Promise(
        id="R10",
        statement="A tool server that dies mid-episode gives a typed stop reason, spares siblings, leaves no orphan.",
        anchor="capture of errors into the rollout group",
        figure="500 faults: 0 hung runs, 100 % classified, recovery below 2 s",
        doors=("stdio", "http"),
    ),
    Promise(
        id="R11",
        statement="A run resumed from any checkpoint equals the run that never stopped, bit for bit.",
        anchor="nobody in the field promises it",
        figure="50 steps, resumed after every one, identical sha256 on CPU; on a GPU within one device type",
    ),
    Promise(
        id="R12",
        statement="A killed save leaves an intact checkpoint, the previous or the new one; any damage is found.",
        anchor="crash-safe writes",
        figure="200 kills: always one to load; 100 % of 10,000 bit flips found",
    ),
    Promise(
        id="R13",
        statement="The same seed and actions give the same observations, rewards and digests in any process.",
        anchor="deterministic simulation",
        figure="10,000 episodes, 0 differences",
    ),
    Promise(
        id="R13.servers",
        statement="The same seed and calls give a tool server's same results and digests in any process.",
        anchor="deterministic simulation",
        figure="10,000 episodes, 0 differences",
    ),
    Promise(
        id="R14",
        statement="Going back to a snapshot equals never having left it.",
        anchor="environment checkers",
        figure="every environment and server, 1,000 branches",
    ),
    Promise(
        id="R14.servers",
        statement="A tool server's branch from any call equals the run that never left it.",
        anchor="environment checkers",
        figure="every server, 1,000 branches",
    ),
    Promise(
        id="R15",
        statement="Rewards are pure and bounded, and no text a model writes raises them.",
        anchor="PROVE",
        figure="100 % of at least 50 hacks score below the honest solution",
        tier="gate",
    ),
    Promise(
        id="R16",
        statement="Decoding that is called lossless draws from exactly the target's distribution.",
        anchor="Bebop, CLP",
        figure="probability error below 1e-6 enumerated; p > 0.01 on 1,000,000 samples; 100 % greedy match",
        deferred="Not implemented: drafted decoding is not there yet",
    ),
    Promise(
        id="R17",
        statement="The gradient of every objective is the derivative of its loss.",
        anchor="rlax",
        figure="100 % of the objectives, relative error below 1e-7",
        tier="gate",
        deferred="Not yet covered: the objectives' tests do not carry the id",
    ),
    Promise(
        id="R18",
        statement="Nothing is ever read by a format that can run code, and nothing falls back to one.",
        anchor="CVE-2025-32434, CVE-2026-24747",
        figure="0 reads of pickle in the code, 0 pickles in the repository, planted payloads refused",
        tier="gate",
    ),
    Promise(
        id="R19",
        statement="Memory, descriptors, threads and database files do not grow with the number of episodes.",
        anchor="the MCP SDK's max_sessions and idle timeout",
        figure="1 h: slope below 1 MB per 10,000 episodes, 0 leaked descriptors",
    ),
    Promise(
        id="R20",
        statement="No dependency has a known critical vulnerability.",
        anchor="pip-audit",
        figure="0 known criticals",
        tier="gate",
        deferred="Not yet covered: the audit needs a network and is run before a release",
    ),
)

BY_ID = {promise.id: promise for promise in PROMISES}


def requirement(promise_id: str) -> Callable[[Tested], Tested]:
    """Say that a test proves a promise; several may be stacked. An unknown id fails at import."""
    if promise_id not in BY_ID:
        raise LookupError(f"{promise_id!r} is not in the ledger; known: {', '.join(BY_ID)}")

    def mark(test: Tested) -> Tested:
        pytest.mark.requirement(promise_id)(test)  # put on the test itself
        return test

    return mark
