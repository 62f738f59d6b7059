"""One real run for the whole session; tests that change a run take a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dashboard.runs import build_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: warm-up, RL, evaluations, episodes; do not change it."""
    return build_run(tmp_path_factory.mktemp("finished") / "demo")


@pytest.fixture(scope="session")
def running_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a summary; do not change it."""
    return build_run(tmp_path_factory.mktemp("running") / "demo", iterations=2, finished=False)


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to change."""
    return Path(shutil.copytree(finished_run, tmp_path / "demo"))
