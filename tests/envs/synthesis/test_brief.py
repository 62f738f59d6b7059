"""Briefs: counts are exact and rates are kept to within one conversation."""

from __future__ import annotations

import pytest

from palaestra.envs.tools.synthesis.brief import (
    PAPER,
    SPLITS,
    Brief,
    by_server,
    deal,
    family_counts,
    server_shares,
)
from palaestra.mcp_servers.catalog import CATALOG

SHARES = server_shares({name: entry.tools for name, entry in CATALOG.items()})


@pytest.fixture(scope="module")
def briefs() -> list[Brief]:
    return deal({"train": family_counts(13_517), "test": family_counts(500)}, SHARES, seed=0)


def test_the_paper_s_counts_come_out_exactly(briefs: list[Brief]) -> None:
    assert family_counts(13_517) == PAPER
    train = [brief for brief in briefs if brief.split == "train"]
    assert {family: sum(brief.family == family for brief in train) for family in PAPER} == PAPER
    assert len(briefs) == 13_517 + 500
    assert [brief.index for brief in briefs] == list(range(len(briefs)))
    missing = [brief for brief in train if brief.family == "missing"]
    assert sum(brief.returns for brief in missing) == 1_000
    abstain = [brief for brief in train if brief.family == "abstain"]
    assert sum(brief.scenes == ("hidden",) for brief in abstain) == 806


def test_rates_are_kept(briefs: list[Brief]) -> None:
    multi = [brief for brief in briefs if brief.family == "multi"]

    def rate(kept: list[bool]) -> float:
        return sum(kept) / len(kept)

    assert rate([b.level == "complete" for b in multi]) == pytest.approx(0.6, abs=0.002)
    assert rate([b.level == "missing" for b in multi]) == pytest.approx(0.2, abs=0.002)
    assert rate(["abstain" in b.scenes for b in multi]) == pytest.approx(0.05, abs=0.002)
    assert rate([b.distractors for b in briefs]) == pytest.approx(0.4, abs=0.002)
    assert rate([b.stripped for b in briefs]) == pytest.approx(0.3, abs=0.002)
    assert {len(b.scenes) for b in briefs if b.family != "abstain"} == {2, 3}
    assert {len(b.scenes) for b in briefs if b.family == "abstain"} == {1}


def test_every_server_gets_its_share(briefs: list[Brief]) -> None:
    assert min(map(len, by_server(briefs).values())) >= 300
    assert set(by_server(briefs)) == set(CATALOG)


@pytest.mark.parametrize("records", [1, 7, 100, 999])
def test_any_number_is_dealt_out(records: int) -> None:
    counts = {split: family_counts(records) for split in SPLITS}
    dealt = deal(counts, SHARES, seed=1)
    assert len(dealt) == 3 * records
    assert dealt == deal(counts, SHARES, seed=1)
    assert records == 1 or dealt != deal(counts, SHARES, seed=2)
