"""The settings of an ALFWorld environment, shared by the single and the batched one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.alfworld.household import Size
from palaestra.envs.core.config import Settings
from palaestra.mcp_servers.errors import nearest

SplitName = Literal["train", "valid_seen", "valid_unseen", "valid", "test"]
"""`valid` and `test` are second names of valid_seen and valid_unseen, for whoever names splits so."""


def _task_types(value: Any) -> Any:
    """Task types by name or by the original's numbers 1 to 6, in the original's order, each once."""
    if isinstance(value, (str, int)):
        value = (value,)
    names = [TASK_TYPES[item - 1] if isinstance(item, int) and 1 <= item <= 6 else item for item in value]
    for name in names:
        if name not in TASK_TYPES:
            raise ValueError(
                f"unknown task type {name!r}; give numbers 1 to 6 or names: {nearest(str(name), TASK_TYPES)}"
            )
    if not names:
        raise ValueError("give at least one task type")
    return tuple(name for name in TASK_TYPES if name in names)


class ALFWorldConfig(Settings):
    """What `gymnasium.make("palaestra/ALFWorld-v0", ...)` accepts.

    Attributes:
        games: "embedded", 108 games that come with the package; "generate", as many as wanted; "data", the user's own
            under the folder that the environment variable ALFWORLD_DATA names; or the path of such a folder.
        split: of the games to draw from.
        tasks: task types to play, by name or by number from 1 to 6.
        size: of generated rooms: "full" (8 to 24 receptacles, 10 to 30 objects) or "small" (4 to 9 and 4 to 8).
        layouts: how many layouts of every kind of room are generated for training.
        pool: draw from the first `pool` generated games of the split only.
        max_steps: commands after which the episode is truncated; those that do nothing count.
        reward: "native", 1 on reaching the goal; "win10", 10.
        aliases: also understand `put O in R`, `put O on R` and `put O in/on R`, as older versions did.
        listing: which admissible commands `info` lists: "all", as the original; "prompt", without help, as published
            prompts do; "acting", without those that neither change anything nor show a receptacle's content for the
            first time (look, inventory, help, examine). Commands that are not listed work all the same.
        remind: what stands above every observation but the first: "nothing", as in the original; "task", the task
            line; "state", the task line and what is carried, and below it, unless it is said anyway, the look of the
            receptacle last dealt with (for policies that see one observation at a time).
        expert: whose `plan()` demonstrations follow: the "planner", which knows where everything is and takes a
            shortest way; or the "explorer", which has to look for it.
        strict: refuse game files whose rules are not those of alfworld 0.4.2.
        oracle_info: add the exact distance to `info` (costs a search per step, below a millisecond).
    """

    games: str = "embedded"
    split: SplitName = "train"
    tasks: Annotated[tuple[str, ...], BeforeValidator(_task_types)] = TASK_TYPES
    size: Size = "full"
    layouts: int = Field(default=240, ge=1)
    pool: int | None = Field(default=None, ge=1)
    max_steps: int = Field(default=50, ge=1)
    reward: Literal["native", "win10"] = "native"
    aliases: bool = True
    listing: Literal["all", "prompt", "acting"] = "all"
    remind: Literal["nothing", "task", "state"] = "nothing"
    expert: Literal["planner", "explorer"] = "planner"
    strict: bool = False
    oracle_info: bool = False
