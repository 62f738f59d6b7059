"""The trajectory store, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from palaestra.agents.store import Receipt, Store, find_damage
from palaestra.agents.store.database import transaction
from palaestra.agents.types import Completion, FinishReason, Rollout, RolloutGroup
from palaestra.envs.core.types import StopReason, Task, Trajectory
from palaestra.mcp_servers.errors import StoreError
from palaestra.rewards.compose import Component, Invalid, InvalidReason, RewardBreakdown
from tests.conftest import MakeGroup


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    with Store.open(store_address, clock=lambda: 0.0) as opened:
        opened.add_run("run", {"seed": 1})
        yield opened


def put(store: Store, *groups: RolloutGroup, iteration: int = 0, phase: str = "train", **more: Any) -> Receipt:
    return store.append(groups, run_id="run", iteration=iteration, phase=phase, **more)


def test_a_rollout_comes_back_equal(store: Store, store_address: str, make_group: MakeGroup) -> None:
    group = make_group(1)
    assert put(store, group) == Receipt(stored=4, repeated=0)
    with Store.open(store_address, create=False) as again:
        for rollout in group.rollouts:
            assert again.get(rollout.rollout_id) == rollout
    assert list(find_damage(store)) == []


def test_a_scripted_rollout_without_tokens_or_steps_comes_back_equal(store: Store) -> None:
    task = Task("palaestra/Test-v0", 2**63 + 5)
    empty = Rollout("e", "g", 0, Trajectory(task, (), StopReason.CANCELLED, "", False, 0.0))
    put(store, RolloutGroup("g", task, [empty]))
    assert store.get("e") == empty


def test_floats_that_float32_would_change_are_kept_exactly(store: Store, make_group: MakeGroup) -> None:
    group = make_group(1, size=1)
    odd = Completion((), (1, 2), (-0.1, -1e-300), FinishReason.STOP, entropies=(0.1, 1e300))
    rollout = replace(group.rollouts[0], completions=(odd,))
    put(store, replace(group, rollouts=[rollout]))
    assert store.get(rollout.rollout_id).completions == (odd,)


def test_a_nan_logprob_is_kept_as_evidence(store: Store, make_group: MakeGroup) -> None:
    group = make_group(1, size=1)
    odd = Completion((), (1, 2), (float("nan"), -0.5), FinishReason.STOP)
    put(store, replace(group, rollouts=[replace(group.rollouts[0], completions=(odd,))]))
    assert np.array_equal(store.get("ep-1-0").completions[0].logprobs, odd.logprobs, equal_nan=True)


def test_a_repeated_append_changes_nothing(store: Store, make_group: MakeGroup) -> None:
    rewards = {"ep-1-0": VALID}
    put(store, make_group(1), rewards=rewards)
    before = store.counts()
    assert put(store, make_group(1), rewards=rewards) == Receipt(stored=0, repeated=4)
    assert put(store, make_group(1), make_group(2)) == Receipt(stored=4, repeated=4)
    after = store.counts()
    assert after["rollouts"] == before["rollouts"] + 4
    assert after["rewards"] == 1 + len(COMPONENTS)


def test_the_same_rollout_twice_in_one_append_is_stored_once(store: Store, make_group: MakeGroup) -> None:
    assert put(store, make_group(1), make_group(1)) == Receipt(stored=4, repeated=4)


def test_another_rollout_under_a_stored_id_is_refused_and_nothing_of_the_append_is_kept(
    store: Store, make_group: MakeGroup
) -> None:
    put(store, make_group(1))
    changed = make_group(1)
    changed = replace(changed, rollouts=[replace(changed.rollouts[0], extras={"other": 1})])
    with pytest.raises(StoreError, match=r"'ep-1-0' of 'run', iteration 0, differs; ids must be unique") as caught:
        put(store, make_group(2), changed)
    assert caught.value.code == "rollout_exists"
    assert store.counts()["rollouts"] == 4


def test_the_same_id_in_another_iteration_is_another_rollout(store: Store, make_group: MakeGroup) -> None:
    put(store, make_group(1))
    assert put(store, make_group(1), iteration=1).stored == 4
    with pytest.raises(StoreError, match="iteration=0 and run_id='run', iteration=1") as caught:
        store.get("ep-1-0")
    assert caught.value.code == "ambiguous_rollout"
    assert store.get("ep-1-0", run_id="run", iteration=1) == make_group(1).rollouts[0]


COMPONENTS = (
    Component("won", 1.0, (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), "won at step 2"),
    Component("format", 0.1, (1.0, 0.0, 1.0), (0.1, 0.0, 0.1), "\ud800\x00"),
)
VALID = RewardBreakdown(COMPONENTS, (0.1, 0.0, 1.1), 1.2000000000000002)
INVALID = Invalid(InvalidReason.SCORER_ERROR, "boom \x00", COMPONENTS[:1])


def test_rewards_come_back_valid_or_with_their_reason(store: Store, make_group: MakeGroup) -> None:
    odd = Invalid(InvalidReason.NON_FINITE, "nan", (Component("x", 1.0, (float("inf"),), (float("inf"),)),))
    put(store, make_group(1), rewards={"ep-1-0": VALID, "ep-1-1": INVALID, "ep-1-2": odd})
    assert [store.stored(f"ep-1-{m}").reward for m in range(4)] == [VALID, INVALID, odd, None]
    records = [(r.reward, r.reward_invalid) for r in store.find()]
    assert records == [(VALID.total, None), (None, "scorer_error"), (None, "non_finite"), (None, None)]
    (line,) = store.summary()
    assert (line.mean_reward, line.invalid_rewards) == (VALID.total, 2)


def test_set_rewards_replaces_those_of_the_named_rollouts_only(store: Store, make_group: MakeGroup) -> None:
    put(store, make_group(1), rewards={"ep-1-0": INVALID, "ep-1-2": INVALID})
    store.set_rewards("run", 0, {"ep-1-0": VALID, "ep-1-3": VALID})
    store.set_rewards("run", 0, {})
    assert [store.stored(f"ep-1-{m}").reward for m in range(4)] == [VALID, None, INVALID, VALID]
    assert store.find()[0].reward == VALID.total
    with pytest.raises(StoreError, match="did you mean 'ep-1-0'"):
        store.set_rewards("run", 0, {"ep-1-0": INVALID, "ep-1-O": INVALID})
    assert store.stored("ep-1-0").reward == VALID


def test_a_reward_must_be_finite_and_belong_to_a_rollout_of_the_append(store: Store, make_group: MakeGroup) -> None:
    with pytest.raises(StoreError, match="the reward of rollout 'ep-1-0' is nan"):
        put(store, make_group(1), rewards={"ep-1-0": RewardBreakdown((), (), float("nan"))})
    with pytest.raises(StoreError, match="given for 'ep-9-9', which is not there"):
        put(store, make_group(1), rewards={"ep-9-9": VALID})
    assert store.counts()["rollouts"] == 0


def spoilt(group: RolloutGroup, changes: dict[str, Any]) -> RolloutGroup:
    """The group with its last rollout changed; `step`, `completion` and `trajectory` reach inside."""
    changes = dict(changes)
    *good, last = group.rollouts
    trajectory = last.trajectory
    if "step" in changes:
        step = replace(trajectory.steps[0], **changes.pop("step"))
        trajectory = replace(trajectory, steps=(step, *trajectory.steps[1:]))
    trajectory = replace(trajectory, **changes.pop("trajectory", {}))
    if "completion" in changes:
        changes["completions"] = (replace(last.completions[0], **changes.pop("completion")),)
    return replace(group, rollouts=[*good, replace(last, trajectory=trajectory, **changes)])


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"group": "other"}, "bad_rollout", "names group 'other' but travels in 'group-1'"),
        ({"step": {"reward": float("nan")}}, "bad_rollout", "step 0: reward is nan"),
        ({"trajectory": {"score": float("inf")}}, "bad_rollout", "score is inf"),
        ({"step": {"info": {"x": float("inf")}}}, "not_json", "step 0: info cannot be stored"),
        ({"extras": {"x": object()}}, "not_json", "extras cannot be stored"),
        ({"completion": {"logprobs": (0.0,)}}, "bad_rollout", "1 logprobs and 0 entropies for 16 tokens"),
        ({"completion": {"entropies": (0.0,)}}, "bad_rollout", "16 logprobs and 1 entropies"),
        ({"completion": {"prompt_ids": (2**31,)}}, "bad_rollout", "token id outside int32"),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused_whole(
    store: Store, make_group: MakeGroup, changes: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        put(store, make_group(0), spoilt(make_group(1), changes))
    assert caught.value.code == code
    assert "ep-1-3" in str(caught.value)
    assert store.counts()["rollouts"] == 0


def test_a_run_must_be_registered_first(store: Store, make_group: MakeGroup) -> None:
    for write in (
        lambda: store.append([make_group(1)], run_id="ran", iteration=0, phase="train"),
        lambda: store.set_rewards("ran", 0, {}),
        lambda: store.rewind("ran", 0),
    ):
        with pytest.raises(StoreError, match=r"'ran' is not registered.*did you mean 'run'"):
            write()


def test_runs_are_listed_and_registered_once(store: Store) -> None:
    store.add_run("run", {"seed": 1})
    store.add_run("another", {"lr": 0.1}, created_at="2000-01-01T00:00:00.000+00:00")
    assert [run.run_id for run in store.runs()] == ["run", "another"]
    assert store.runs()[0].created_at == "1970-01-01T00:00:00.000+00:00"
    assert store.runs()[1].config == {"lr": 0.1}
    with pytest.raises(StoreError, match="stored with another config"):
        store.add_run("run", {"seed": 2})


def test_an_empty_append_is_a_receipt_of_nothing(store: Store) -> None:
    assert put(store) == Receipt(0, 0)


def test_lists_are_filtered_paged_and_light(store: Store, make_group: MakeGroup) -> None:
    put(store, make_group(1), make_group(2))
    put(store, make_group(3), iteration=1, phase="eval")
    page = store.find(limit=5)
    rest = store.find(after=page[-1].number, limit=100)
    assert [r.rollout_id for r in page + rest] == [f"ep-{g}-{m}" for g in (1, 2, 3) for m in range(4)]
    newest = store.find(newest_first=True, limit=2)
    assert [r.rollout_id for r in newest] == ["ep-3-3", "ep-3-2"]
    assert store.find(newest_first=True, limit=1, after=newest[-1].number)[0].rollout_id == "ep-3-1"
    assert len(store.find(phase="eval")) == 4
    assert [r.rollout_id for r in store.find(won=True, iteration=0)] == ["ep-1-0", "ep-2-0"]
    failed = store.find(failed=True, group="group-2")
    assert [(r.rollout_id, r.error_code, r.stop_reason) for r in failed] == [
        ("ep-2-1", "policy_failed", StopReason.POLICY_ERROR)
    ]
    assert store.find(env_id="palaestra/Test-v0", task_key=make_group(3).task.key)[0].group == "group-3"
    record = store.find(rollout_id="ep-1-0")[0]
    assert (record.steps, record.tokens, record.member, record.run_id) == (3, 48, 0, "run")


def test_an_unknown_filter_names_the_nearest(store: Store) -> None:
    misspelt: Any = {"phaze": "train"}
    with pytest.raises(StoreError, match="did you mean 'phase'"):
        store.find(**misspelt)
    with pytest.raises(StoreError, match="unknown_filter"):
        next(store.rollouts(**misspelt))


def test_reading_is_lazy_and_sees_what_arrives_meanwhile(store: Store, make_group: MakeGroup) -> None:
    put(store, *(make_group(seed, turns=1) for seed in range(40)))  # 160 rollouts: more than one page
    reader = store.rollouts(run_id="run")
    first = next(reader)
    put(store, make_group(99))
    others = [stored.record.rollout_id for stored in reader]
    assert first.rollout == make_group(0, turns=1).rollouts[0]
    assert len(others) == 163
    assert others[-1] == "ep-99-3"


def test_the_summary_counts_and_averages_by_iteration_and_phase(store: Store, make_group: MakeGroup) -> None:
    put(store, make_group(1), make_group(2))
    put(store, make_group(3), iteration=1, phase="eval")
    train, evaluation = store.summary("run")
    assert (train.iteration, train.phase, train.rollouts, train.won, train.failed) == (0, "train", 8, 2, 2)
    assert (train.steps, train.tokens, train.mean_score) == (24, 384, (0 + 1 + 2 + 3) / 8 / 4)
    returns = [r.trajectory.native_return for g in (1, 2) for r in make_group(g).rollouts]
    assert train.mean_return == pytest.approx(np.mean(returns), rel=1e-12)
    assert (evaluation.iteration, evaluation.phase, evaluation.rollouts) == (1, "eval", 4)
    assert store.summary("nobody") == []
    assert len(store.summary()) == 2


def test_rewind_deletes_later_iterations_with_all_their_parts(store: Store, make_group: MakeGroup) -> None:
    for iteration in range(3):
        put(store, make_group(iteration), iteration=iteration)
    assert store.rewind("run", 1) == 8
    counts = store.counts()
    assert (counts["rollouts"], counts["steps"], counts["completions"], counts["errors"]) == (4, 12, 12, 1)
    assert put(store, make_group(1), iteration=1).stored == 4


def test_an_unknown_rollout_is_a_typed_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no rollout 'x' here") as caught:
        store.get("x")
    assert caught.value.code == "unknown_rollout"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE steps SET observation = 'changed' WHERE step = 1", "its digest differs"),
        ("UPDATE steps SET info = '{' WHERE step = 0", "cannot be read"),
        ("UPDATE rollouts SET stop_reason = 'bored' WHERE member = 2", "bored"),
        ("DELETE FROM completions WHERE turn = 2", "its digest differs"),
    ],
)
def test_check_finds_what_was_changed_behind_its_back(
    store: Store, make_group: MakeGroup, statement: str, said: str
) -> None:
    put(store, make_group(1))
    with transaction(store.engine, writes=True) as connection:
        connection.execute(text(statement))
    damage = list(find_damage(store))
    assert damage
    assert all(said in sentence for sentence in damage)


def test_many_threads_can_append_at_once(store: Store, make_group: MakeGroup) -> None:
    def work(seed: int) -> None:
        for repeat in range(3):
            put(store, make_group(seed), iteration=repeat)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts()["rollouts"] == 4 * 4 * 3
    assert list(find_damage(store)) == []


def test_two_writers_of_the_same_rollout_store_it_once(store_address: str, make_group: MakeGroup) -> None:
    receipts: list[Receipt] = []

    def work() -> None:
        with Store.open(store_address) as own:
            own.add_run("run")
            for seed in range(5):
                while True:
                    try:
                        receipts.append(put(own, make_group(seed)))
                        break
                    except StoreError as error:
                        if not error.retryable:  # on PostgreSQL another may be first; on SQLite writers queue
                            raise

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(store_address) as own:
        assert own.counts()["rollouts"] == 20
    assert sum(receipt.stored for receipt in receipts) == 20
    assert sum(receipt.repeated for receipt in receipts) == 40


def test_a_long_read_does_not_hold_up_a_writer(tmp_path: Path, make_group: MakeGroup) -> None:
    with Store.open(tmp_path / "s.sqlite", lock_timeout_s=0.0) as store:
        store.add_run("run")
        put(store, make_group(1))
        reader = store.rollouts()
        next(reader)
        assert put(store, make_group(2)).stored == 4
