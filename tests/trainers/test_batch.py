from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from palaestra.agents.types import Sampling
from palaestra.mcp_servers.errors import StoreError, TrainingError
from palaestra.trainers.batch import Denominator, TrainBatch, round_up
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Behaviour, Kind, Row

MakeRow = Callable[..., Row]
Packed = Callable[..., TrainBatch]


@pytest.fixture
def mixed(make_row: MakeRow, packed: Packed) -> TrainBatch:
    """Rows of all kinds and many lengths, one with an observation in the middle, one invalid."""
    rows = [
        make_row(0, length=2, prompt=5, traj_return=1.0),
        make_row(1, length=5, prompt=2, sampled_mask=(1, 1, 0, 0, 1), behaviour_logprobs=(-1.0, -2.0, 0.0, 0.0, -3.0)),
        make_row(
            2, kind=Kind.STEP, traj_id="s", step=0, step_reward=0.5, anchor_key="here", extras={"row_penalty": 0.1}
        ),
        make_row(3, kind=Kind.STEP, traj_id="s", step=1, terminated=True, anchor_key="there", prompt=3),
        make_row(4, kind=Kind.REFLECT, length=1, truncated=True, extras={"reflects_on": "s"}),
        make_row(5, length=4, valid=False, policy_version=3),
    ]
    return packed(rows)


def equal(left: TrainBatch, right: TrainBatch) -> bool:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        return bool(a == b)

    names = TrainBatch.__dataclass_fields__
    return all(same(getattr(left, name), getattr(right, name)) for name in names if name != "extras") and [
        dict(e) for e in left.extras
    ] == [dict(e) for e in right.extras]


def test_turns_are_columns_and_have_to_add_up(make_row: MakeRow, packed: Packed) -> None:
    rows = [
        make_row(0, turns=((1, 0.5), (2, -1.0))),
        make_row(1, kind=Kind.STEP, step_reward=0.25),
        make_row(2, kind=Kind.REFLECT),
    ]
    batch = packed(rows)
    assert batch.turn_tokens_BN.tolist() == [[1, 2], [3, -1], [-1, -1]]
    assert batch.turn_reward_BN.tolist() == [[0.5, -1.0], [0.25, 0.0], [0.0, 0.0]]
    with pytest.raises(TrainingError, match="its turns have 4 model tokens and its mask has 3"):
        packed([make_row(0, turns=((1, 0.5), (3, -1.0)))])


def test_prompts_are_padded_left_and_responses_right(make_row: MakeRow, packed: Packed) -> None:
    rows = [make_row(0, prompt=2, length=3), make_row(1, prompt=4, length=1)]
    batch = packed(rows)
    assert batch.input_ids_BL.tolist() == [
        [0, 0, *rows[0].prompt_ids, *rows[0].response_ids],
        [*rows[1].prompt_ids, *rows[1].response_ids, 0, 0],
    ]
    assert batch.attention_mask_BL.int().tolist() == [[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]]
    assert batch.position_ids_BL.tolist() == [[0, 0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4, 4]]
    assert batch.response_ids_BT.tolist() == [list(rows[0].response_ids), [*rows[1].response_ids, 0, 0]]
    assert (len(batch), batch.prompt_width, batch.response_width) == (2, 4, 3)
    assert torch.allclose(batch.behaviour_logprobs_BT[0], torch.tensor(rows[0].behaviour_logprobs))


def test_widths_are_rounded_up_to_a_few_shapes(make_row: MakeRow, packed: Packed) -> None:
    batch = packed([make_row(0, prompt=9, length=3)], multiple_of=8)
    assert (batch.prompt_width, batch.response_width) == (16, 8)
    assert batch.trim().input_ids_BL.shape == (1, 12)
    assert batch.trim(multiple_of=4).input_ids_BL.shape == (1, 16)
    assert [round_up(n, 8) for n in (1, 8, 9)] == [8, 8, 16]


def test_columns_hold_what_the_rows_say(mixed: TrainBatch) -> None:
    name = mixed.names
    assert mixed.kind_B.tolist() == [0, 0, 1, 1, 2, 0]
    assert [name[i] for i in mixed.traj_B.tolist()] == ["t0", "t1", "s", "s", "t4", "t5"]
    assert [None if i < 0 else name[i] for i in mixed.anchor_B.tolist()] == [None, None, "here", "there", None, None]
    assert mixed.group_B.tolist() == [0, 0, 1, 1, 2, 0], "each kind compares with its own"
    assert mixed.step_reward_B.tolist() == [0, 0, 0.5, 0, 0, 0]
    assert mixed.row_penalty_B.tolist() == [0, 0, 0.1, 0, 0, 0]
    assert mixed.terminated_B.tolist() == [False, False, False, True, False, False]
    assert mixed.truncated_B.tolist() == [False, False, False, False, True, False]
    assert mixed.policy_version_B.tolist() == [0, 0, 0, 0, 0, 3]
    assert mixed.is_step_B.tolist() == [False, False, True, True, False, False]


def test_mask_is_the_model_tokens_of_valid_rows(mixed: TrainBatch) -> None:
    assert mixed.mask_BT.int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_denominators_count_kinds_apart(mixed: TrainBatch) -> None:
    found = mixed.denominators(horizon=9)
    assert found.forward == Denominator(tokens=11, rows=4, horizon=9)
    assert found.reflect == Denominator(tokens=1, rows=1, horizon=9)
    assert found.tokens == 12


