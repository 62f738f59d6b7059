"""The shop as a web site: the same states and moves behind real pages, for people and for browser agents.

Every visitor gets a goal and a token; the address of a page is the state it shows, so that the back button, a second
tab and a copied link work. A form sends the state it was drawn from, the options chosen and the button pressed, and
`session.click` does the rest. The first purchase of a visit counts. No script, no cookie, nothing from elsewhere.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from palaestra.envs.core.errors import PalaestraError, TaskError
from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.webshop import pages
from palaestra.envs.webshop.addresses import address_of, read_address
from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.goals import Goal
from palaestra.envs.webshop.markup import draw_page
from palaestra.envs.webshop.reward import purchase_reward
from palaestra.envs.webshop.session import DONE, ITEM, SEARCH, Shop, State, click
from palaestra.envs.webshop.sources import Source, open_source, select
from palaestra.mcp_servers.framework.sources import Clock, system_clock
from palaestra.mcp_servers.transports.listening import Listener, bind_port, stop_on_signals
from palaestra.mcp_servers.transports.listening import serve as serve_sockets

IDLE_S: Final = 30 * 60
MOST_VISITS: Final = 10_000
MOST_BYTES: Final = 65_536
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@dataclass(slots=True)
class Visit:
    """One person's errand; `bought`, `score` and `why` are set by the first purchase."""

    goal: Goal
    seen_s: float
    bought: State | None = None
    score: float = 0.0
    why: Mapping[str, Any] = field(default_factory=dict)


class Visits:
    """Who is in the shop: at most 10,000, forgotten after half an hour without a request."""

    def __init__(self, source: Source, config: WebShopConfig, seed: int, clock: Clock) -> None:
        self._source, self._config, self._clock = source, config, clock
        self._root = derive_seed(seed, "webshop", "visits")
        self._count = 0
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._visits)

    def begin(self, options: Mapping[str, Any]) -> str:
        """A new visit's token of 128 random bits; `options` as for the environment's reset.

        Raises: TaskError for unknown options or goals.
        """
        goal = select(self._source, self._config, options, self._root, self._count)
        self._count += 1
        self._forget()
        token = secrets.token_hex(16)
        self._visits[token] = Visit(goal, self._clock())
        return token

    def find(self, token: str) -> Visit:
        """The visit of a token. Raises: TaskError "unknown_visit"."""
        self._forget()
        visit = self._visits.get(token)
        if visit is None:
            raise TaskError("unknown_visit", "this visit is over or never began; open the front page for a new task")
        visit.seen_s = self._clock()
        self._visits.move_to_end(token)
        return visit

    def _forget(self) -> None:
        """Oldest first, so the cost is what is forgotten."""
        while self._visits:
            token, visit = next(iter(self._visits.items()))
            if len(self._visits) < MOST_VISITS and self._clock() - visit.seen_s <= IDLE_S:
                return
            del self._visits[token]


