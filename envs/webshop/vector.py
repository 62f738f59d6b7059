"""WebShop in batches: N shoppers in one process, in one shop.

Equal, step by step, to N single environments seeded alike, in every autoreset mode. Catalogue, index and goals are
shared; a shopper is a state of a few words.
"""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode

from palaestra.envs.core.text.vector import TextVectorEnv
from palaestra.envs.webshop.env import WebShopEnv


class WebShopVectorEnv(TextVectorEnv):
    """N WebShop environments as one; settings as in `WebShopConfig`.

    Args:
        num_envs: N.
        autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED, as Gymnasium defines them.

    Reset options: those of `WebShopEnv`, and `group_size`: each block of that many environments is given the same goal.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(lambda: WebShopEnv(render_mode=render_mode, **settings), num_envs, autoreset_mode)
