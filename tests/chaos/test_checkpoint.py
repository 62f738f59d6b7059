"""R12: SIGKILL against a process that saves checkpoints, and damaged files."""

from __future__ import annotations

from pathlib import Path

from palaestra.benchmarks.checkpoint_kill import CALLS, flip_many, kill_many, state, verify
from palaestra.trainers.checkpoint import save_checkpoint
from tests.requirements.ledger import requirement


@requirement("R12")
def test_kills_at_random_instants_and_at_every_kind_of_call_leave_an_intact_checkpoint(tmp_path: Path) -> None:
    acknowledged, unloadable, broken = kill_many(2 * len(CALLS), seed=12, folder=tmp_path)
    assert (unloadable, broken) == (0, 0)
    assert acknowledged >= 2 * len(CALLS)


@requirement("R12")
def test_two_hundred_flipped_bits_are_all_refused(tmp_path: Path) -> None:
    assert flip_many(200, seed=12, folder=tmp_path) == 0


@requirement("R12")
def test_the_count_sees_a_lost_and_a_broken_checkpoint(tmp_path: Path) -> None:
    assert verify(tmp_path, [1]) == (1, 0)
    save_checkpoint(tmp_path, state(1))
    assert verify(tmp_path, [1]) == (0, 0)
    assert verify(tmp_path, [2]) == (1, 0)
    (save_checkpoint(tmp_path, state(2)) / "state.json").write_text("{}")
    assert verify(tmp_path, [1, 2]) == (1, 1)