class Site:
    """The handlers; everything between two awaits of a request runs without another request in between."""

    def __init__(self, shop: Shop, visits: Visits) -> None:
        self._shop, self.visits = shop, visits
        self._style = (files("palaestra.envs.webshop") / "data" / "shop.css").read_text("utf-8")

    async def enter(self, request: Request) -> Response:
        """Begin a visit: `/`, or with a goal of one's choice `/?task=ID`, `/?split=test&index=3`."""
        options: dict[str, Any] = dict(request.query_params)
        if "index" in options and options["index"].isdecimal() and len(options["index"]) < 10:
            options["index"] = int(options["index"])
        return RedirectResponse(f"/visit/{self.visits.begin(options)}/", 303)

    async def style(self, _: Request) -> Response:
        """The style sheet."""
        return Response(self._style, media_type="text/css", headers={"cache-control": "max-age=600"})

    async def show(self, request: Request) -> Response:
        """The page of an address."""
        token, path = request.path_params["token"], "/" + request.path_params["path"]
        visit, base = self.visits.find(token), f"/visit/{token}"
        if path == "/done" and visit.bought is not None:
            return HTMLResponse(draw_page(self._shop, visit.goal, visit.bought, visit.score, visit.why, base=base))
        state = read_address(self._shop, path, request.url.query)
        return HTMLResponse(draw_page(self._shop, visit.goal, state, 0.0, {}, base=base))

    async def act(self, request: Request) -> Response:
        """A form: the options that were chosen are clicked, then the button."""
        sent = _read_form(await _read_body(request))
        token = request.path_params["token"]
        visit, base = self.visits.find(token), f"/visit/{token}"
        at = urlsplit(sent.get("at", ""))
        state = self._choose(read_address(self._shop, at.path, at.query), sent)
        target = sent.get("click", "")
        shown = pages.clickables(pages.page_parts(self._shop, visit.goal.instruction, state))
        if target == SEARCH or target not in shown:
            raise TaskError("unknown_click", f"{target[:80]!r} cannot be clicked on this page")
        state = click(self._shop, state, target)
        if state.page != DONE:
            return RedirectResponse(base + address_of(self._shop, state), 303)
        if visit.bought is None:
            self._buy(visit, state)
        return RedirectResponse(f"{base}/done", 303)

    def _choose(self, state: State, sent: Mapping[str, str]) -> State:
        """The state after a click on every option that was chosen anew."""
        if state.page != ITEM:
            return state
        for place, (name, values) in enumerate(self._shop.product(state).options.items()):
            value = sent.get(f"o{place}")
            if value in values and dict(state.options).get(name) != value:
                state = click(self._shop, state, value)
        return state

    def _buy(self, visit: Visit, state: State) -> None:
        product = self._shop.product(state)
        visit.bought = state
        visit.score, visit.why = purchase_reward(
            product, product.price, dict(state.options), visit.goal, self._shop.tagger
        )


async def _read_body(request: Request) -> str:
    """The body of a form, up to 64 kB. Raises: TaskError "too_large"."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TaskError("too_large", f"a form of more than {MOST_BYTES} bytes")
    return body.decode("utf-8", "replace")


def _read_form(body: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(body, max_num_fields=100))
    except ValueError as error:
        raise TaskError("bad_form", f"this is no form of the shop: {error}") from error


_STATUS: Final = {"unknown_visit": 410, "unknown_page": 404, "too_large": 413}


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            response = await handler(request)
        except PalaestraError as error:
            response = PlainTextResponse(f"{error.message}\n", _STATUS.get(error.code, 400))
        response.headers.update(_HEADERS)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return answer


def make_site(
    settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    hosts: tuple[str, ...] = (),
    clock: Clock = system_clock,
) -> Starlette:
    """The site as an ASGI application.

    Args:
        settings: those of `WebShopConfig`; `max_steps`, `obs` and the rewards' form mean nothing here.
        seed: of the goals that visitors are given.
        hosts: names under which it is reached, besides those of this machine.
        clock: for the end of idle visits.
    Raises: as `open_source`.
    """
    config = WebShopConfig(**(settings or {}))
    source = open_source(config)
    site = Site(source.shop, Visits(source, config, seed, clock))
    return Starlette(
        routes=[
            Route("/", _guarded(site.enter)),
            Route("/shop.css", _guarded(site.style)),
            Route("/visit/{token}/act", _guarded(site.act), methods=["POST"]),
            Route("/visit/{token}/{path:path}", _guarded(site.show)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", *hosts])],
    )


def serve(
    settings: Mapping[str, Any] | None = None, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0,
    on_start: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve the shop until SIGINT or SIGTERM.

    Args:
        settings: as for `make_site`.
        host: address to listen on; loopback unless you say otherwise. There is no password.
        port: 0 takes any free one.
        seed: of the goals that visitors are given.
        on_start: told the address once it is bound.
    Raises: ConfigError "port_taken", "bad_address"; as `make_site`.
    """
    app = make_site(settings, seed=seed, hosts=(host,))
    bound = bind_port(host, port)
    shown = f"[{host}]" if ":" in host else host

    async def run() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as group:
            await group.start(stop_on_signals, stop)
            on_start(f"http://{shown}:{bound.getsockname()[1]}/")
            await serve_sockets([Listener(app, bound)], stop)

    with bound:
        anyio.run(run)
