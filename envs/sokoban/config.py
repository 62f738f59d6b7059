"""The settings of a Sokoban environment, shared by the single and the batched one."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from palaestra.envs.core.config import Settings

SplitName = Literal["train", "valid", "test", "all"]


def _square(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


class SokobanConfig(Settings):
    """What `gymnasium.make("palaestra/Sokoban-v0", ...)` accepts.

    Attributes:
        actions: "text4", the words up, down, left, right (and still); "push4", Discrete(4) in that order; "full9",
            Discrete(9), the nine actions of gym-sokoban.
        obs: "text"; "symbol", int8 [H, W] of cell codes; "planes", int8 [4, H, W] of wall, target, box, player;
            "rgb", uint8 [16 H, 16 W, 3] or, with rgb_scale="tiny", [H, W, 3].
        text_style: "compact", a character per cell; "padded", each as blank, symbol, blank, tab; "xsb".
        reward: "native": -0.1 a step, +1/-1 as boxes go on and off targets, +10 when solved; "sparse": 1 when solved;
            "win10": 10 when solved.
        size: (height, width), walls included, or one number. Levels read from files keep their own.
        boxes: per level; at least 1.
        max_steps: moves after which the episode is truncated; no-ops count.
        levels: "generate", "embedded", or the path of an XSB or Boxoban file or folder.
        generator: "banded", exact distance in [min_len, max_len]; or "reference", the rooms of gym-sokoban.
        split: of the levels to draw from. Default: "train"; for levels from files, "all".
        pool: draw from the first `pool` levels of the split only; needed for full speed in batches.
        min_len, max_len: moves of a shortest solution (banded).
        inner_walls: largest share of inner cells that become walls (banded).
        search_depth: depth of the reverse play (reference); 300 is the original's.
        admissible: list "all" words, or only the "effective" ones, which change the board.
        actions_per_turn: with text4, up to this many words joined by "||" in one step.
        oracle_info: add the exact distance to `info` (costs a search per room).
        info: "full", every key; or "numeric", numbers and flags only (for speed).
    """

    actions: Literal["text4", "push4", "full9"] = "text4"
    obs: Literal["text", "symbol", "planes", "rgb"] = "text"
    rgb_scale: Literal["sprite", "tiny"] = "sprite"
    text_style: Literal["compact", "padded", "xsb"] = "compact"
    reward: Literal["native", "sparse", "win10"] = "native"
    size: Annotated[tuple[int, int], BeforeValidator(_square)] = (6, 6)
    boxes: int = Field(default=1, ge=1)
    max_steps: int = Field(default=15, ge=1)
    levels: str = "generate"
    generator: Literal["banded", "reference"] = "banded"
    split: SplitName | None = None
    pool: int | None = Field(default=None, ge=1)
    min_len: int = Field(default=3, ge=1)
    max_len: int = Field(default=12, ge=1)
    inner_walls: float = Field(default=0.3, ge=0, le=1)
    search_depth: int = Field(default=300, ge=1)
    admissible: Literal["all", "effective"] = "all"
    actions_per_turn: int = Field(default=1, ge=1)
    oracle_info: bool = False
    info: Literal["full", "numeric"] = "full"

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.actions_per_turn > 1 and self.actions != "text4":
            raise ValueError(
                f'several actions per turn are written as text; set actions = "text4", not {self.actions!r}'
            )
        if min(self.size) < 3 or max(self.size) > 100:
            raise ValueError(f"size = {self.size}: give a height and width of 3 to 100")
        if self.levels == "generate" and self.generator == "banded":
            if self.min_len > self.max_len:
                raise ValueError(f"min_len = {self.min_len} is above max_len = {self.max_len}; swap them")
            if self.max_len > self.max_steps:
                raise ValueError(
                    f"max_len = {self.max_len} is above max_steps = {self.max_steps}, so that some levels could not be "
                    "won; raise max_steps or lower max_len"
                )
        return self

    @property
    def default_split(self) -> SplitName:
        """The split drawn from when a reset names none."""
        return self.split or ("train" if self.levels in ("generate", "embedded") else "all")
