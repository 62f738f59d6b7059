"""The stdio door: one process, one client, which is the parent. It ends with its input, and with its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

MAX_LINE: Final = 4 * 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1
_GRACE_S: Final = 5


async def serve_stdio(server: Server[dict[str, Any]]) -> None:
    """Serve one connection over this process's standard input and output until the input ends.

    Meanwhile standard input reads as empty and standard output goes to standard error: only messages are on the wire.
    """
    # The SDK's own streams cost a thread switch per line and cannot be cancelled while they wait for one.
    async with (
        _wire() as (reader, writer),
        stdio_server(cast(Any, _Lines(reader)), cast(Any, _Text(writer))) as (messages, answers),
    ):
        await server.run(messages, answers, server.create_initialization_options())


class _Lines:
    """The messages of a client, one per line; one that is too long arrives as a line that is no message."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise StopAsyncIteration from None
            line = error.partial
        except asyncio.LimitOverrunError:
            await self._skip()
            return f"a line longer than {MAX_LINE} bytes"
        return line.decode("utf-8", "replace")

    async def _skip(self) -> None:
        """Drop what is left of a line."""
        while True:
            try:
                await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
            except asyncio.IncompleteReadError:
                return


class _Text:
    """Where the answers go."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> None:
        self._writer.write(text.encode())

    async def flush(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            raise anyio.ClosedResourceError from None  # the client is gone: the end of the input follows


@asynccontextmanager
async def _wire() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Standard input and output as streams, while the descriptors themselves lead elsewhere."""
    sys.stdout.flush()
    private_in, private_out = _as_pipe(os.dup(0), reads=True), _as_pipe(os.dup(1), reads=False)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE)
    source, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(private_in, "rb", buffering=0)
    )
    sink, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(private_out, "wb", buffering=0)
    )
    try:
        yield reader, asyncio.StreamWriter(sink, protocol, None, loop)
    finally:
        source.close()
        sink.close()


def _as_pipe(descriptor: int, *, reads: bool) -> int:
    """A descriptor an event loop can wait for; a file or terminal gets a pipe and a thread that serves it."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return descriptor
    ours, theirs = os.pipe()
    ends = (descriptor, theirs) if reads else (ours, descriptor)

    def pump() -> None:
        with os.fdopen(ends[0], "rb", buffering=0) as source, os.fdopen(ends[1], "wb", buffering=0) as sink:
            shutil.copyfileobj(source, sink, 65_536)

    threading.Thread(target=pump, name="stdio-pump", daemon=reads).start()
    return ours if reads else theirs


def end_with_parent() -> None:
    """On Linux, terminate this process when its parent dies, however it dies, also while another holds our input open.

    The kernel tells the end of the thread that started us, which may come long before its process's: so the signal
    asks whether the parent is really gone. Elsewhere the end of standard input has to do.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()

    def check(*_: object) -> None:
        if os.getppid() != parent:
            signal.alarm(_GRACE_S)  # ends us even if the event loop never gets to SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGUSR2, check)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR2, 0, 0, 0)
    check()  # it may have died before the line above
