from __future__ import annotations

import json
import sys
import webbrowser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from palaestra.cli.view import view
from palaestra.mcp_servers.errors import ConfigError, StoreError
from palaestra.trainers.run_directory import RunDirectory

app = typer.Typer()
app.command()(view)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with RunDirectory.create(tmp_path / "demo", {"name": "demo"}) as made:
        return made.path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses handed to the browser, which is not started; "no" in one means there is no browser."""
    seen: list[str] = []

    def note(address: str) -> bool:
        seen.append(address)
        return "nobrowser" not in address

    monkeypatch.setattr(webbrowser, "open", note)
    return seen


def test_it_writes_the_report_and_prints_its_path(run: Path, opened: list[str]) -> None:
    result = CliRunner().invoke(app, [str(run)])
    assert result.exit_code == 0
    assert Path(result.stdout.strip()) == run / "report.html"
    assert "Palaestra training run" in (run / "report.html").read_text()
    assert opened == []


def test_json_says_where_and_how_large(run: Path, opened: list[str]) -> None:
    result = CliRunner().invoke(app, [str(run), "--json"])
    size = (run / "report.html").stat().st_size
    expected = {"run": str(run), "report": str(run / "report.html"), "size_bytes": size, "opened": False}
    assert json.loads(result.stdout) == expected


def test_open_hands_the_file_to_the_browser(run: Path, opened: list[str]) -> None:
    result = CliRunner().invoke(app, [str(run), "--open", "--json"])
    assert json.loads(result.stdout)["opened"] is True
    assert opened == [(run / "report.html").as_uri()]


def test_without_a_browser_it_says_so(tmp_path: Path, opened: list[str]) -> None:
    with RunDirectory.create(tmp_path / "nobrowser", {"name": "demo"}) as made:
        result = CliRunner().invoke(app, [str(made.path), "--open"])
    assert result.exit_code == 0
    assert "no browser" in result.stderr


def test_a_folder_that_is_no_run_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)
    assert caught.value.code == "no_run"


def test_a_missing_extra_names_the_fix(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("palaestra.dashboard.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"pip install palaestra\[train\]") as caught:
        view(run)
    assert caught.value.code == "missing_extra"
