"""The replay benchmark can find a difference: it does so when the second play is disturbed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from palaestra.benchmarks import replay
from palaestra.mcp_servers.errors import TrainingError


def test_twelve_episodes_are_the_same_everywhere() -> None:
    assert replay.count_differing(12, seed=0) == 0


def test_a_digest_sees_every_action_and_the_level() -> None:
    env = replay._make()
    actions = replay.play(env, 0, 5)
    digest = replay.digest(env, 5, actions)
    assert digest == replay.digest(env, 5, actions)
    assert digest != replay.digest(env, 6, actions)
    assert digest != replay.digest(env, 5, actions[:-1])
    env.close()


def test_episodes_that_differ_elsewhere_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    there = replay._in_another_process

    def disturbed(actions: Sequence[Sequence[str]]) -> list[str]:
        return there([["still", *episode[1:]] if number == 3 else episode for number, episode in enumerate(actions)])

    monkeypatch.setattr(replay, "_in_another_process", disturbed)
    assert replay.count_differing(6, seed=0) == 1


def test_a_second_process_that_fails_is_an_error() -> None:
    with pytest.raises(TrainingError, match="InvalidAction"):
        replay._in_another_process([[3]])  # type: ignore[list-item]
