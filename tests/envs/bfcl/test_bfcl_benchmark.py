"""The benchmark beside the official checker, on a few tasks."""

from __future__ import annotations

import pytest

from palaestra.benchmarks.bfcl import run
from palaestra.envs.tools.bfcl.package import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_a_quick_run_agrees_with_the_official_checker() -> None:
    found = run(quick=True, seed=0)
    counts = found["details"]
    assert counts["tasks"] == 100
    assert counts["passed"] == counts["passed_over_mcp"] == counts["passed_officially"] == 100
    assert counts["mutants_rejected"] == counts["mutants_rejected_officially"] == 100
    assert [row["name"] for row in found["rows"]] == ["over MCP", "in process"]
    assert found["peer"]["value"] > 0
    assert found["ratio"] == found["value"] / found["peer"]["value"]
