"""An episode as the data the page's viewer steps through: a frame before each action and one at the end."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from palaestra.agents.store import StoredRollout
from palaestra.envs.core.types import ActionStatus, Step, StopReason, Task, Trajectory
from palaestra.envs.sokoban.levels import XSB
from palaestra.envs.sokoban.render import SYMBOLS

MOST_STEPS: Final = 120
MOST_CHARACTERS: Final = 1_500
MOST_BYTES: Final = 100_000
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MARKUP = re.compile("[<>&\u2028\u2029]")
_CELLS: Final[Mapping[str, str]] = {"compact": SYMBOLS, "padded": SYMBOLS, "xsb": XSB}


def replay(stored: StoredRollout, name: str) -> dict[str, Any]:
    """One side of the viewer: JSON-ready, at most `MOST_STEPS` steps, `MOST_CHARACTERS` a text, `MOST_BYTES` in all.

    `kind` is "board" if every frame is a Sokoban board (a frame is then rows of cell codes joined by "/"), else "text";
    `task_type` is what the environment calls it, if it does;
    `distance` is the moves left to the goal where the environment told it; `left_out` counts the steps not shown.
    """
    trajectory = stored.rollout.trajectory
    texts = frames(trajectory)[: MOST_STEPS + 1]
    boards = [read_board(trajectory.task, text) for text in texts]
    are_boards = all(board is not None for board in boards)
    views = boards if are_boards else [clip(text) for text in texts]
    steps = [_step(step) for step in trajectory.steps[:MOST_STEPS]]
    sizes = [len(inert_json([view, step]).encode()) for view, step in zip(views[1:], steps, strict=True)]
    shown = sum(total <= MOST_BYTES for total in itertools.accumulate(sizes))
    return {
        "name": name,
        "won": trajectory.won,
        "outcome": outcome(trajectory),
        "task_type": clip(str(trajectory.start.get("task_type") or "").replace("_", " "), 60),
        "distance": trajectory.start.get("oracle_distance"),
        "failure": clip(stored.rollout.failure.message) if stored.rollout.failure else "",
        "kind": "board" if are_boards else "text",
        "frames": views[: shown + 1],
        "steps": steps[:shown],
        "left_out": len(trajectory.steps) - shown,
    }


def frames(trajectory: Trajectory) -> list[str]:
    """The world as text before each action and after the last: the board if the environment gives one in `anchor`."""
    steps = trajectory.steps
    first = trajectory.start.get("anchor") or (steps[0].observation if steps else trajectory.final_observation)
    seen = [step.observation for step in steps[1:]] + ([trajectory.final_observation] if steps else [])
    after = [step.info.get("anchor") or text for step, text in zip(steps, seen, strict=True)]
    return [str(first), *map(str, after)]


def read_board(task: Task, text: str) -> str | None:
    r"""The cell codes (0 wall ... 6 player on target) of a Sokoban board, rows joined by "/"; None if it is none.

    >>> read_board(Task("palaestra/Sokoban-v0", 0), "####\n#PX#\n####")
    '0000/0540/0000'
    """
    if not task.env_id.startswith("palaestra/Sokoban"):
        return None
    style = str(task.env_kwargs.get("text_style", "compact"))
    symbols = _CELLS.get(style, SYMBOLS)
    lines = [line[1::4] for line in text.split("\n")] if style == "padded" else text.split("\n")
    codes = [[symbols.find(sign) for sign in line] for line in lines]
    if len({len(row) for row in codes}) != 1 or not codes[0] or any(-1 in row for row in codes):
        return None
    return "/".join("".join(map(str, row)) for row in codes)


def outcome(trajectory: Trajectory) -> str:
    """One phrase about how the episode ended.

    >>> outcome(Trajectory(Task("e", 0), (), StopReason.TRUNCATED, "", won=False, score=0.0))
    'not solved in 0 steps'
    """
    count = len(trajectory.steps)
    steps = f"{count} step" if count == 1 else f"{count} steps"
    if trajectory.won:
        return f"solved in {steps}"
    if trajectory.stop_reason is StopReason.TRUNCATED:
        return f"not solved in {steps}"
    reason = trajectory.stop_reason
    return f"not solved, {_WHY.get(reason) or reason.value.replace('_', ' ')} after {steps}"


_WHY: Final = {
    StopReason.TERMINATED: "ended",
    StopReason.CONTEXT_LIMIT: "context full",
    StopReason.ENV_ERROR: "environment error",
}


def inert_json(data: object) -> str:
    r"""JSON that cannot end the script element it stands in.

    >>> inert_json(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _MARKUP.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """The text with what no page can hold (control characters, lone surrogates) replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def clip(text: str, most: int = MOST_CHARACTERS) -> str:
    r"""Text a page can hold: bounded, control characters and lone surrogates replaced.

    >>> clip("abcdef", 3), clip("a\x00b") == "a\ufffdb"
    ('abc… (3 more characters)', True)
    """
    kept = printable(text[:most])
    return kept if len(text) <= most else f"{kept}… ({len(text) - most} more characters)"


def _step(step: Step) -> dict[str, Any]:
    status = step.action.status
    return {
        "action": clip(step.action.text, 200),
        "response": clip(step.response),
        "status": "" if status is ActionStatus.OK else status.value.replace("_", " "),
        "reward": round(step.reward, 4),
        "distance": step.info.get("oracle_distance"),
        "deadlock": bool(step.info.get("deadlock")),
    }
