from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.store import Store
from palaestra.dashboard.report import duration, percent, signed, write_report
from palaestra.mcp_servers.errors import StoreError
from palaestra.trainers.run_directory import RunDirectory, RunFiles
from tests.dashboard.runs import CONFIG, play

HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>"
VOID = ("meta", "input", "br", "img", "link")


class Page(HTMLParser):
    """Collects what matters of a page: elements with their attributes, text by element, and balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def identities(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.elements if "id" in attributes]


def report(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("report") / "demo")))


def test_the_page_says_what_the_run_achieved(page: str, finished_run: Path) -> None:
    summary = RunFiles(finished_run).summary()
    assert summary is not None
    held_out = summary["held_out"]
    headline = re.search(r'id="headline">(.*?)</p>', page)
    assert headline is not None
    shown = re.sub("<[^>]+>", "", headline[1])
    assert shown == f"{percent(held_out['before'])}→{percent(held_out['after'])}"
    for words in (
        "Held-out success",
        "Learning curve",
        "By solution length",
        "Training signals",
        "Where the time went",
    ):
        assert words in page
    for words in (
        "Entropy",
        "KL to the old policy",
        "Clip fraction",
        "Groups without signal",
        "palaestra train sokoban",
    ):
        assert words in page
    assert f"+{100 * held_out['gain']:.0f} points" in page
    assert "max_steps = 20" in page


def test_the_page_is_well_formed_with_unique_ids_and_no_way_out(page: str) -> None:
    parsed = Page(page)
    identities = parsed.identities()
    assert len(dict.fromkeys(identities)) == len(identities)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "form", "base")
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    for target in re.findall(r'href="#([\w-]+)"', page):
        assert target in identities
    assert len(page.encode()) < 1_500_000


def test_the_policy_allows_exactly_the_style_and_script_of_the_page(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for directive, pattern in (("style-src", r"<style>(.*?)</style>"), ("script-src", r"<script>(.*?)</script>")):
        contents = re.findall(pattern, page, flags=re.DOTALL)
        assert len(contents) == 1
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy[1]


def test_time_is_told_by_part_and_adds_up(page: str) -> None:
    shown = dict(re.findall(r"</span>([^<]+)</th><td>([^<]+)</td>", page))
    assert shown == {
        "Warm-up": "23.0 s",
        "RL: rollouts": "36.0 s",
        "RL: old pass": "3.0 s",
        "RL: updates": "18.0 s",
        "RL: other": "3.0 s",
        "Evaluation": "7.0 s",
    }
    assert "1 min 30 s of wall time, 1 min 21 s of CPU time" in page


def test_without_metrics_the_summary_tells_the_time(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        run.write_summary({"phases": {"evaluate_before": {"wall_s": 7.0, "cpu_s": 6.5}, "rl": {"wall_s": 53.0}}})
    html = report(tmp_path / "demo")
    assert "1 min 0 s of wall time, 6.5 s of CPU time" in html
    assert "Evaluate before" in html


def test_hostile_text_stays_text_wherever_it_stands(tmp_path: Path) -> None:
    config = {**CONFIG, "name": HOSTILE, "note": HOSTILE + "\u2028"}
    path = tmp_path / "<b>&run"
    with RunDirectory.create(path, config) as run, Store.open(run.store_path) as store:
        store.add_run(run.name)
        store.append(play(2, "test", RandomPolicy(0)), run_id=run.name, iteration=0, phase=HOSTILE)
        for step in (0, 1):
            run.log_metrics({"phase": "eval", "step": step, "split": "valid", "mode": HOSTILE, "n": 9, "success": 0.2})
        run.log_metrics({"phase": HOSTILE, "step": 1, "wall_s": 10.0})
        part = {"n": 3, "before": 0.1, "after": 0.4}
        hostile = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}
        summary = {key: hostile for key in ("versions", "machine", "seeds", "reward_components")} | {
            "recipe": HOSTILE,
            "env_id": HOSTILE,
            "stopped": HOSTILE,
            "phases": {HOSTILE: {"wall_s": 5.0, "cpu_s": 1.0}},
            "held_out": {**part, "mode": HOSTILE, "split": HOSTILE, "by_stratum": {HOSTILE: part}},
        }
        run.write_summary(summary)
    html = report(path)
    parsed = Page(html)
    tags = [tag for tag, _ in parsed.elements]
    assert "img" not in tags
    assert tags.count("script") == 2
    assert not any("pwned" in text for text in parsed.texts["script"] if not text.startswith("["))
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 8
    data = json.loads(next(text for text in parsed.texts["script"] if text.startswith("[")))
    assert data[0]["heading"] == f"Phase {HOSTILE}"


def test_surrogates_and_control_characters_become_replacement_signs(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        run.summary_path.write_text('{"versions": {"a\\u0000": "x\\ud800y"}}')
    html = report(tmp_path / "demo")
    assert "x\ufffdy" in html
    assert "\x00" not in html


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", {"name": "demo"}):
        html = report(tmp_path / "demo")  # while the run is locked by its trainer
    parsed = Page(html)
    assert [tag for tag, _ in parsed.elements].count("script") == 0
    for words in ("No evaluation yet", "No episodes are stored yet.", "unfinished", "palaestra train config.toml"):
        assert words in html
    for words in ("Learning curve", "Training signals", "Where the time went", "By solution length"):
        assert words not in html


def test_a_running_run_shows_what_there_is(running_run: Path, tmp_path: Path) -> None:
    html = report(Path(shutil.copytree(running_run, tmp_path / "demo")))
    Page(html)
    assert "Validation success so far" in html
    assert "after RL iteration 2" in html
    assert "Evaluation before training" in html
    assert "Where the time went" in html


def test_a_run_of_warm_up_alone_has_no_rl_signals(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        for step in range(3):
            run.log_metrics({"phase": "warmup", "step": step, "wall_s": step, "loss": 1.0 / (step + 1)})
    html = report(tmp_path / "demo")
    assert "Warm-up on expert episodes" in html
    assert "Reinforcement learning" not in html


def test_one_evaluation_is_a_number_but_not_yet_a_curve(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        run.log_metrics({"phase": "eval", "step": 0, "split": "valid", "mode": "greedy", "n": 10, "success": 0.3})
        run.write_summary({"stopped": "interrupted", "steps": 0})
    html = report(tmp_path / "demo")
    assert '<span class="after">30 %</span>' in html
    assert "Learning curve" not in html
    assert "Interrupted without RL." in html


def test_non_finite_metrics_are_gaps_not_crashes(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        for step, loss in enumerate((1.0, float("nan"), float("inf"))):
            run.log_metrics({"phase": "rl", "step": step, "wall_s": step, "reward_mean": loss, "success": loss})
        run.write_summary({"phases": {"rl": {"wall_s": float("nan")}, "eval": 3}, "held_out": {"before": "no"}})
    assert "Training signals" in report(tmp_path / "demo")


def test_a_torn_last_line_is_left_out(own_run: Path) -> None:
    before = report(own_run)
    with (own_run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "rl", "st')
    assert report(own_run) == before


def test_the_same_run_gives_the_same_page(own_run: Path) -> None:
    assert report(own_run) == report(own_run)


def test_writing_replaces_the_older_report_whole(own_run: Path) -> None:
    path = own_run / "report.html"
    path.write_text("old")
    assert write_report(own_run) == path
    assert path.read_text().endswith("</html>")
    assert not list(own_run.glob(".report*"))


@pytest.mark.parametrize(
    ("damage", "code"),
    [("config.toml", "corrupt_run"), ("metrics.jsonl", "corrupt_run"), ("summary.json", "corrupt_run")],
)
def test_a_damaged_file_is_named(own_run: Path, damage: str, code: str) -> None:
    (own_run / damage).write_text("{[\n")
    with pytest.raises(StoreError, match=re.escape(damage)) as caught:
        write_report(own_run)
    assert caught.value.code == code


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        write_report(tmp_path)
    assert caught.value.code == "no_run"


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    line: dict[str, Any] = {
        "phase": "rl",
        "reward_mean": 0.1,
        "entropy": 0.2,
        "kl_old": 0.1,
        "loss": 0.1,
        "success": 0.5,
    }
    score = {"phase": "eval", "split": "valid", "mode": "greedy", "n": 100, "success": 0.5, "ci95": [0.4, 0.6]}
    with RunDirectory.create(tmp_path / "demo", CONFIG) as run:
        for step in range(5_000):
            run.log_metrics({**line, "step": step, "wall_s": step})
            run.log_metrics({**score, "step": step, "wall_s": step})
    assert write_report(tmp_path / "demo").stat().st_size < 500_000


def test_numbers_are_written_as_people_read_them() -> None:
    assert (percent(0.1234), percent(0.1234, 1), signed(-0.25), signed(0.5)) == ("12 %", "12.3 %", "\u221225", "+50")
    assert [duration(seconds) for seconds in (0, 59.94, 60, 3599, 3600)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
    ]
