"""BFCL conversations in batches: N environments stepped in this process."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode

from palaestra.envs.core.text.vector import TextVectorEnv
from palaestra.envs.tools.bfcl.env import BfclEnv


class BfclVectorEnv(TextVectorEnv):
    """`num_envs` BFCL environments with the same settings; equal, step by step, to as many single ones."""

    def __init__(
        self, num_envs: int = 1, *, autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, **settings: Any
    ) -> None:
        super().__init__(lambda: BfclEnv(**settings), num_envs, autoreset_mode)
