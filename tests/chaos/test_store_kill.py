"""R9: SIGKILL against a process that appends to the store."""

from __future__ import annotations

from pathlib import Path

from palaestra.agents.store import Store
from palaestra.benchmarks.store_kill import RUN, KillCount, group, kill_many, verify
from tests.requirements.ledger import requirement


@requirement("R9")
def test_forty_kills_lose_duplicate_and_damage_nothing(tmp_path: Path) -> None:
    count = kill_many(40, seed=9, folder=tmp_path)
    assert (count.kills, count.lost, count.duplicated, count.damaged) == (40, 0, 0, 0)
    assert count.acknowledged > 40  # most processes got some work done before they died


@requirement("R9")
def test_the_count_sees_a_lost_and_a_changed_rollout(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with Store.open(path) as store:
        store.add_run(RUN)
        store.append([group(0)], run_id=RUN, iteration=0, phase="train")
    assert verify(path, [0]) == KillCount(1, 1, 0, 0, 0)
    path.unlink()
    with Store.open(path) as store:
        store.add_run(RUN)
        store.append([group(0)], run_id=RUN, iteration=0, phase="train")
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE steps SET response = 'go home' WHERE rollout = 1")
            connection.exec_driver_sql("DELETE FROM rollouts WHERE id = 2")
    assert verify(path, [0]) == KillCount(1, 1, 1, 0, 2)  # found by its digest, and again by comparison
