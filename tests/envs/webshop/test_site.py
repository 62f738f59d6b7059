"""The web site over real HTTP: the same pages, the same rewards, nothing that a page's text could do."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from palaestra.envs.webshop import pages
from palaestra.envs.webshop.addresses import address_of, read_address
from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.markup import draw_page
from palaestra.envs.webshop.session import TABS, Shop, State, click
from palaestra.envs.webshop.site import IDLE_S, MOST_BYTES, make_site
from palaestra.envs.webshop.sources import open_source
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.transports.listening import bind_port, make_server


class PartReader(HTMLParser):
    """The texts of all elements marked as parts, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not self._inside, "a part holds text alone"
        if any(name == "data-part" for name, _ in attrs):
            self._inside = tag
            self.parts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.parts[-1] += data


def parts_of(html: str) -> list[str]:
    reader = PartReader()
    reader.feed(html)
    return reader.parts


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def token(self) -> str:
        return self.headers["location"].split("/")[2]


@dataclass
class Browser:
    """A client that follows nothing by itself."""

    port: int

    def get(self, path: str, **headers: str) -> Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, **form: str) -> Answer:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self._send("POST", path, urlencode(form).encode(), kind)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)
        finally:
            connection.close()


Run = Callable[..., Browser]


@pytest.fixture
def run() -> Iterator[Run]:
    running: list[tuple[Any, threading.Thread]] = []

    def start(settings: dict[str, Any] | None = None, **arguments: Any) -> Browser:
        listener = bind_port("127.0.0.1", 0)
        server = make_server(make_site(settings, **arguments))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return Browser(listener.getsockname()[1])

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def every_page(shop: Shop) -> list[State]:
    found = [State("start"), State("results", "soft"), State("results", "soft", 3), State("results", "qqq")]
    item = State("item", "soft blanket", 2, 17)
    (name, values), *_ = shop.product(item).options.items()
    found += [item, item._replace(options=((name, values[-1]),))]
    return found + [item._replace(page="tab", tab=tab, options=((name, values[0]),)) for tab in TABS]


def test_the_text_of_every_page_is_the_environments() -> None:
    source = open_source(WebShopConfig())
    goal = source.goals.at("test", 0)
    for state in [*every_page(source.shop), State("done", "soft", 1, 17, (("color", "it's <b>"),))]:
        parts = pages.page_parts(source.shop, goal.instruction, state, 0.5)
        drawn = draw_page(source.shop, goal, state, 0.5, {"r_type": 0.5, "r_att": 1.0})
        assert parts_of(drawn) == [text for _, text in parts], state


def test_addresses_lead_back_to_their_states() -> None:
    shop = open_source(WebShopConfig()).shop
    for state in every_page(shop):
        address = urlsplit(address_of(shop, state))
        assert read_address(shop, address.path, address.query) == state


@pytest.mark.parametrize(
    "address",
    [
        "/x", "/results", "/results?q=", "/results?q=a&p=0", "/results?q=a&p=x", "/results/1?q=a", "/item?q=a",
        "/item/none?q=a", "/item/{asin}/done?q=a", "/item/{asin}/x?q=a", "/item/{asin}?q=a&o=9.0", "/item/{asin}",
        "/item/{asin}?q=a&o=0.99", "/item/{asin}?q=a&o=-1.0", "/item/{asin}?q=a&o=0", "/done?q=a",
        "/item/{asin}/features/x?q=a", "/results?q=a&p=99999999999",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(address: str) -> None:
    shop = open_source(WebShopConfig()).shop
    parts = urlsplit(address.format(asin=shop.catalogue.products[0].asin))
    with pytest.raises(TaskError, match="no page"):
        read_address(shop, parts.path, parts.query)


def buy(browser: Browser, plan: list[str], entrance: str) -> str:
    """Follow a plan through links and forms as a browser would; the text of the last page."""
    token = browser.get(entrance).token
    base = f"/visit/{token}"
    chosen: dict[str, str] = {}
    page = browser.get(f"{base}/results?{urlencode({'q': plan[0][7:-1]})}")
    for action in plan[1:]:
        target = action[6:-1]
        links = dict((text.lower(), href) for href, text in re.findall(r'href="([^"]+)"[^>]*>([^<]*)', page.text))
        radios = dict((value, name) for name, value in re.findall(r'name="(o\d+)" value="([^"]*)"', page.text))
        if target in links:
            page = browser.get(links[target].replace("&amp;", "&"))
        elif target.replace("'", "&#x27;") in radios:
            chosen[radios[target.replace("'", "&#x27;")]] = target
        else:
            at = re.search(r'name="at" value="([^"]+)"', page.text)
            assert at is not None
            moved = browser.post(f"{base}/act", at=at[1].replace("&amp;", "&"), click=target, **chosen)
            assert moved.status == 303
            page = browser.get(moved.headers["location"])
    return page.text


def test_twenty_goals_are_bought_with_the_environments_scores(run: Run) -> None:
    browser = run()
    env = WebShopEnv(split="test")
    for index in range(20):
        env.reset(options={"index": index})
        plan = env.plan() or []
        if index % 2:
            del plan[2]  # forget an option
        for action in plan:
            last, reward, *_ = env.step(action)
        html = buy(browser, plan, f"/?split=test&index={index}")
        assert f'<output id="reward">{reward:.2f}</output>' in html
        assert " [SEP] ".join(parts_of(html)) == last
        assert (reward == 1.0) == (index % 2 == 0)


def test_the_first_purchase_counts(run: Run) -> None:
    browser = run()
    token = browser.get("/?split=test&index=1").token
    at = address_of(open_source(WebShopConfig()).shop, State("item", "x", 1, 5))
    for _ in range(2):
        assert browser.post(f"/visit/{token}/act", at=at, click="buy now").headers["location"] == f"/visit/{token}/done"
        first = browser.get(f"/visit/{token}/done").text
        at = address_of(open_source(WebShopConfig()).shop, State("item", "x", 1, 6))
    assert open_source(WebShopConfig()).shop.catalogue.products[5].asin in first
    assert browser.get(f"/visit/{token}/").status == 200  # looking around goes on


def test_visitors_get_different_goals_and_see_only_their_own(run: Run) -> None:
    browser = run(seed=4)
    tokens = [browser.get("/").token for _ in range(12)]
    assert len(set(tokens)) == 12
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    goals = {parts_of(browser.get(f"/visit/{token}/").text)[2] for token in tokens}
    assert len(goals) > 8


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/visit/none/", 410),
        ("/visit/{token}/nowhere", 404),
        ("/visit/{token}/done", 404),
        ("/visit/{token}/results?q=", 404),
        ("/?split=none", 400),
        ("/?task=none", 400),
        ("/?index=-1", 400),
        ("/?admin=1", 400),
        ("/nothing", 404),
    ],
)
def test_what_is_not_there_is_said_to_be_so(run: Run, path: str, status: int) -> None:
    browser = run()
    token = browser.get("/").token
    assert browser.get(path.format(token=token)).status == status


