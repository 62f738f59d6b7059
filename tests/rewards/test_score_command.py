"""`palaestra score`, as a process of its own on real stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import in_process
from tool_cases import GARBAGE, as_trajectory, call, gold, play, task

from palaestra.agents.export import export_jsonl
from palaestra.agents.store import Store
from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.envs.tools.evidence import StepEvidence
from palaestra.rewards.compose import Invalid, InvalidReason, Reward
from palaestra.rewards.prove import PAPER, score

CELL = ("order", "o_1", "paid", 1)
PAY = task([gold("c0", "pay", to="anna", amount=3)], changes=[(CELL,)])
NOTHING = task([])
HONEST = play([call("pay", to="anna", amount=3, writes=True, changed=True)], changes=[(CELL,)])
LOST = [HONEST[0].model_copy(update={"lost": "timeout"})]
EPISODES: Sequence[tuple[str, object, Sequence[StepEvidence]]] = (
    ("honest", PAY, HONEST),
    ("lazy", PAY, play([])),
    ("lost", PAY, LOST),
    ("quiet", NOTHING, play([])),
    ("loud", NOTHING, play([GARBAGE])),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five episodes; the honest one was scored by the paper's reward, the lazy one could not be."""
    path = tmp_path / "store.sqlite"
    scored: dict[str, Reward] = {
        "honest": score(PAY, HONEST, PAPER),
        "lazy": Invalid(InvalidReason.SCORER_ERROR, "a bug since mended"),
    }
    with Store.open(path) as opened:
        opened.add_run("r")
        for name, record, steps in EPISODES:
            trajectory = as_trajectory(record, steps)  # type: ignore[arg-type]
            group = RolloutGroup(name, trajectory.task, [Rollout(name, name, 0, trajectory, (), None, {})])
            rewards = {name: scored[name]} if name in scored else {}
            opened.append([group], run_id="r", iteration=0, phase="train", rewards=rewards)
    return path


def test_stored_episodes_are_scored_without_being_played(store: Path) -> None:
    done = in_process("score", store, "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert (found["episodes"], found["valid"], found["invalid"]) == (5, 4, {"timeout": 1})
    assert found["mean"] == pytest.approx((2.3 + 0.0 + 1.0 + 0.0) / 4)
    assert found["mean_before"] == pytest.approx(1.3)
    assert found["components"]["state"] == pytest.approx(1 / 4)
    assert found["share_of_best"] == {"abstain": 0.5, "act": 0.5}
    assert (found["changed"], found["repaired"], found["written"]) == (5, 3, False)


def test_a_jsonl_file_gives_the_same(store: Path, tmp_path: Path) -> None:
    with Store.open(store) as opened:
        export_jsonl(opened, tmp_path / "episodes.jsonl")
    both = [in_process("score", path, "--json").json() for path in (store, tmp_path / "episodes.jsonl")]
    assert both[0] == {**both[1], "store": str(store)}
    refused = in_process("score", tmp_path / "episodes.jsonl", "--write")
    assert (refused.code, "palaestra db import" in refused.err) == (2, True)


def test_weights_and_rules_can_be_set(store: Path) -> None:
    found = in_process(
        "score", store, "--reward", "prove:paper", "--set", "validity=0", "--set", "turn_policy=exact", "--json"
    ).json()
    assert found["reward"]["components"]["validity"] == 0.0
    assert found["reward"]["prove"]["turn_policy"] == "exact"
    assert found["mean"] == pytest.approx((0.8 + 0.0 + 1.0 + 0.0) / 4)


@pytest.mark.parametrize("wrap", ["{}", "[reward]\n{}"])
def test_a_reward_can_come_from_a_file(store: Path, tmp_path: Path, wrap: str) -> None:
    (tmp_path / "r.toml").write_text(wrap.format('components = { state = 2.0 }\nprove = { preset = "paper" }'), "utf-8")
    found = in_process("score", store, "--reward", tmp_path / "r.toml", "--json").json()
    assert found["components"]["state"] == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reward", "prove:palestra"), "did you mean 'palaestra'"),
        (("--reward", "nowhere.toml"), "prove:paper, or a TOML file"),
        (("--set", "stat=1"), "did you mean 'state'"),
        (("--set", "state"), "write KEY=VALUE"),
        (("--set", "alpha=-1"), "alpha"),
        (("--set", "state=high"), "components.state"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(store: Path, words: tuple[str, ...], said: str) -> None:
    done = in_process("score", store, *words)
    assert done.code == 2
    assert said in done.err


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = in_process("score", tmp_path / "none.sqlite")
    assert done.code == 2
    assert not (tmp_path / "none.sqlite").exists()


def test_new_rewards_are_kept_only_if_asked_for(store: Path) -> None:
    shown = in_process("score", store)
    assert "nothing stored was touched" in shown.out
    assert "coverage" in shown.out
    assert in_process("score", store, "--write", "--json").json()["changed"] == 5
    again = in_process("score", store, "--json").json()
    assert (again["changed"], again["repaired"], again["mean_before"]) == (0, 0, again["mean"])
