"""Many households at once in one process: what `gymnasium.make_vec` builds.

Games are compiled once and shared; an environment takes 70 kB, nearly all of it for its two spaces. N here equal N
single ones seeded alike, step by step, in all three autoreset modes.
"""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode

from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.core.text.vector import TextVectorEnv


class ALFWorldVectorEnv(TextVectorEnv):
    """`num_envs` environments with settings as in `ALFWorldConfig`; reset option `group_size` makes groups alike.

    Raises: ConfigError for settings. Cost: a step is `num_envs` steps; nothing is copied but what is returned.
    """

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        *,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(lambda: ALFWorldEnv(render_mode=render_mode, **settings), num_envs, autoreset_mode)

    def render(self) -> tuple[Any, ...] | None:
        """The last observation of every environment; None without a render mode."""
        return tuple(env.render() for env in self.envs) if self.render_mode == "ansi" else None
