"""`palaestra env`: listing, and checking our environments and other people's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from palaestra.cli.env import find_environment, full_id
from palaestra.envs.registration import ENVIRONMENTS, OPTIONAL
from palaestra.mcp_servers.errors import TaskError
from tests.cli.conftest import Command, in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "03_write_an_environment.py"


def test_list_names_every_registered_id(command: Command) -> None:
    done = command("env", "list", "--json")
    listed = {spec["id"]: spec for spec in done.json()["environments"]}
    assert set(listed) == set(ENVIRONMENTS | OPTIONAL)
    assert listed["palaestra/SokobanGrid-v0"]["batched"] is True
    assert listed["palaestra/SokobanGrid-v0"]["settings"]["actions"] == "push4"


def test_list_all_names_gymnasiums_own_too(command: Command) -> None:
    assert "CartPole-v1" in command("env", "list", "--all").out
    assert "CartPole-v1" not in command("env", "list").out


def test_the_table_holds_each_id_on_one_line(command: Command) -> None:
    lines = command("env", "list").out.splitlines()
    for env_id in ENVIRONMENTS:
        assert sum(f" {env_id} " in line for line in lines) == 1


def test_check_of_a_sound_environment(command: Command) -> None:
    done = command("env", "check", "palaestra/Sokoban-v0", "--seeds", "1", "--json")
    report = done.json()
    assert (done.code, report["passed"]) == (0, True)
    assert {"gymnasium", "info", "noop", "end", "replay", "copy", "snapshot", "leaks"} == set(report["checks"])
    assert "keeps its promises (8 checks, 1 seeds)" in command("env", "check", "palaestra/Sokoban-v0", "--seeds", 1).out


def test_check_of_an_unsound_environment_is_status_1(command: Command) -> None:
    done = command("env", "check", "palaestra/SokobanGrid-v0", "--json")
    assert done.code == 1
    assert done.json()["passed"] is False
    assert done.json()["error"]["code"] == "check_info"
    assert "info: FAILED." in command("env", "check", "palaestra/SokobanGrid-v0").out


def test_a_setting_that_makes_no_environment_is_status_2(command: Command) -> None:
    done = command("env", "check", "palaestra/Sokoban-v0", "--set", "siz=7")
    assert done.code == 2
    assert "did you mean 'size'" in done.err


@pytest.fixture
def own_world(tmp_path: Path) -> Path:
    """A folder with a module of one's own: the environment the examples show."""
    shutil.copy(EXAMPLE, tmp_path / "guessing.py")
    return tmp_path


def test_an_environment_of_ones_own_is_found_in_the_working_folder(own_world: Path) -> None:
    done = in_process("env", "check", "guessing:example/Guess-v0", "--json", cwd=own_world)
    assert done.code == 0, done.err
    assert done.json() == {**done.json(), "env_id": "example/Guess-v0", "passed": True}


def test_a_broken_promise_of_ones_own_environment_is_found(own_world: Path) -> None:
    module = own_world / "guessing.py"
    source = module.read_text()
    broken = source.replace("        super().reset(seed=seed)\n", "")
    assert broken != source
    module.write_text(broken)
    done = in_process("env", "check", "guessing:example/Guess-v0", "--json", cwd=own_world)
    assert done.code == 1
    assert "seed" in done.json()["error"]["message"]


def test_a_module_that_cannot_be_imported_is_named(own_world: Path) -> None:
    done = in_process("env", "check", "nosuchmodule:X-v0", cwd=own_world)
    assert done.code == 2
    assert "[env_module]" in done.err
    assert "nosuchmodule" in done.err


def test_an_id_the_module_does_not_register_is_named(own_world: Path) -> None:
    done = in_process("env", "check", "guessing:example/Gues-v0", cwd=own_world)
    assert done.code == 2
    assert "no environment 'example/Gues-v0' after importing 'guessing'" in done.err


def test_a_bare_name_stands_for_one_of_ours() -> None:
    assert find_environment("sokoban").id == "palaestra/Sokoban-v0"
    assert full_id("Tools-Banking") == "palaestra/Tools-Banking-v0"
    with pytest.raises(TaskError, match="no environment 'sokobn'"):
        find_environment("sokobn")
