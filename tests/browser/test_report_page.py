"""The report in a real browser: it opens from a file, asks for nothing, and its viewer works."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.store import Store
from palaestra.agents.types import Rollout, RolloutFailure, RolloutGroup
from palaestra.dashboard.report import write_report
from palaestra.envs.core.types import Action, ActionStatus, StopReason
from palaestra.trainers.run_directory import RunDirectory
from tests.browser.conftest import Open
from tests.dashboard.runs import CONFIG, play

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1180, "height": 900}
HOSTILE = "</script></pre><img src='http://example.invalid/x.png' onerror=\"document.title='pwned'\"><b id=pwned>"


def shown_board(page: Any, side: int = 0) -> str:
    """The cell codes a board in the page shows, read back from its tiles."""
    hrefs: list[str] = (
        page.locator(".side")
        .nth(side)
        .locator(".board use")
        .evaluate_all("tiles => tiles.map(tile => tile.getAttribute('href'))")
    )
    return "".join(href.removeprefix("#tile-") for href in hrefs)


def episodes(page: Any) -> Any:
    return json.loads(page.locator("#episode-data").text_content())


def frame(side: dict[str, Any], at: int) -> str:
    return str(side["frames"][min(at, len(side["frames"]) - 1)]).replace("/", "")


def set_slider(page: Any, value: int) -> None:
    page.locator("#slider").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')) }", value
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_request_or_a_complaint(open_page: Open, report: Path, scheme: str) -> None:
    opened = open_page(report, viewport=DESKTOP, color_scheme=scheme)
    opened.page.click("#next")
    assert opened.requests == [report.resolve().as_uri()]
    assert opened.complaints == []
    assert opened.page.title() == "demo · Palaestra run"
    assert opened.page.locator("#viewer").is_visible()


def test_the_slider_moves_both_boards_to_the_stored_frames(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    before, after = episodes(page)[0]["sides"]
    last = max(len(before["frames"]), len(after["frames"])) - 1
    assert page.locator("#slider").get_attribute("max") == str(last)
    seen = []
    for at in (0, 1, last // 2, last):
        set_slider(page, at)
        assert shown_board(page, 0) == frame(before, at)
        assert shown_board(page, 1) == frame(after, at)
        assert page.locator("#position").text_content() == f"step {at} of {last}"
        seen.append(shown_board(page, 1))
    assert len(dict.fromkeys(seen)) > 1
    response = page.locator(".side").nth(1).locator(".response").text_content()
    set_slider(page, 0)
    said = page.locator(".side").nth(1).locator(".said").text_content()
    assert said == f"Start: solvable in {after['distance']:.0f} moves"
    assert response == after["steps"][-1]["response"]


def test_every_episode_can_be_picked_and_stepped_to_its_end(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    data = episodes(page)
    assert page.locator(".pick").count() == len(data)
    for index, entry in enumerate(data):
        page.locator(".pick").nth(index).click()
        assert page.locator(".pick[aria-pressed=true]").count() == 1
        assert page.locator(".side").count() == len(entry["sides"])
        page.click("#last")
        for number, side in enumerate(entry["sides"]):
            assert shown_board(page, number) == frame(side, len(side["frames"]))
            assert page.locator(".side .chip").nth(number).text_content() == side["outcome"]


def test_buttons_keys_and_actions_step(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    position = page.locator("#position")
    for button, step in (("#next", 1), ("#next", 2), ("#back", 1), ("#first", 0), ("#back", 0)):
        page.click(button)
        assert str(position.text_content()).startswith(f"step {step} of")
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    assert str(position.text_content()).startswith("step 1 of")
    page.locator(".side").first.locator(".moves button").nth(2).click()
    assert str(position.text_content()).startswith("step 3 of")
    assert page.locator(".side").first.locator(".moves [aria-current=step]").count() == 1


def test_playing_runs_to_the_end_and_stops(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    last = int(page.locator("#slider").get_attribute("max"))
    set_slider(page, last - 2)
    play_button = page.locator("#play")
    play_button.press("Enter")
    assert play_button.text_content() == "Pause"
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert page.locator("#position").text_content() == f"step {last} of {last}"
    play_button.press("Enter")
    assert page.locator("#position").text_content() == f"step 0 of {last}"
    play_button.press("Enter")
    assert play_button.text_content() == "Play"


def test_dark_and_light_have_their_own_readable_colours(open_page: Open, report: Path) -> None:
    """WCAG contrast of text, headline, links and plot labels against what is behind them, at least 4.5."""
    pages = {}
    for scheme in ("light", "dark"):
        page = open_page(report, viewport=DESKTOP, color_scheme=scheme).page
        background = luminance(page.locator("body"), "background-color")
        pages[scheme] = background
        for selector in ("body", ".lead", ".big .before", ".big .after", "nav a", ".facts dt", ".note"):
            assert contrast(luminance(page.locator(selector).first, "color"), background) >= 4.5, (scheme, selector)
        labels = page.locator(".plot text")
        for index in range(0, labels.count(), 9):
            assert contrast(luminance(labels.nth(index), "fill"), background) >= 4.5, (scheme, index)
    assert pages["light"] > 0.8
    assert pages["dark"] < 0.1


def luminance(locator: Any, name: str) -> float:
    colour: str = locator.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name)
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    assert len(channels) == 3, colour
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 320, "height": 640}, {"width": 768, "height": 1000}, DESKTOP])
def test_nothing_is_wider_than_the_screen(open_page: Open, report: Path, viewport: dict[str, int]) -> None:
    page = open_page(report, viewport=viewport).page
    page.locator("summary").click()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    assert page.locator(".plot.narrow").first.is_visible() == (viewport["width"] < 576)
    assert page.locator(".plot.wide").first.is_visible() == (viewport["width"] >= 576)
    for index in range(page.locator(".controls button").count()):
        box = page.locator(".controls button").nth(index).bounding_box()
        assert min(box["width"], box["height"]) >= 36, "too small to touch"


def test_plots_are_drawn_in_the_page_colours(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    line = page.locator("#learning .plot.wide path[stroke='var(--after)']").first
    assert line.evaluate("element => getComputedStyle(element).stroke") == "rgb(0, 103, 165)"
    assert page.locator("#learning .plot.wide").bounding_box()["height"] > 200


def test_every_control_has_a_name_and_focus_is_visible(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport=DESKTOP).page
    nameless = page.locator("button, input, a, summary").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert nameless == 0
    assert page.locator("svg[role=img]:not([aria-label])").count() == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.fixture
def hostile_report(tmp_path: Path) -> Path:
    """A run in which everything an agent and an environment may write is hostile."""
    with (
        RunDirectory.create(tmp_path / "demo", {**CONFIG, "note": HOSTILE}) as run,
        Store.open(run.store_path) as store,
    ):
        store.add_run(run.name)
        group = play(1, "test", RandomPolicy(0))[0]
        poisoned = [poison(group.rollouts[0], f"r{index}", index == 0) for index in range(2)]
        groups = [RolloutGroup(rollout.group, rollout.trajectory.task, [rollout]) for rollout in poisoned]
        store.append(groups, run_id=run.name, iteration=0, phase=HOSTILE)
        return write_report(run.path)


def poison(rollout: Rollout, name: str, failed: bool) -> Rollout:
    steps = tuple(
        replace(step, observation=HOSTILE, response=HOSTILE, action=Action(HOSTILE, ActionStatus.EXTRA_TEXT), info={})
        for step in rollout.trajectory.steps
    )
    reason = StopReason.POLICY_ERROR if failed else StopReason.TRUNCATED
    changes: dict[str, Any] = {
        "steps": steps,
        "final_observation": HOSTILE,
        "start": {},
        "stop_reason": reason,
        "won": False,
    }
    failure = RolloutFailure("policy", "E", "policy_failed", HOSTILE) if failed else None
    trajectory = replace(rollout.trajectory, **changes)
    return replace(rollout, rollout_id=name, group=name, trajectory=trajectory, failure=failure)


def test_hostile_text_is_shown_and_stays_inert(open_page: Open, hostile_report: Path) -> None:
    opened = open_page(hostile_report, viewport=PHONE)
    page = opened.page
    failures = []
    for index in range(page.locator(".pick").count()):
        page.locator(".pick").nth(index).click()
        page.click("#next")
        failures.append(page.locator(".failure").text_content())
        assert page.locator(".response").text_content() == HOSTILE
        assert page.locator(".world").text_content() == HOSTILE
    assert page.locator(".picks h3").text_content() == f"Phase {HOSTILE}"
    assert sorted(failures) == ["", HOSTILE]
    assert page.locator("#pwned").count() == page.locator("img").count() == 0
    assert page.title() == "demo · Palaestra run"
    assert opened.requests == [hostile_report.resolve().as_uri()]
    assert opened.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_policy_really_blocks_markup_that_got_in(open_page: Open, report: Path, tmp_path: Path) -> None:
    """The last line of defence works by itself: a page with injected markup still runs and fetches nothing."""
    html = report.read_text(encoding="utf-8")
    steal = "document.title='pwned'"
    injected = f"<script>{steal}</script><img src='http://example.invalid/x.png' onerror=\"{steal}\">"
    broken = tmp_path / "broken.html"
    broken.write_text(html.replace("<main", f"{injected}<main"), encoding="utf-8")
    opened = open_page(broken)
    assert opened.page.title() == "demo · Palaestra run"
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_a_run_without_episodes_opens_too(open_page: Open, tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "new", {"name": "new"}) as run:
        opened = open_page(write_report(run.path), viewport=PHONE)
    assert opened.complaints == []
    assert "No evaluation yet" in opened.page.locator("main").text_content()
