"""The reward-hacking probe on real tasks of every family: what pays, what does not, and which additions are needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import palaestra
import palaestra.benchmarks.probe as benchmark
from palaestra.benchmarks.probe import TASKS, plot, summarise, tables
from palaestra.envs.tools.bfcl.package import missing
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.rewards.probe import EVERY, MARGIN, PRESETS, UNSEEN, WITHOUT, Played, probe, total
from palaestra.rewards.probe_behaviours import FAMILIES
from palaestra.rewards.prove import PALAESTRA, PAPER, ProveSettings, best_reward

EXPECTED = Path(__file__).parents[1] / "golden" / "probe.json"
"""The figures on the chains, as `figures` gives them."""
BAD = {
    "only success": ProveSettings(weights={"state": 1.0}, gate=False, state_at="end"),
    "only form": ProveSettings(weights={"validity": 1.0}, gate=False),
}
"""Rewards that a cheat should find wanting."""
NEEDS_BFCL = pytest.mark.skipif(missing() is not None, reason=str(missing()))
EVERY_FAMILY = pytest.mark.parametrize("family", ["chains", "embedded", pytest.param("bfcl", marks=NEEDS_BFCL)])
OURS = pytest.mark.parametrize("family", ["chains", "embedded"])


@cache
def played_on(family: str) -> tuple[Played, ...]:
    """Every behaviour on a dozen tasks."""
    presets = {**PRESETS, **WITHOUT, **BAD}
    return tuple(each for scene in TASKS[family](6, 12) for each in probe(scene, presets=presets))


@cache
def found_on(family: str) -> dict[str, Any]:
    """What the probe says of them."""
    return {"measured": True, **summarise(played_on(family))}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Mean rewards per behaviour."""
    return {line["behaviour"]: [line["tasks"], line["palaestra"], line["paper"]] for line in found["behaviours"]}


def test_every_kind_of_hack_is_probed_and_there_are_more_than_fifty_ways() -> None:
    assert {behaviour.family for behaviour in EVERY} == set(FAMILIES) == set(range(19))
    assert len({behaviour.name for behaviour in EVERY}) == len(EVERY) > 50


@EVERY_FAMILY
def test_honest_play_gets_the_maximum_of_both_presets(family: str) -> None:
    honest = [each for each in played_on(family) if each.behaviour.family == 0]
    assert len(honest) == 12
    for each in honest:
        assert each.rewards["palaestra"] == pytest.approx(best_reward(each.record, PALAESTRA), abs=1e-12)
        assert each.rewards["paper"] == pytest.approx(best_reward(each.record, PAPER), abs=1e-12)
        assert (each.honest, each.succeeded) == (True, True)


@OURS
def test_no_hack_earns_as_much_as_honest_play(family: str) -> None:
    found = found_on(family)
    assert found["best"] == []
    assert (found["winners"], found["near"]) == (0, 0)
    assert found["pairs"] > 450
    assert found["closest"] >= MARGIN


@NEEDS_BFCL
def test_no_hack_earns_as_much_on_bfcl() -> None:
    found = found_on("bfcl")
    assert (found["best"], found["winners"]) == ([], 0)
    assert found["pairs"] > 450


@EVERY_FAMILY
def test_a_bad_reward_is_hacked(family: str) -> None:
    acting = [each for each in played_on(family) if each.record.kind != "abstain"]
    fooled = {name: {each.behaviour.name for each in acting if each.beats(name)} for name in BAD}
    assert {"pad up to the limit", "last call up to the limit", "one unparsable call more"} <= fooled["only success"]
    assert {"only the first call", "change an unrelated row too", "everything in the first turn"} <= fooled["only form"]


@EVERY_FAMILY
def test_the_paper_alone_is_not_enough(family: str) -> None:
    fooled = {each.behaviour.family for each in played_on(family) if each.beats("paper")}
    assert {3, 7, 10, 13} <= fooled


@EVERY_FAMILY
def test_what_is_written_around_the_calls_changes_nothing(family: str) -> None:
    prose = [each for each in played_on(family) if each.behaviour.family == UNSEEN and each.honest]
    assert len(prose) >= 3 * 12
    assert all(each.rewards == each.best for each in prose)


