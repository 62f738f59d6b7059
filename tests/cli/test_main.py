"""The command as a whole: help, version, errors, interrupts, and what it must not import."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer

import palaestra
from palaestra.cli import main as main_module
from palaestra.cli.main import VERBS, load_verb
from palaestra.cli.output import emit, fail, parse_settings, resume_with
from palaestra.mcp_servers.errors import ConfigError
from tests.cli.conftest import ENVIRONMENT, Command, in_process


def test_help_names_every_verb(command: Command) -> None:
    done = command("--help")
    assert done.code == 0
    assert [verb for verb in VERBS if f" {verb} " not in done.out] == []


def test_no_words_show_the_help(command: Command) -> None:
    done = command()
    assert "Usage: palaestra" in done.out + done.err


def test_version(command: Command) -> None:
    assert command("--version").out == f"palaestra {palaestra.__version__}\n"


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_a_help_of_its_own(verb: str, command: Command) -> None:
    done = command(verb, "--help")
    assert done.code == 0
    assert f"Usage: palaestra {verb}" in done.out


def test_the_installed_command_is_main() -> None:
    (entry,) = entry_points(group="console_scripts", name="palaestra")
    assert entry.load() is main_module.main


def test_an_unknown_verb_is_named(command: Command) -> None:
    done = command("trian")
    assert done.code == 2
    assert "trian" in done.err


def test_an_error_is_one_line_on_stderr_with_its_code(command: Command) -> None:
    done = command("env", "check", "palaestra/Sokobann-v0")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error [unknown_env]: no environment 'palaestra/Sokobann-v0'")
    assert "did you mean 'palaestra/Sokoban-v0'" in done.err
    assert done.err.count("\n") == 1


def test_an_error_is_json_on_stdout_where_that_was_asked_for(command: Command) -> None:
    done = command("env", "check", "palaestra/Sokobann-v0", "--json")
    assert (done.code, done.err) == (2, "")
    error = done.json()["error"]
    assert (error["type"], error["code"], error["retryable"]) == ("TaskError", "unknown_env", False)


def test_several_mistakes_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fail(ConfigError("code", "two\nlines"), as_json=False)
    assert capsys.readouterr().err == "error [code]: two; lines\n"


def test_an_error_is_red_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fail(ConfigError("code", "message"), as_json=False)
    assert capsys.readouterr().err == "\x1b[31merror [code]: message\x1b[0m\n"


def _verb(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Put a function in the place of a verb; everything around it stays as it is."""
    app = typer.Typer()
    app.command()(function)
    monkeypatch.setattr(main_module, "load_verb", lambda name: typer.main.get_command(app))


def test_an_interrupt_is_130_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    def interrupted(context: typer.Context) -> None:
        resume_with(context, "Go on with: palaestra train --resume runs/x")
        raise KeyboardInterrupt

    _verb(monkeypatch, interrupted)
    done = command("train")
    assert (done.code, done.out) == (130, "")
    assert done.err == "Interrupted. Go on with: palaestra train --resume runs/x\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    _verb(monkeypatch, broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main_module.main(["train"])


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    def needs_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    _verb(monkeypatch, needs_torch)
    done = command("eval", "--json")
    assert done.code == 2
    done = command("eval")
    assert "pip install 'palaestra[train]'" in done.err


def test_another_missing_module_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs_something() -> None:
        raise ModuleNotFoundError("No module named 'palaestra.nowhere'", name="palaestra.nowhere")

    _verb(monkeypatch, needs_something)
    with pytest.raises(ModuleNotFoundError):
        main_module.main(["eval"])


@pytest.mark.slow
def test_an_interrupted_rollout_goes_on_where_it_was(tmp_path: Path) -> None:
    """A real SIGINT in the middle; the second call must give exactly what one undisturbed call gives."""
    words = ["rollout", "palaestra/Sokoban-v0", "-n", "250", "--set", "pool=4096", "--max-live", "2"]
    store = tmp_path / "e.sqlite"
    started = subprocess.Popen(
        [sys.executable, "-m", "palaestra", *words, "--store", str(store)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    while started.poll() is None and _episodes(store) < 3:
        pass
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert err == f"Interrupted. What is finished is in {store}; give the same command again to go on.\n"
    kept = _episodes(store)
    assert 3 <= kept < 250
    resumed = in_process(*words, "--store", store, "--json").json()
    whole = in_process(*words, "--store", tmp_path / "whole.sqlite", "--json").json()
    assert {**resumed, "store": None} == {**whole, "store": None}
    assert _episodes(store) == 250


def _episodes(store: Path) -> int:
    import sqlite3

    if not store.exists():
        return 0
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM rollouts").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not built yet
    finally:
        connection.close()


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["env", "list"], ["play"], ["rollout", "palaestra/Sokoban-v0", "-n", "2"]]
)
def test_light_verbs_never_import_torch(words: list[str]) -> None:
    code = (
        "import sys\nfrom palaestra.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit as e: assert not e.code, e.code\n"
        "heavy = [m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules]\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="quit\n", capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"


def test_help_costs_little_cpu() -> None:
    code = (
        "import time\nfrom palaestra.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nprint(time.process_time())"
    )
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", code], text=True, env=ENVIRONMENT).split()[-1])
        for _ in range(3)
    ]
    assert min(seconds) < 1.2  # about 0.25 on an idle machine; generous, because the machine may be shared


def test_load_verb_makes_commands_of_functions_and_applications() -> None:
    assert load_verb("play").name == "play"
    assert load_verb("env").name == "env"
    assert sorted(load_verb("env").commands) == ["check", "list"]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("size=7", 7), ("size=[6, 7]", [6, 7]), ("oracle_info=true", True), ("levels=embedded", "embedded"),
        ("levels=a=b", "a=b"), ("x=0.5", 0.5), ("levels=", ""), (' x = "7"', "7"), ("path=/tmp/a b", "/tmp/a b"),
    ],
)  # fmt: skip
def test_settings_are_toml_or_words(pair: str, value: Any) -> None:
    (found,) = parse_settings([pair]).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("pair", ["size", "=7", " =7", ""])
def test_a_setting_needs_key_and_value(pair: str) -> None:
    with pytest.raises(ConfigError, match="write KEY=VALUE"):
        parse_settings([pair])


def test_emit_refuses_what_is_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        emit({"rate": float("nan")})
    emit({"rate": 0.5})
    assert json.loads(capsys.readouterr().out) == {"rate": 0.5}
