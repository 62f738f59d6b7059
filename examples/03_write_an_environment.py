"""A text environment of your own: guess a number. `check_agent_env` says whether agents and trainers can rely on it."""

import json
from typing import Any, ClassVar

import gymnasium
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from palaestra.envs.core.checks import check_agent_env

LOW, HIGH, TURNS = 1, 20, 8
CHARACTERS = "".join(map(chr, range(32, 127)))


class GuessEnv(gymnasium.Env[str, str]):
    """The answer to every guess is "higher" or "lower"; the reward is 1 for the number itself."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "world_name": "a guessing game"}
    observation_space = spaces.Text(64, min_length=1, charset=CHARACTERS)
    action_space = spaces.Text(256, min_length=1, charset=CHARACTERS)
    max_steps = TURNS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.number = int(self.np_random.integers(LOW, HIGH + 1))
        self.low, self.high, self.turn, self.said, self.over = LOW, HIGH, 0, "guess", False
        return self._observation(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.over:
            raise ResetNeeded("the game is over; call reset()")
        self.turn += 1
        guess = int(action) if action.isascii() and action.isdigit() and len(action) <= 2 else None
        status = "ok" if guess is not None and self.low <= guess <= self.high else "not_in_language"
        if status == "ok":
            self.said = "right" if guess == self.number else "higher" if guess < self.number else "lower"
            self.low = guess + 1 if self.said == "higher" else self.low
            self.high = guess - 1 if self.said == "lower" else self.high
        won = self.said == "right"
        self.over = won or self.turn == TURNS
        info = self._info() | {
            "action_status": status,
            "action_valid": status == "ok",
            "action_admissible": status == "ok",
        }
        return self._observation(), float(won), won, self.over and not won, info

    def _observation(self) -> str:
        return f"{self.said}: {self.low} to {self.high}"

    def _info(self) -> dict[str, Any]:
        won = self.said == "right"
        return {
            "won": won, "score": float(won), "step": self.turn, "anchor": self._observation(),
            "admissible_commands": [str(n) for n in range(self.low, self.high + 1)],
            "task": f"Find the number from {LOW} to {HIGH}.", "task_id": f"number-{self.number}", "split": "all",
            "state_key": f"{self.number:04x}{self.low:04x}{self.high:04x}0000",
        }  # fmt: skip

    # With these two, episodes can branch and `palaestra play` can take moves back.
    def snapshot(self) -> bytes:
        state = [self.number, self.low, self.high, self.turn, self.said, self.over]
        return json.dumps([state, self.np_random.bit_generator.state]).encode()

    def restore(self, snapshot: bytes) -> None:
        state, self.np_random.bit_generator.state = json.loads(snapshot)
        self.number, self.low, self.high, self.turn, self.said, self.over = state


gymnasium.register("example/Guess-v0", GuessEnv)

if __name__ == "__main__":
    report = check_agent_env("example/Guess-v0")
    print(report.env_id, "passes:", ", ".join(report.checks))
    assert "snapshot" in report.checks
