from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import DEAD, distance_info, trajectories, trajectory

from palaestra.envs.core.types import ActionStatus as S
from palaestra.envs.core.types import StopReason, Trajectory
from palaestra.mcp_servers.errors import ConfigError
from palaestra.rewards import format as answer_format
from palaestra.rewards import outcome
from palaestra.rewards.compose import Invalid, InvalidReason, RewardBreakdown
from palaestra.rewards.potential import progress
from palaestra.rewards.recipe import GAME_COMPONENTS, RewardRecipe


def test_success_is_paid_once_at_the_end() -> None:
    won = trajectory(won=True, stop=StopReason.TERMINATED)
    assert outcome.success(won).raw_S == (0, 0, 1)
    assert outcome.success(trajectory(won=False)).raw_S == (0, 0, 0)
    assert (outcome.success(won).evidence, outcome.success(trajectory()).evidence) == ("won", "not won")


def test_an_episode_under_way_has_no_outcome_yet() -> None:
    running = trajectory(won=True, score=0.7, stop=StopReason.CANCELLED)
    assert outcome.success(running).raw_S == outcome.graded(running).raw_S == (0, 0, 0)
    assert outcome.success(running).evidence == "not ended"


def test_a_full_context_ends_an_episode() -> None:
    full = trajectory(won=False, score=0.5, stop=StopReason.CONTEXT_LIMIT)
    assert outcome.graded(full).raw_S == (0, 0, 0.5)
    assert outcome.graded(trajectory((), stop=StopReason.CONTEXT_LIMIT)).raw_S == ()


def test_native_and_step() -> None:
    episode = trajectory(native=(-0.1, 0.9, 10.9))
    assert outcome.native(episode).raw_S == (-0.1, 0.9, 10.9)
    assert outcome.step(episode).raw_S == (1, 1, 1)


def test_malformed_is_about_the_format_and_invalid_about_the_action_too() -> None:
    statuses = (S.OK, S.NO_ACTION, S.INADMISSIBLE, S.NOT_IN_LANGUAGE, S.TOO_LONG)
    episode = trajectory(statuses)
    assert answer_format.malformed(episode).raw_S == (0, 1, 0, 0, 1)
    assert answer_format.invalid(episode).raw_S == (0, 1, 1, 1, 1)
    assert answer_format.malformed(episode).evidence == "1: no_action, 4: too_long"
    assert answer_format.malformed(trajectory()).evidence == "none"


def test_progress_pays_for_distance_gained() -> None:
    episode = trajectory(distances=(5, 4, 6, 0))
    assert progress()(episode).raw_S == (1, -2, 6)
    assert progress()(episode).evidence == "distance 5 to 0"


def test_out_of_reach_counts_as_the_cap() -> None:
    assert progress(10)(trajectory(distances=(4, DEAD, DEAD, 50))).raw_S == (-6, 0, 0)


@pytest.mark.parametrize("missing", range(4))
def test_progress_without_distances_does_not_apply(missing: int) -> None:
    distances: list[float | None] = [3, 2, 1, 0]
    distances[missing] = None
    reward = RewardRecipe(components={"progress": 1.0, "step": -0.1}).build()(trajectory(distances=distances))
    assert isinstance(reward, Invalid)
    assert reward.reason is InvalidReason.NOT_APPLICABLE
    assert "oracle_info" in reward.detail
    assert [component.name for component in reward.components] == ["step"]


@given(trajectories(), st.sampled_from([1.0, 5.0, 30.0]))
def test_progress_depends_on_the_ends_alone(episode: Trajectory, cap: float) -> None:
    def potential(info: object) -> float:
        assert isinstance(info, dict)
        return cap if info.get("deadlock") else min(float(info["oracle_distance"]), cap)

    gains = progress(cap)(episode).raw_S
    assert sum(gains) == pytest.approx(potential(dict(episode.start)) - potential(dict(episode.steps[-1].info)))


def test_the_task_mix_adds_up() -> None:
    weights = {"success": 1.0, "step": -0.02, "malformed": -0.2, "progress": 0.5}
    statuses = (S.OK, S.NO_THINK, S.OK)
    episode = trajectory(statuses, won=True, stop=StopReason.TERMINATED, distances=(2, 1, 1, 0))
    reward = RewardRecipe(components=weights).build()(episode)
    assert isinstance(reward, RewardBreakdown)
    assert reward.steps_S == pytest.approx((0.48, -0.22, 1.48))
    assert reward.total == pytest.approx(1.74)


@pytest.mark.parametrize("name", GAME_COMPONENTS)
def test_every_listed_component_can_be_built(name: str) -> None:
    reward = RewardRecipe(components={name: 1.0}).build()(trajectory(distances=(3, 2, 1, 0)))
    assert isinstance(reward, RewardBreakdown)
    assert reward.components[0].name == name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"components": {"sucess": 1.0}}, "did you mean 'success'"),
        ({"components": {"success": float("nan")}}, "weights must be finite"),
        ({"components": {}}, "name at least one"),
        ({"bounds": (1.0, 1.0)}, "must be below"),
        ({"bounds": (float("nan"), 1.0)}, "must be below"),
        ({"distance_cap": 0}, "RewardRecipe.distance_cap"),
        ({"weights": {}}, "unknown key 'weights'"),
    ],
)
def test_a_bad_recipe_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RewardRecipe.model_validate(settings)
    assert words in caught.value.message


def test_the_stored_form_of_a_distance() -> None:
    assert distance_info(DEAD) == {"oracle_distance": None, "deadlock": True}