def test_forms_that_no_page_sent_are_refused(run: Run) -> None:
    browser = run()
    path = f"/visit/{browser.get('/').token}/act"
    item = address_of(open_source(WebShopConfig()).shop, State("item", "x", 1, 5))
    assert browser.post(path, at=item, click="next >").status == 400
    assert browser.post(path, at=item, click="search").status == 400
    assert browser.post(path, at=item).status == 400
    assert browser.post(path, click="buy now").status == 404
    assert browser.post(path, at="https://example.invalid/", click="buy now").status == 400
    assert browser.post(path, at=item, click="x" * MOST_BYTES).status == 413
    assert browser.post(path, **{f"k{i}": "v" for i in range(101)}).status == 400
    assert browser.get(path).status in (404, 405)
    assert browser.post(path, at=item, click="description", o0="no such value").headers["location"].endswith("q=x&p=1")


def test_idle_visits_are_forgotten(run: Run) -> None:
    now = [1000.0]
    browser = run(clock=lambda: now[0])
    idle, busy = browser.get("/").token, browser.get("/").token
    now[0] += IDLE_S - 1
    assert browser.get(f"/visit/{busy}/").status == 200
    now[0] += 2
    assert browser.get(f"/visit/{busy}/").status == 200
    assert browser.get(f"/visit/{idle}/").status == 410


def test_other_names_of_the_host_are_refused(run: Run) -> None:
    browser = run(hosts=("shop.example",))
    assert browser.get("/", host="evil.example").status == 400
    assert browser.get("/", host="shop.example").status == 303


def test_pages_forbid_scripts_and_everything_from_elsewhere(run: Run) -> None:
    browser = run()
    page = browser.get(f"/visit/{browser.get('/').token}/results?q=lamp")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in page.text
    assert not re.search(r'(?:src|href)="(?!/)', page.text)
    assert browser.get("/shop.css").headers["content-type"].startswith("text/css")


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;{{7*7}}\u202e"


def test_hostile_product_texts_stay_text(tmp_path: Path) -> None:
    record = {
        "asin": "B1", "name": HOSTILE, "category": HOSTILE, "query": HOSTILE, "product_category": HOSTILE,
        "full_description": HOSTILE, "small_description": [HOSTILE, HOSTILE], "pricing": "$1",
        "customization_options": {HOSTILE: [{"value": HOSTILE}, {"value": "plain"}]},
    }  # fmt: skip
    said = {"instruction": HOSTILE, "instruction_attributes": [HOSTILE], "instruction_options": [HOSTILE]}
    (tmp_path / "items_shuffle.json").write_text(json.dumps([record]))
    (tmp_path / "items_ins_v2.json").write_text(json.dumps({"B1": {"attributes": [HOSTILE]}}))
    (tmp_path / "items_human_ins.json").write_text(json.dumps({"B1": [said]}))
    source = open_source(WebShopConfig(catalogue=str(tmp_path), show_attrs=True))
    shop, goal = source.shop, source.goals.at("all", 0)
    item = State("item", HOSTILE, 1, 0)
    chosen = click(shop, item, "plain")
    states = [State("start"), State("results", HOSTILE), item, chosen, chosen._replace(page="done")]
    states += [item._replace(page="tab", tab=tab) for tab in (*TABS, "attributes")]
    for state in states:
        html = draw_page(shop, goal, state, 0.5, {"r_type": 1.0, "r_att": 1.0, "r_option": 1.0}, base='/"><b>')
        assert parts_of(html) == [text for _, text in pages.page_parts(shop, goal.instruction, state, 0.5)]
        assert not re.search(r"<(?:script|img|b)\b", html), state
        PartReader().feed(html)


def test_the_program_serves_until_it_is_told_to_stop() -> None:
    code = (
        "from palaestra.envs.webshop.site import serve\n"
        "serve({'catalogue': 'corner'}, seed=1, on_start=lambda url: print(url, flush=True))\nprint('over')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = urlsplit(process.stdout.readline().strip()).port
        assert port is not None
        assert Browser(port).get("/").status == 303
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == "over\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait(20)
