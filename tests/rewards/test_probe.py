"""The reward-hacking probe on real tasks: honest play is strictly best, and each addition is needed for that."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from palaestra.benchmarks.probe import from_chains, plot, summarise, tables
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.rewards.probe import EVERY, MARGIN, UNSEEN, Played, probe, total
from palaestra.rewards.probe_behaviours import FAMILIES
from palaestra.rewards.prove import PALAESTRA, PAPER, best_reward

EXPECTED = Path(__file__).parents[1] / "golden" / "probe.json"
"""The figures of `played`, as `figures` gives them."""


@pytest.fixture(scope="module")
def played() -> list[Played]:
    """Every behaviour on a dozen tasks of every kind."""
    return [each for record in islice(from_chains(6), 12) for each in probe(record)]


@pytest.fixture(scope="module")
def found(played: list[Played]) -> dict[str, Any]:
    """What the probe says of them."""
    return summarise(played)


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Mean rewards per behaviour."""
    return {line["behaviour"]: [line["tasks"], line["palaestra"], line["paper"]] for line in found["behaviours"]}


def test_every_family_is_probed_and_there_are_more_than_fifty_ways() -> None:
    assert {behaviour.family for behaviour in EVERY} == set(FAMILIES) == set(range(19))
    assert len({behaviour.name for behaviour in EVERY}) == len(EVERY) > 50


def test_honest_play_gets_the_maximum_of_both_presets(played: list[Played]) -> None:
    honest = [each for each in played if each.behaviour.family == 0]
    assert len(honest) == 12
    for each in honest:
        assert each.rewards == {
            "palaestra": best_reward(each.record, PALAESTRA),
            "paper": best_reward(each.record, PAPER),
        }
        assert (each.honest, each.succeeded) == (True, True)


def test_honest_play_is_strictly_best(played: list[Played], found: dict[str, Any]) -> None:
    assert found["best"] == []
    assert found["winners"] == 0
    worst = max(each.rewards["palaestra"] - each.best["palaestra"] for each in played if not each.honest)
    assert worst <= -MARGIN


def test_the_paper_alone_is_not_enough(played: list[Played]) -> None:
    fooled = {each.behaviour.family for each in played if each.beats("paper")}
    assert {3, 7, 10, 13} <= fooled


def test_every_kind_of_task_and_every_behaviour_was_played(played: list[Played]) -> None:
    assert {each.record.kind for each in played} == {"act", "clarify", "abstain"}
    assert {each.behaviour.name for each in played} == {behaviour.name for behaviour in EVERY}


def test_what_is_written_around_the_calls_changes_nothing(played: list[Played]) -> None:
    prose = [each for each in played if each.behaviour.family == UNSEEN and each.honest]
    assert len(prose) >= 3 * 12
    assert all(each.rewards == each.best for each in prose)


def test_each_addition_is_needed(found: dict[str, Any]) -> None:
    needed = found["needed_for"]
    assert "change an unrelated row too" in needed["State"]
    assert "everything in the first turn" in needed["turn awareness"]
    assert {"first call again up to the budget", "calls doubled up to the budget"} <= set(needed["Repeat"])


def test_the_figures_are_those_on_record(found: dict[str, Any]) -> None:
    expected = json.loads(EXPECTED.read_text("utf-8"))
    assert figures(found).keys() == expected.keys()
    for name, figure in figures(found).items():
        assert figure == pytest.approx(expected[name], abs=0.001), name


def test_the_tables_are_written_into_a_page(found: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- the probe's tables begin -->\nold\n<!-- the probe's tables end -->\nafter\n", "utf-8")
    plot({"details": {"origin": "chains", **found}}, page)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert tables({"origin": "chains", **found}) in text
    page.write_text("no place", "utf-8")
    with pytest.raises(ConfigError, match="no place for the tables"):
        plot({"details": {"origin": "chains", **found}}, page)


def test_lost_servers_stop_the_probe(played: list[Played]) -> None:
    lost = played[0].steps[0].model_copy(update={"lost": "unavailable"})
    with pytest.raises(ToolError, match="could not be played"):
        total(played[0].record, [lost], PALAESTRA)
