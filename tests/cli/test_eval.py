"""`palaestra eval`: models, checkpoints and runs, on the tasks and in the protocol they were trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from torch import nn
from transformers import AutoModelForCausalLM

from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.model import load_policy
from palaestra.agents.types import Sampling
from palaestra.cli.model import find_model, protocol_of
from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.checkpoint import capture, read_assets, save_checkpoint
from palaestra.trainers.evaluate import evaluate, held_out_tasks
from tests.cli.conftest import Command

SOKOBAN = "palaestra/Sokoban-v0"
PROTOCOL = {"style": "compact", "context": "window", "history": 0, "response_tokens": 4}
CONFIG: dict[str, Any] = {
    "name": "demo",
    "env": {"id": SOKOBAN, "kwargs": {"max_len": 6, "max_steps": 8}},
    "protocol": PROTOCOL,
    "rl": {"temperature": 0.7},
    "evaluation": {"seed": 11},
}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", "XS", seed=3)


@pytest.fixture
def run(tmp_path: Path, model: Path) -> Path:
    """A run folder with three checkpoints of different weights, the middle one the best."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "config.toml").write_text(tomli_w.dumps(CONFIG))
    net: nn.Module = AutoModelForCausalLM.from_pretrained(model)
    for step, best in ((1, False), (2, True), (3, False)):
        for parameter in net.parameters():
            parameter.data.mul_(1.5)
        state = capture(step, net, assets=read_assets(model))
        save_checkpoint(folder / "checkpoints", state, keep=3, best=best)
    return folder


def test_a_run_stands_for_its_best_checkpoint(command: Command, run: Path) -> None:
    found = command("eval", run, "-n", 16, "--json").json()
    assert found["model"].endswith("step-00000002/model")
    assert found["env"] == {"id": SOKOBAN, "kwargs": {"max_len": 6, "max_steps": 8}, "split": "test"}
    assert (found["seed"], found["mode"], found["temperature"]) == (11, "greedy", 0.0)
    assert found["protocol"]["context"] == "window"
    assert found["episodes"] == 16


def test_the_command_measures_what_the_library_measures(command: Command, run: Path) -> None:
    source = find_model(run)
    protocol = protocol_of(None, source.config)
    tasks = held_out_tasks(SOKOBAN, CONFIG["env"]["kwargs"], "test", 24, seed=11)
    policy = load_policy(source.directory, Sampling(temperature=0.0, max_new_tokens=4, seed=11))
    expected = evaluate(policy, tasks, protocol).to_dict()
    found = command("eval", run, "-n", 24, "--json").json()
    assert {key: found[key] for key in expected} == expected


def test_without_a_best_one_the_newest_intact_checkpoint_counts(command: Command, run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "step-00000002")
    weights = run / "checkpoints" / "step-00000003" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert find_model(run).directory == run / "checkpoints" / "step-00000001" / "model"


def test_a_checkpoint_stands_for_itself_in_the_settings_of_its_run(run: Path) -> None:
    source = find_model(run / "checkpoints" / "step-00000003")
    assert source.directory.parent.name == "step-00000003"
    assert source.env() == (SOKOBAN, {"max_len": 6, "max_steps": 8})


def test_sampling_uses_the_runs_temperature_unless_told(command: Command, run: Path) -> None:
    found = command("eval", run, "-n", 4, "--sampled", "--json").json()
    assert (found["mode"], found["temperature"]) == ("sampled", 0.7)
    found = command("eval", run, "-n", 4, "--sampled", "--temperature", 1.3, "--json").json()
    assert found["temperature"] == 1.3


def test_words_on_the_command_line_come_before_the_run(command: Command, run: Path) -> None:
    words = ("--set", "max_len=5", "--seed", 2, "--split", "valid", "--protocol", "history=1", "--json")
    found = command("eval", run, "-n", 4, *words).json()
    assert found["env"] == {"id": SOKOBAN, "kwargs": {"max_len": 5, "max_steps": 8}, "split": "valid"}
    assert (found["seed"], found["protocol"]["history"]) == (2, 1)


def test_another_environment_does_not_inherit_the_runs_settings(command: Command, run: Path) -> None:
    words = ("--env", "palaestra/SokobanGrid-v0", "--set", "obs=text", "--set", "actions=text4", "--set", "info=full")
    found = command("eval", run, "-n", 2, *words, "--json").json()
    assert "max_len" not in found["env"]["kwargs"]


def test_a_model_directory_needs_an_environment(command: Command, model: Path) -> None:
    done = command("eval", model)
    assert done.code == 2
    assert "--env ID" in done.err
    done = command("eval", model, "--env", SOKOBAN, "-n", 4, "--protocol", "response_tokens=4")
    assert done.code == 0
    assert "split test, greedy" in done.out


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_what_is_no_model_is_refused(where: str, command: Command, tmp_path: Path) -> None:
    done = command("eval", tmp_path / where, "--json")
    assert done.code == 2
    assert done.json()["error"]["code"] == "model_directory"


def test_a_run_without_checkpoints_is_refused(command: Command, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert command("eval", run, "--json").json()["error"]["code"] == "no_checkpoint"


@pytest.mark.parametrize(
    ("options", "config", "expected"),
    [
        ([], {}, {"style": "compact", "think": "none", "response_tokens": 32}),
        (["style=full"], {}, {"style": "full", "think": "required", "response_tokens": 512}),
        (["history=3"], {}, {"style": "compact", "history": 3, "response_tokens": 32}),
        ([], {"protocol": {"style": "full", "think": "optional"}}, {"style": "full", "think": "optional"}),
        (
            ["style=compact"],
            {"protocol": {"style": "full", "think": "optional"}},
            {"style": "compact", "think": "none"},
        ),
        (["style=compact", "think=required"], {"protocol": {"style": "full"}}, {"think": "required"}),
    ],
)
def test_the_protocol_is_the_runs_with_the_command_lines_over_it(
    options: list[str], config: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = protocol_of(options, config).model_dump()
    assert {key: found[key] for key in expected} == expected


def test_a_mistake_in_the_protocol_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'history'"):
        protocol_of(["histroy=2"], {})
