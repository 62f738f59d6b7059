"""The gate before every listener: Host and Origin on every route, then the bearer token. One place, no exceptions.

Host and Origin are checked against DNS rebinding: a page in a browser on this machine must not reach a tool server
through a name of its own. `/healthz` needs no token, because it says nothing, but it is checked like all others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.carriers import PRINCIPAL
from palaestra.mcp_servers.framework.tokens import same

HEALTH: Final = "/healthz"
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
MIN_TOKEN: Final = 16
_READ: Final = (b"host", b"origin", b"authorization")
_REMEMBERED: Final = 64
MAX_BODY: Final = 4 * 1024 * 1024


class Gate:
    """Lets only requests through that name a known host, come from a known origin and carry a known token.

    Args:
        app: what stands behind it.
        hosts: names by which the service is reached, without ports; any port is accepted.
        tokens: principal -> bearer token; empty = none is asked for.

    Answers 421 to a foreign Host, 403 to a foreign Origin, 401 without a token. Raises: ConfigError "weak_token" or
    "shared_token" for tokens that protect nothing.
    """

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...] = LOCAL_HOSTS, tokens: Mapping[str, str]) -> None:
        self._app = WholeBodies(app)
        self._passed: set[tuple[bytes, bytes | None]] = set()
        self._tokens = check_tokens(tokens)
        self._users = {who: AuthenticatedUser(AccessToken(token="", client_id=who, scopes=[])) for who in tokens}
        named = [form for host in hosts for form in (host, f"{host}:*")]
        origins = [f"{scheme}://{form}" for form in named for scheme in ("http", "https")]
        self._names = TransportSecurityMiddleware(
            TransportSecuritySettings(allowed_hosts=named, allowed_origins=origins)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        refusal = await self._check_names(scope, headers.get(b"host", b""), headers.get(b"origin"))
        if refusal is None and self._tokens and scope["path"] != HEALTH:
            given = headers.get(b"authorization", b"").decode("latin-1")
            # Every token is compared, so that the time taken tells nothing.
            known = [who for who, token in self._tokens.items() if same(given, f"Bearer {token}")]
            if known:
                # The user binds the SDK's own 2025-11-25 sessions to the principal, too.
                scope = {**scope, PRINCIPAL: known[0], "user": self._users[known[0]]}
            else:
                refusal = PlainTextResponse("a bearer token is needed", 401, {"www-authenticate": "Bearer"})
        await (self._app if refusal is None else refusal)(scope, receive, send)

    async def _check_names(self, scope: Scope, host: bytes, origin: bytes | None) -> Response | None:
        """The refusal of a foreign Host or Origin. What passed once passes: the SDK's check costs 20 us."""
        if (host, origin) in self._passed:
            return None
        refusal = await self._names.validate_request(Request(scope))
        if refusal is None and len(self._passed) < _REMEMBERED:
            self._passed.add((host, origin))
        return refusal


class WholeBodies:
    """Reads each request's body to its end before anything else sees it, and drops it if it is too large or breaks off.

    Answers 413 above 4 MiB. A client that leaves in the middle is not worth a traceback in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY:
                await PlainTextResponse(f"the body is larger than {MAX_BODY} bytes", 413)(scope, receive, send)
                return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            found, whole = whole, None
            return found if found is not None else await receive()

        await self._app(scope, replay, send)


async def answer_health(_: Request) -> Response:
    """The process is up and its loop runs: a server that cannot answer calls cannot answer this."""
    return PlainTextResponse("ok")


def check_tokens(tokens: Mapping[str, str]) -> dict[str, str]:
    """The tokens. Raises: ConfigError "weak_token", "shared_token" naming the principals, never a token."""
    for who, token in tokens.items():
        if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigError(
                "weak_token", f"the token of {who!r} needs {MIN_TOKEN} or more visible ASCII characters and no blanks"
            )
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError("shared_token", f"two of {', '.join(tokens)} have one token; give each its own")
    return dict(tokens)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("tools.example")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