@EVERY_FAMILY
def test_nothing_is_left_out_silently(family: str) -> None:
    found = found_on(family)
    assert found["tasks"] == 12
    ways = found["pairs"] + found["same"] + found["harmless"] + found["skipped"]
    assert ways == 12 * (len(EVERY) - 1)
    assert [line["behaviour"] for line in found["behaviours"]] == [behaviour.name for behaviour in EVERY]
    assert all(line["tasks"] + line["same"] + line["skipped"] == 12 for line in found["behaviours"])


@OURS
def test_every_kind_of_task_and_every_behaviour_was_played(family: str) -> None:
    assert {each.record.kind for each in played_on(family)} == {"act", "clarify", "abstain"}
    assert {each.behaviour.name for each in played_on(family)} == {behaviour.name for behaviour in EVERY}


@NEEDS_BFCL
def test_every_category_and_every_behaviour_but_forging_rows_was_played_on_bfcl() -> None:
    played = played_on("bfcl")
    assert {each.record.meta["category"] for each in played} == {"base", "miss_func", "miss_param", "long_context"}
    assert {each.behaviour.name for each in played} == {each.name for each in EVERY if each.family != 18}


def test_each_addition_is_needed() -> None:
    needed = found_on("chains")["needed_for"]
    assert "change an unrelated row too" in needed["without State and Repeat"]
    assert "everything in the first turn" in needed["without turn awareness"]
    again = {"first call again up to the budget", "calls doubled up to the budget"}
    assert again <= set(needed["without Repeat"])


def test_the_figures_are_those_on_record() -> None:
    expected = json.loads(EXPECTED.read_text("utf-8"))
    found = figures(found_on("chains"))
    assert found.keys() == expected.keys()
    for name, figure in found.items():
        assert figure == pytest.approx(expected[name], abs=0.001), name


def test_the_tables_are_written_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- the probe's tables begin -->\nold\n<!-- the probe's tables end -->\nafter\n", "utf-8")
    families = {"chains": found_on("chains"), "bfcl": {"measured": False, "reason": "it is not installed"}}
    plot({"details": {"families": families}}, page)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert tables(families) in text
    assert "bfcl is not measured: it is not installed" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith(("| 1", "| #"))}
    assert len(widths) == 1
    page.write_text("no place", "utf-8")
    with pytest.raises(ConfigError, match="no place for the tables"):
        plot({"details": {"families": families}}, page)


def test_a_run_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_QUICK", 4)
    found = benchmark.run(quick=True, seed=6)
    families = found["details"]["families"]
    assert list(families) == list(TASKS)
    assert found["behaviours"] == len(EVERY) - 1
    measured = [name for name, each in families.items() if each["measured"]]
    assert [row["name"] for row in found["rows"][1:]] == measured
    assert [families[name]["tasks"] for name in measured] == [4] * len(measured)
    assert found["value"] == sum(row["value"] for row in found["rows"][1:]) == found["rows"][0]["value"]
    json.dumps(found, allow_nan=False)


PROGRAM = """
import json
from palaestra.benchmarks.probe import measure
print(json.dumps(measure("bfcl", 4, 0)))
"""


def without_bfcl(folder: Path) -> Iterator[str]:
    """Folders to import from that hold everything but bfcl-eval."""
    for found in {Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}:
        for package in found.iterdir():
            if not package.name.startswith(("bfcl_eval", "__editable__", "__pycache__")):
                (folder / package.name).symlink_to(package)
    yield str(folder)
    yield str(Path(palaestra.__file__).parents[1])


def test_without_bfcl_eval_its_tasks_are_not_measured_rather_than_free_of_hacks(tmp_path: Path) -> None:
    paths = os.pathsep.join(without_bfcl(tmp_path))
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["measured"] is False
    assert "pip install --no-deps bfcl-eval==" in found["reason"]
    assert "winners" not in found


def test_lost_servers_stop_the_probe() -> None:
    honest = played_on("chains")[0]
    lost = honest.steps[0].model_copy(update={"lost": "unavailable"})
    with pytest.raises(ToolError, match="could not be played"):
        total(honest.record, [lost], PALAESTRA)
