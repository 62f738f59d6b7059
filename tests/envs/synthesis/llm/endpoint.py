"""A chat endpoint on a port of this machine: a small program answers in place of a model, or misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from palaestra.envs.tools.synthesis.graph import shipped_graphs
from palaestra.envs.tools.synthesis.llm_prompts import CALL, PAIR, QUERY, REPLY, REWORD, USER
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.mcp_servers.transports.listening import bind_port, make_server

KEY = "sk-Test/0123456789abcdef"
VARIABLE = "PALAESTRA_TEST_LLM_KEY"
Behaviour = Callable[[Request], Awaitable[Response]]


def completion(text: str, *, tokens: int | None = 50, reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
    return {"id": "x", "object": "chat.completion", "choices": [choice], **usage}


def says(text: str, **how: Any) -> Behaviour:
    """Answers with this text."""

    async def answer(_: Request) -> Response:
        return JSONResponse(completion(text, **how))

    return answer


def sends(content: bytes, status: int = 200, **headers: str) -> Behaviour:
    """Answers with these bytes."""

    async def answer(_: Request) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(content, status, named, "application/json")

    return answer


async def hangs(request: Request) -> Response:
    """Says nothing until the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


async def breaks_off(_: Request) -> Response:
    """Closes the connection in the middle of the answer."""

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"choices": [{"mess'
        raise ConnectionError("the endpoint breaks off, as planned")

    return StreamingResponse(parts(), media_type="application/json")


async def drips(request: Request) -> Response:
    """Sends a blank now and then, for ever."""

    async def parts() -> AsyncIterator[bytes]:
        gone = asyncio.ensure_future(hangs(request))
        while not (await asyncio.wait([gone], timeout=0.02))[0]:
            yield b" "

    return StreamingResponse(parts(), media_type="application/json")


async def floods(_: Request) -> Response:
    """Sends more than anybody should read."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b" " * 2**20

    return StreamingResponse(parts(), media_type="application/json")


async def echoes_the_key(request: Request) -> Response:
    """Refuses, and repeats what it was sent."""
    return JSONResponse({"error": f"bad key {request.headers['authorization']}"}, 401)


@dataclass
class Endpoint:
    """What the endpoint does and has seen.

    Attributes:
        planned: what the next requests get, None for a good answer; then each gets one.
        bodies: every request, in the order they came.
        most: requests that were under way at once, at most.
        waits_for: requests that must be under way before any is answered.
        reached: is set once so many requests have come.
    """

    url: str = ""
    think: Callable[[dict[str, Any]], str] = lambda body: answer_of(body)
    planned: deque[Behaviour | None] = field(default_factory=deque)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most: int = 0
    now: int = 0
    waits_for: int = 0
    enough: int = 10**9
    reached: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if len(self.bodies) >= self.enough:
            self.reached.set()
            return await hangs(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with asyncio.timeout(10):
                while self.most < self.waits_for:
                    await asyncio.sleep(0)
            behaviour = self.planned.popleft() if self.planned else None
            return JSONResponse(completion(self.think(body))) if behaviour is None else await behaviour(request)
        finally:
            self.now -= 1

    def settings(self, **changes: Any) -> LlmSettings:
        """Settings that reach the endpoint."""
        given: dict[str, Any] = {"base_url": self.url, "model": "small", "max_requests": 10_000, "max_tokens": 10**9}
        return LlmSettings(**{**given, "timeout_s": 20.0, **changes})


@contextmanager
def running() -> Iterator[Callable[[], Endpoint]]:
    """A server in a thread, on a free port; each call puts a fresh endpoint in the place of the one before."""
    listener = bind_port("127.0.0.1", 0)
    current = Endpoint()

    async def answer(request: Request) -> Response:
        return await current.answer(request)

    def fresh() -> Endpoint:
        nonlocal current
        current = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        return current

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield fresh
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def answer_of(body: dict[str, Any]) -> str:
    """What a well-behaved model says: it reads the facts and does as it is told."""
    role, facts = body["messages"][0]["content"], json.loads(body["messages"][1]["content"])
    answers = {PAIR: _pair, CALL: _call, QUERY: _query, REPLY: _reply, USER: _query, REWORD: _query}
    return json.dumps(answers[role](facts, body["seed"]))


def _pair(facts: dict[str, Any], _: int) -> dict[str, str]:
    a, b = facts["a"]["name"], facts["b"]["name"]
    kinds = {pair: edge.kind for graph in shipped_graphs().values() for pair, edge in graph.needs().items()}
    return {"a_then_b": kinds.get((a, b), "none"), "b_then_a": kinds.get((b, a), "none")}


def _call(facts: dict[str, Any], seed: int) -> dict[str, Any]:
    tried = [one["arguments"] for one in facts["refused"]]
    found = [one for one in facts["examples"] if one not in tried]
    link = facts["link"]
    if link is not None and link["kind"] == "explicit":
        found = [one for one in found if link["argument"] in one]
        found = [one for one in found if json.dumps(one[link["argument"]]) in facts["so_far"][-1]["result"]]
    waiting = [value for one in (facts["ahead"] or {}).get("waiting", ()) for value in one.values()]
    found = [one for one in found if any(value in waiting for value in one.values())] or found
    if not found:
        return {"give_up": "nothing fits"}
    if link is not None and link["kind"] == "implicit":
        return {"tool": facts["tool"]["name"], "arguments": found[0]}
    return {"tool": facts["tool"]["name"], "arguments": found[seed % len(found)]}


def _query(facts: dict[str, Any], _: int) -> dict[str, str]:
    said = ", ".join(facts["must_say"])
    return {
        "message": " ".join(filter(None, [facts.get("topic", "I need some help."), f"About {said}." if said else ""]))
    }


def _reply(facts: dict[str, Any], _: int) -> dict[str, str]:
    return {"message": facts["task"]}
