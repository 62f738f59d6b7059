from __future__ import annotations

import random  # noqa: TID251 - planted on purpose
import threading
from typing import Any

import gymnasium
import pytest
from grid_walk import ENV_ID, Corridor, GridWalk, register

from palaestra.envs.core.checks import check_agent_env
from palaestra.mcp_servers.errors import ConfigError, TaskError

register()
Returned = tuple[str, float, bool, bool, dict[str, Any]]


def check_planted(env_type: type[Corridor], **kwargs: Any) -> TaskError:
    """Register an environment with a planted fault, check it, and return the complaint."""
    env_id = f"palaestra-tests/{env_type.__name__}-v0"
    gymnasium.register(env_id, entry_point=lambda **kwargs: env_type(**kwargs))
    try:
        with pytest.raises(TaskError) as caught:
            check_agent_env(env_id, seeds=(0, 1, 2, 3), **kwargs)
    finally:
        del gymnasium.registry[env_id]
    return caught.value


def test_a_sound_environment_passes_every_check() -> None:
    report = check_agent_env(ENV_ID)
    assert report.checks == ("gymnasium", "info", "noop", "end", "replay", "copy", "snapshot", "leaks")
    assert report.remarks == ()


def test_keyword_arguments_reach_the_environment() -> None:
    assert "leaks" in check_agent_env(ENV_ID, seeds=(5,), oracle_info=True, length=9).checks


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(TaskError, match="check_make") as caught:
        check_agent_env("palaestra-tests/Nothing-v0")
    assert "palaestra-tests/Nothing-v0" in str(caught.value)


def test_an_environment_that_refuses_its_arguments_is_named() -> None:
    class Refusing(GridWalk):
        def __init__(self) -> None:
            raise ConfigError("length", "length = 0; must be at least 3")

    error = check_planted(Refusing)
    assert error.code == "check_make"
    assert "length = 0" in error.message


class MissingKey(GridWalk):
    def _info(self) -> dict[str, Any]:
        info = super()._info()
        del info["state_key"]
        return info


class WrongType(GridWalk):
    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "won": 0}


class WrongStep(GridWalk):
    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "step": 0}


class ScoreTooHigh(GridWalk):
    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "score": 1.5}


class Contradicting(GridWalk):
    def step(self, action: str) -> Returned:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "action_valid": not info["action_valid"]}


class UnknownStatus(GridWalk):
    def step(self, action: str) -> Returned:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "action_status": "fine"}


class BothFlags(GridWalk):
    def step(self, action: str) -> Returned:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, terminated or truncated, info


class Endless(GridWalk):
    def __init__(self) -> None:
        super().__init__(max_steps=10**9)

    def step(self, action: str) -> Returned:
        return super().step("left" if action == "right" else action)


class Reviving(GridWalk):
    def step(self, action: str) -> Returned:
        self.ended = False
        return super().step(action)


class NoopMoves(GridWalk):
    def step(self, action: str) -> Returned:
        return super().step("right" if action == "<noop>" else action)


class Crashing(GridWalk):
    def step(self, action: str) -> Returned:
        if len(action) > 1000:
            raise OverflowError("too long for me")
        return super().step(action)


class Forgiving(GridWalk):
    def step(self, action: str) -> Returned:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "action_status": "ok", "action_valid": True}


class Remembering(GridWalk):
    veteran = False

    def _info(self) -> dict[str, Any]:
        self.veteran = self.veteran or self.taken >= 3
        return {**super()._info(), "veteran": self.veteran}


class ForgettingSnapshot(GridWalk):
    def restore(self, data: bytes, /) -> None:
        taken = self.taken
        super().restore(data)
        self.taken = taken


class TextSnapshot(GridWalk):
    def snapshot(self) -> bytes:
        return super().snapshot().decode()  # type: ignore[return-value]


class SharedCopy(GridWalk):
    def __deepcopy__(self, memo: dict[int, Any]) -> SharedCopy:
        return self


class Aliasing(GridWalk):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def _admissible(self) -> list[str]:
        self.words[:] = super()._admissible()
        return self.words


class TellingOracle(GridWalk):
    def __init__(self) -> None:
        super().__init__(oracle_info=True)


class GlobalDraw(GridWalk):
    def step(self, action: str) -> Returned:
        random.random()
        return super().step(action)


@pytest.mark.parametrize(
    ("env_type", "check", "words"),
    [
        (MissingKey, "info", "'state_key'] is missing after reset"),
        (WrongType, "info", "expected bool"),
        (WrongStep, "info", "info['step'] is 0 after 1 steps"),
        (ScoreTooHigh, "info", "1.5"),
        (Contradicting, "info", "contradicts"),
        (UnknownStatus, "info", "'fine'"),
        (BothFlags, "info", "at once"),
        (NoopMoves, "noop", "changed the score"),
        (Crashing, "noop", "OverflowError: too long for me"),
        (Forgiving, "noop", "called a valid action"),
        (Endless, "end", "no end after"),
        (Reviving, "end", "ResetNeeded"),
        (Remembering, "replay", "differs in info"),
        (SharedCopy, "copy", "seed"),
        (ForgettingSnapshot, "snapshot", "after restore"),
        (TextSnapshot, "snapshot", "expected bytes"),
        (TellingOracle, "leaks", "oracle_info was not asked for"),
        (GlobalDraw, "leaks", "global state of `random`"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_planted_fault_is_named(env_type: type[Corridor], check: str, words: str) -> None:
    error = check_planted(env_type)
    assert error.code == f"check_{check}"
    assert words in error.message


def test_an_info_the_caller_can_damage_is_refused() -> None:
    error = check_planted(Aliasing)
    assert "changed afterwards" in error.message
    assert error.code == "check_info"


def test_a_thread_left_behind_is_named() -> None:
    release = threading.Event()

    class LeavingThreads(GridWalk):
        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[str, dict[str, Any]]:
            threading.Thread(target=release.wait, daemon=True).start()
            return super().reset(seed=seed, options=options)

    try:
        error = check_planted(LeavingThreads)
    finally:
        release.set()
    assert error.code == "check_leaks"
    assert "number of threads" in error.message


def test_without_snapshot_the_report_says_so() -> None:
    env_id = "palaestra-tests/Corridor-v0"
    gymnasium.register(env_id, entry_point=lambda **kwargs: Corridor(**kwargs))
    try:
        report = check_agent_env(env_id, seeds=(0,))
    finally:
        del gymnasium.registry[env_id]
    assert "snapshot" not in report.checks
    assert any("cannot branch" in remark for remark in report.remarks)
