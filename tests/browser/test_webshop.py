"""The web shop in a real browser: search, open, choose, buy, see the reward; by mouse, by keyboard, in two tabs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.site import make_site
from palaestra.mcp_servers.transports.listening import bind_port, make_server
from tests.cli.test_play_web import open_shop

DESKTOP = {"width": 1180, "height": 900}
PHONE = {"width": 360, "height": 740}


@dataclass
class Tab:
    """A page, with where its requests went and what it complained about."""

    page: Any
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def follow(self, plan: list[str]) -> None:
        """Do what the actions say with the things that the page shows."""
        for action in plan:
            word = action.partition("[")[2][:-1]
            if action.startswith("search"):
                self.page.fill("#search_input", word)
                self.page.click("text=Search")
            elif (radio := self.page.locator(f'input[type=radio][value="{word}"]')).count():
                radio.check()
            elif (link := self.page.locator(".product-link", has_text=word.upper())).count():
                link.click()
            else:
                self.page.locator("a.btn, button.btn").filter(has_text=word).first.click()

    @property
    def reward(self) -> str:
        return str(self.page.locator("#reward").text_content())


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The address of a shop on a port of its own."""
    listener = bind_port("127.0.0.1", 0)
    server = make_server(make_site())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


Visit = Callable[..., Tab]


@pytest.fixture
def visit(browser: Any, shop: str) -> Iterator[Visit]:
    """Opens the shop for a goal of the test split; keyword arguments go to `browser.new_context`."""
    contexts: list[Any] = []

    def opener(index: int, **settings: Any) -> Tab:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, **settings}))
        tab = Tab(contexts[-1].new_page())
        tab.page.on("request", lambda request: tab.hosts.add(str(urlsplit(request.url).hostname)))
        tab.page.on("console", lambda message: tab.complaints.append(message.text))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.goto(f"{shop}/?split=test&index={index}")
        return tab

    yield opener
    for context in contexts:
        context.close()


def plan_of(index: int) -> list[str]:
    env = WebShopEnv(split="test")
    env.reset(options={"index": index})
    return env.plan() or []


def score_of(index: int, plan: list[str]) -> float:
    env = WebShopEnv(split="test")
    env.reset(options={"index": index})
    return [env.step(action)[1] for action in plan][-1]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_command_opens_a_shop_to_buy_in(browser: Any, viewport: dict[str, int]) -> None:
    """`palaestra play webshop --web`: search, open, choose options, buy, see the reward, go on to another task."""
    with open_shop("--seed", 1) as (_, url):
        page = browser.new_page(viewport=viewport)
        for index, forgotten in ((3, 0), (5, 1)):
            plan = plan_of(index)
            del plan[2 : 2 + forgotten]
            page.goto(f"{url}?split=test&index={index}")
            Tab(page).follow(plan)
            assert page.text_content("#reward") == f"{score_of(index, plan):.2f}"
            assert (page.text_content("#reward") == "1.00") == (not forgotten)
        page.click("text=Next task")
        assert page.locator("#search_input").count() == 1
        page.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_ten_goals_are_bought_with_the_environments_scores(visit: Visit, scripts: bool) -> None:
    for index in range(0, 20, 2) if scripts else range(1, 20, 2):
        plan = plan_of(index)
        if index % 3 == 0:
            del plan[2]  # forget an option
        tab = visit(index, java_script_enabled=scripts)
        tab.follow(plan)
        assert tab.reward == f"{score_of(index, plan):.2f}"
        assert tab.hosts == {"127.0.0.1"}
        assert tab.complaints == []


def test_choices_are_seen_and_survive_a_look_at_the_features(visit: Visit) -> None:
    plan = plan_of(3)
    tab = visit(3)
    tab.follow(plan[:-1])
    chosen = [action[6:-1] for action in plan[2:-1]]
    page = tab.page
    page.click("text=Features")
    assert page.locator(".sheet li").count() >= 3
    page.click("text=< Prev")
    checked = page.locator("input:checked").evaluate_all("inputs => inputs.map(input => input.value)")
    assert sorted(checked) == sorted(chosen)
    shown = page.locator("input:checked + span").first.evaluate("e => getComputedStyle(e).backgroundColor")
    other = page.locator("input:not(:checked) + span").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert shown != other
    page.click("text=Buy Now")
    assert tab.reward == "1.00"


def test_the_back_button_leads_back(visit: Visit) -> None:
    plan = plan_of(0)
    tab = visit(0)
    tab.follow(["search[soft blanket]"])
    tab.page.locator(".product-link").first.click()
    tab.page.go_back()
    assert "Page 1" in tab.page.text_content(".count")
    tab.page.go_back()
    tab.follow(plan)
    assert tab.reward == "1.00"


def test_two_tabs_shop_side_by_side(visit: Visit) -> None:
    plan = plan_of(4)
    tab = visit(4)
    other = Tab(tab.page.context.new_page())
    other.page.goto(tab.page.url)
    other.follow(["search[glass vase]"])
    tab.follow(plan[:2])
    other.page.locator(".product-link").first.click()
    tab.follow(plan[2:])
    assert tab.reward == "1.00"
    assert other.page.locator("button.primary").text_content() == "Buy Now"


def test_the_keyboard_is_enough(visit: Visit) -> None:
    plan = plan_of(6)
    tab = visit(6)
    keyboard = tab.page.keyboard
    keyboard.type(plan[0][7:-1])  # the search has the focus
    keyboard.press("Enter")
    tab.page.wait_for_selector(".card")
    target = plan[1][6:-1].upper()
    for _ in range(40):
        if tab.page.evaluate("document.activeElement.textContent") == target:
            break
        keyboard.press("Tab")
    keyboard.press("Enter")
    tab.page.wait_for_selector(".options")
    for value in [action[6:-1] for action in plan[2:-1]]:
        tab.page.locator(f'input[value="{value}"]').focus()
        keyboard.press("Space")
    while tab.page.evaluate("document.activeElement.textContent") != "Buy Now":
        keyboard.press("Tab")
    keyboard.press("Enter")
    tab.page.wait_for_selector("#reward")
    assert tab.reward == "1.00"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_sticks_out_of_the_window(visit: Visit, viewport: dict[str, int], tmp_path: Path) -> None:
    plan = plan_of(3)
    tab = visit(3, viewport=viewport)
    wide = []
    for action in plan:
        wide.append(tab.page.evaluate("document.documentElement.scrollWidth - innerWidth"))
        tab.follow([action])
    wide.append(tab.page.evaluate("document.documentElement.scrollWidth - innerWidth"))
    assert max(wide) <= 0
    assert tab.page.screenshot(path=tmp_path / "end.png")