def test_saving_and_loading_is_exact(mixed: TrainBatch, tmp_path: Path) -> None:
    full = mixed.replace(
        old_logprobs_BT=-torch.rand(6, 5, generator=torch.Generator().manual_seed(0)),
        h_BTH=torch.full((6, 5, 2), 0.1, dtype=torch.float64),
    )
    for batch in (mixed, full):
        batch.save(tmp_path / "batch.npz")
        assert equal(TrainBatch.load(tmp_path / "batch.npz"), batch)


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_batch_is_a_store_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "batch.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"batch\.npz") as caught:
        TrainBatch.load(path)
    assert caught.value.code == "batch_read"


def test_an_archive_of_other_arrays_is_a_store_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(StoreError):
        TrainBatch.load(tmp_path / "other.npz")


def test_a_place_that_cannot_be_written_is_a_store_error(mixed: TrainBatch, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        mixed.save(tmp_path / "absent" / "batch.npz")
    assert caught.value.code == "batch_write"


def test_mini_batches_cover_every_row_once(mixed: TrainBatch) -> None:
    assert mixed.mini_batches(1) == [mixed]
    parts = mixed.mini_batches(4)
    assert [len(part) for part in parts] == [2, 2, 1, 1]
    assert torch.cat([part.row_id_B for part in parts]).tolist() == list(range(6))
    shuffled = mixed.mini_batches(2, np.random.default_rng(1))
    again = mixed.mini_batches(2, np.random.default_rng(1))
    order = torch.cat([part.row_id_B for part in shuffled]).tolist()
    assert sorted(order) == list(range(6))
    assert order != list(range(6))
    assert order == torch.cat([part.row_id_B for part in again]).tolist()


def test_micro_batches_are_sorted_by_length_and_trimmed(mixed: TrainBatch) -> None:
    parts = mixed.micro_batches(2)
    lengths = torch.cat([part.prompt_lengths_B + part.response_lengths_B for part in parts]).tolist()
    assert lengths == sorted(lengths)
    assert sorted(torch.cat([part.row_id_B for part in parts]).tolist()) == list(range(6))
    for part in parts:
        assert part.prompt_width == int(part.prompt_lengths_B.max())
        assert part.response_width == int(part.response_lengths_B.max())
        for i, row_id in enumerate(part.row_id_B.tolist()):
            whole = mixed.select(torch.tensor([row_id])).trim()
            assert torch.equal(part.select(torch.tensor([i])).trim().input_ids_BL, whole.input_ids_BL)


@pytest.mark.parametrize(
    "split", [lambda b: b.mini_batches(0), lambda b: b.mini_batches(7), lambda b: b.micro_batches(0)]
)
def test_impossible_splits_are_refused(split: Callable[[TrainBatch], Any], mixed: TrainBatch) -> None:
    with pytest.raises(TrainingError) as caught:
        split(mixed)
    assert caught.value.code == "split"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"behaviour": Behaviour.LOSSY}, "lossy_row"),
        ({"sampling": Sampling(temperature=0.7)}, "sampling"),
        ({"sampling": Sampling(top_p=0.9)}, "sampling"),
        ({"prompt": 0}, "row_shape"),
        ({"sampled_mask": (1, 1)}, "row_shape"),
        ({"behaviour_logprobs": (-1.0,)}, "row_shape"),
        ({"sampled_mask": (0, 0, 0)}, "no_model_token"),
        ({"behaviour_logprobs": (-1.0, float("nan"), -1.0)}, "behaviour_logprobs"),
        ({"behaviour_logprobs": (-1.0, -float("inf"), -1.0)}, "behaviour_logprobs"),
        ({"behaviour_logprobs": (-1.0, 0.5, -1.0)}, "behaviour_logprobs"),
        ({"traj_return": float("nan")}, "non_finite_reward"),
        ({"step_reward": float("inf")}, "non_finite_reward"),
        ({"row_id": 0}, "duplicate_row"),
        ({"traj_id": "t0", "step": 1, "traj_return": 9.0}, "trajectory_return"),
        ({"traj_id": "t0", "step": 1, "valid": False}, "trajectory_return"),
        ({"traj_id": "t0", "step": 0}, "step_order"),
    ],
)
def test_every_broken_row_is_refused(changes: dict[str, Any], code: str, make_row: MakeRow, packed: Packed) -> None:
    with pytest.raises(TrainingError) as caught:
        packed([make_row(0), make_row(**{"row_id": 1, **changes})])
    assert caught.value.code == code


def test_a_law_that_cannot_be_scored_is_refused(make_row: MakeRow) -> None:
    cold, cut = Sampling(temperature=0.0), Sampling(top_k=5)
    for law in (cold, cut):
        with pytest.raises(TrainingError) as caught:
            pack([make_row(0, sampling=law)], law)
        assert caught.value.code == "sampling"
    assert len(pack([make_row(0, sampling=cut)], cut, corrected=True)) == 1
    with pytest.raises(TrainingError, match="empty"):
        pack([], Sampling())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"advantages_BT": torch.zeros(6, 4)}, "batch_shape"),
        ({"h_BTH": torch.zeros(6, 4, 2)}, "batch_shape"),
        ({"step_B": torch.zeros(5, dtype=torch.int64)}, "batch_shape"),
        ({"extras": ({},)}, "batch_shape"),
        ({"mask_BT": torch.ones(6, 5, dtype=torch.bool)}, "batch_mask"),
    ],
)
def test_every_broken_tensor_is_refused(changes: dict[str, Any], code: str, mixed: TrainBatch) -> None:
    with pytest.raises(TrainingError) as caught:
        mixed.replace(**changes)
    assert caught.value.code == code
