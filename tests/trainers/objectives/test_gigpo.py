from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.gigpo import similar
from palaestra.trainers.objectives.registry import advantages
from palaestra.trainers.rows import Row

Rows = Callable[..., list[Row]]
Packed = Callable[..., TrainBatch]
REWARDS = [[0.0, 1.0], [0.0, 0.0, 0.5], [2.0]]
ANCHORS = [["start", "door"], ["start", "wall", "door"], ["start"]]


def gigpo(batch: TrainBatch, gamma: float = 0.5, scale: str = "group", **settings: Any) -> Tensor:
    config = ObjectiveConfig.read({"gamma": gamma, "scale_rewards": scale, "gigpo": settings})
    return advantages.get("gigpo")(batch, config)


def values(result_BT: Tensor) -> list[float]:
    return result_BT[:, 0].tolist()


@pytest.mark.parametrize("mode", ["mean_norm", "mean_std_norm"])
@pytest.mark.parametrize("weight", [0.0, 1.0, 0.3])
def test_advantage_equals_a_reference_by_hand(mode: str, weight: float, steps: Rows, packed: Packed) -> None:
    """Identical anchors share a cell across trajectories; an anchor met once adds nothing."""
    divide = mode == "mean_std_norm"

    def normalised(value: float, members: list[float]) -> float:
        return (value - float(np.mean(members))) / (float(np.std(members, ddof=1)) + 1e-6 if divide else 1.0)

    returns, totals = [[0.5, 1.0], [0.125, 0.25, 0.5], [2.0]], [1.0, 0.5, 2.0]
    cells = {"start": [0.5, 0.125, 2.0], "door": [1.0, 0.5], "wall": [0.25]}
    expected = []
    for i, trajectory in enumerate(returns):
        for t, value in enumerate(trajectory):
            cell = cells[ANCHORS[i][t]]
            step_part = normalised(value, cell) if len(cell) > 1 else 0.0
            expected.append(normalised(totals[i], totals) + weight * step_part)
    ours = gigpo(packed(steps(REWARDS, ANCHORS)), mode=mode, step_advantage_w=weight)
    np.testing.assert_allclose(values(ours), expected, rtol=1e-5, atol=1e-7)


def test_without_the_step_part_it_is_grpo(steps: Rows, packed: Packed) -> None:
    batch = packed(steps(REWARDS, ANCHORS))
    grpo = advantages.get("grpo")(batch, ObjectiveConfig())
    assert gigpo(batch, mode="mean_std_norm", step_advantage_w=0.0).tolist() == grpo.tolist()


def test_equal_anchors_of_different_tasks_are_different_cells(steps: Rows, packed: Packed) -> None:
    rows = [*steps([[1.0]], [["start"]]), *steps([[5.0]], [["start"]], uid="other", first_id=10)]
    assert values(gigpo(packed(rows))) == [1.0, 5.0], "single members: A_E = R, A_S = 0"


def test_episode_statistics_over_rows_weigh_long_episodes_more(steps: Rows, packed: Packed) -> None:
    batch = packed(steps([[0.0, 0.0, 1.0], [0.0]], [["a", "b", "c"], ["d"]]))
    assert values(gigpo(batch)) == pytest.approx([0.5, 0.5, 0.5, -0.5])
    assert values(gigpo(batch, episode_stats="steps")) == pytest.approx([0.25, 0.25, 0.25, -0.75])


def test_one_trajectory_of_several_rows(steps: Rows, packed: Packed) -> None:
    batch = packed(steps([[0.0, 2.0]], [["a", "b"]]))
    assert values(gigpo(batch)) == [2.0, 2.0]
    assert values(gigpo(batch, episode_stats="steps")) == [0.0, 0.0]


def test_the_penalty_hits_its_own_row_only(steps: Rows, packed: Packed) -> None:
    rows = steps([[0.0, 1.0], [0.0, 0.0]], [["a", "b"], ["a", "b"]])
    punished = [Row(**{f: getattr(r, f) for f in r.__slots__} | {"extras": {"row_penalty": 0.1 * (i == 3)}})
                for i, r in enumerate(rows)]  # fmt: skip
    # episode part: 0.5, 0.5, -0.5, -0.5 - 0.1; step part in cell b: returns 1 and 0 - 0.1, mean 0.45
    assert values(gigpo(packed(punished), gamma=1.0)) == pytest.approx([1.0, 1.05, -1.0, -1.15])
    row_mean = (1.0 + 1.0 + 0.0 - 0.1) / 4
    expected = [1 - row_mean + 0.5, 1 - row_mean + 0.55, -row_mean - 0.5, -0.1 - row_mean - 0.55]
    assert values(gigpo(packed(punished), gamma=1.0, episode_stats="steps")) == pytest.approx(expected)


def test_singletons_can_be_zeroed(steps: Rows, packed: Packed) -> None:
    config = ObjectiveConfig(singleton_group="zero")
    assert values(advantages.get("gigpo")(packed(steps([[3.0]])), config)) == [0.0]


def test_similar_anchors_share_a_cell_within_their_task_only(steps: Rows, packed: Packed) -> None:
    text = "You are in the kitchen and see a red apple on table {}"
    rows = steps([[1.0], [0.0]], [[text.format(1)], [text.format(2)]], returns=[0.0, 0.0])
    rows += steps([[9.0], [9.0]], [[text.format(3)], [text.format(3)]], uid="other", first_id=10, returns=[0.0, 0.0])
    exact, merged = gigpo(packed(rows)), gigpo(packed(rows), enable_similarity=True)
    assert values(exact) == [0.0, 0.0, 0.0, 0.0]
    assert values(merged) == pytest.approx([0.5, -0.5, 0.0, 0.0])


def test_merging_goes_to_the_first_similar_anchor() -> None:
    names = ["aaaaaaaaab", "aaaaaaaaac", "zzzzzzzzzz"]
    assert similar([2, 0, 1, 0, 2], names, 0.9) == [2, 0, 0, 0, 2]
    assert similar([2, 0, 1, 0, 2], names, 1.0) == [2, 0, 1, 0, 2]


def test_a_step_without_anchor_is_refused_only_if_cells_matter(steps: Rows, packed: Packed) -> None:
    (row,) = steps([[1.0]])
    batch = packed([Row(**{f: getattr(row, f) for f in row.__slots__} | {"anchor_key": None})])
    with pytest.raises(TrainingError, match="anchor_key") as caught:
        gigpo(batch)
    assert caught.value.code == "no_anchor"
    assert values(gigpo(batch, step_advantage_w=0.0)) == [1.0]
