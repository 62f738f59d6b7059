"""A game for one person: a text environment with levels in a row, undo, hints and a tally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from palaestra.envs.core.text.prompt import World
from palaestra.envs.core.text.types import ProgressOracle, TextWorld
from palaestra.mcp_servers.errors import ConfigError, TaskError, boundary
from palaestra.mcp_servers.framework.sources import derive_seed


@dataclass(frozen=True, slots=True)
class Position:
    """What the player sees between two moves."""

    observation: str
    admissible: tuple[str, ...]
    steps: int
    reward: float
    won: bool
    over: bool


class Game:
    """Levels of one environment, played one after another.

    A level is a function of (seed, level number), so it can be restarted, and played again tomorrow.

    Args:
        env_id, env_kwargs: as for `gymnasium.make`.
        split: of the levels; None leaves it to the environment.
        seed: of all levels.
        level: number of the first.

    Raises: TaskError if the environment cannot be made, reset or stepped; ConfigError "not_text" if it does not speak
        text.

    Attributes:
        position: where the player stands.
        level: number of the level.
        best: moves of a shortest solution, None if unknown.
        message: what the last command had to say; may be empty.
        legend: one sentence that explains the observation; may be empty.
        played, solved: levels seen and levels won so far.
    """

    position: Position
    level: int
    best: float | None
    message: str

    def __init__(
        self, env_id: str, env_kwargs: Mapping[str, Any], split: str | None = None, seed: int = 0, level: int = 0
    ) -> None:
        with boundary("env_make", TaskError):
            self.env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, disable_env_checker=True, **env_kwargs)
        world = World.of(self.env)
        self.legend = world.legend
        self._actions = world.actions
        self._options = None if split is None else {"split": split}
        self._seed = seed
        self._undo: list[tuple[bytes, Position]] = []
        self._played: set[int] = set()
        self._solved: set[int] = set()
        self._start(level)

    @property
    def played(self) -> int:
        """Levels seen so far."""
        return len(self._played)

    @property
    def solved(self) -> int:
        """Levels won so far."""
        return len(self._solved)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def act(self, action: str) -> None:
        """Make one move; anything the environment does not understand costs a step, as it does an agent."""
        before = self.position
        if before.over:
            self.message = "This level is over: undo, restart, or take a new one."
            return
        world = self.env.unwrapped
        saved = world.snapshot() if isinstance(world, TextWorld) else None
        with boundary("env_step", TaskError):
            observation, reward, terminated, truncated, info = self.env.step(action)
        if saved is not None:
            self._undo.append((saved, before))
        self.position = Position(
            observation=str(observation),
            admissible=self._listed(info),
            steps=before.steps + 1,
            reward=before.reward + float(reward),
            won=bool(info.get("won", False)),
            over=bool(terminated or truncated),
        )
        status = info.get("action_status", "ok")
        self.message = "" if status == "ok" else f"{action[:40]!r} does nothing here ({status})."
        if self.position.won:
            self._solved.add(self.level)
            self.message = f"Solved in {self.position.steps} moves (best possible: {self._best_text})."
        elif self.position.over:
            ended = "Over" if terminated else "Out of moves"
            self.message = f"{ended} after {self.position.steps} (reward {self.position.reward:g})."

    def undo(self) -> None:
        """Take the last move back."""
        world = self.env.unwrapped
        if not isinstance(world, TextWorld):
            self.message = "This environment cannot take moves back."
        elif not self._undo:
            self.message = "There is no move to take back."
        else:
            saved, self.position = self._undo.pop()
            world.restore(saved)
            self.message = "Took one move back."

    def hint(self) -> None:
        """Name the next move of a shortest solution from here."""
        world = self.env.unwrapped
        if not isinstance(world, ProgressOracle):
            self.message = "This environment knows no solutions."
            return
        if self.position.over:
            self.message = "This level is over."
            return
        plan = world.plan()
        if plan:
            self.message = f"Hint: {plan[0]} ({len(plan)} moves to go)."
        else:
            self.message = "No solution from here is known: undo or restart."

    def restart(self) -> None:
        """Begin the level again."""
        self._start(self.level)
        self.message = "Back at the start."

    def next_level(self) -> None:
        """Begin the next level."""
        self._start(self.level + 1)

    @property
    def _best_text(self) -> str:
        return "unknown" if self.best is None else f"{self.best:g}"

    def status(self) -> str:
        """One line: level, moves, the best possible, reward."""
        at = self.position
        return f"level {self.level}  moves {at.steps} (best {self._best_text})  reward {at.reward:.1f}"

    def _start(self, level: int) -> None:
        seed = derive_seed(self._seed, "play", level) >> 33
        with boundary("env_reset", TaskError):
            observation, info = self.env.reset(seed=seed, options=self._options)
        if not isinstance(observation, str):
            raise ConfigError(
                "not_text",
                f"{self.env.spec.id if self.env.spec else self.env} observes {type(observation).__name__}; "
                "only text can be played",
            )
        world = self.env.unwrapped
        self.level = level
        self.best = world.distance() if isinstance(world, ProgressOracle) else None
        self.position = Position(observation, self._listed(info), 0, 0.0, bool(info.get("won", False)), over=False)
        self.message = ""
        self._undo.clear()
        self._played.add(level)

    def _listed(self, info: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(info.get("admissible_commands", self._actions))
