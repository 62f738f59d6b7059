"""WebShop as a Gymnasium environment.

>>> import gymnasium, palaestra
>>> env = gymnasium.make("palaestra/WebShop-v0", split="test")
>>> observation, info = env.reset(seed=3)
>>> observation == f"WebShop [SEP] Instruction: [SEP] {info['task']} [SEP] Search", info["admissible_commands"]
(True, ['search[<your query>]'])
>>> for action in env.unwrapped.plan():
...     observation, reward, terminated, truncated, info = env.step(action)
>>> terminated, reward, info["reward_info"]["r_type"]
(True, 1.0, 1.0)
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, ClassVar, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.types import ActionStatus, canonical_json
from palaestra.envs.webshop import pages
from palaestra.envs.webshop.addresses import address_of
from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.goals import Goal
from palaestra.envs.webshop.markup import draw_page
from palaestra.envs.webshop.oracle import Oracle
from palaestra.envs.webshop.reward import purchase_reward
from palaestra.envs.webshop.session import DONE, ENTRANCE, SEARCH, State, click, read_action, search
from palaestra.envs.webshop.sources import open_source, select
from palaestra.envs.webshop.spaces import action_space, observation_space

LEGEND: Final = "Search for products, open one, choose options, and buy the one that fits the instruction"
METADATA: Final[dict[str, Any]] = {
    "render_modes": ["ansi", "html"],
    "render_fps": 4,
    "world_name": "a web shop",
    "legend": f"{LEGEND}; pages are parts separated by [SEP].",
}
WIN_REWARD: Final = 10.0


class WebShopEnv(gymnasium.Env[Any, Any]):
    """One purchase after another; settings as in `WebShopConfig`.

    `terminated` when something is bought, `truncated` after `max_steps` actions; never both. `info["won"]` is a score
    of 1. Reset options: `index` (number of the goal in its split), `split`, `task` (a goal's id). A goal drawn without
    options is a function of the last seed and the number of resets since.

    Raises: ConfigError for settings, TaskError for data and reset options, gymnasium's ResetNeeded for a step after
        the end and InvalidAction for an action that is no text. Any text is a legal action.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self.config = WebShopConfig(**settings)
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ConfigError(
                "render_mode", f"render_mode={render_mode!r}; use one of {METADATA['render_modes']} or None"
            )
        self.render_mode = render_mode
        if self.config.obs not in ("text", "text_plus"):
            self.metadata = METADATA | {"legend": f"{LEGEND}."}  # type: ignore[misc]
        self.max_steps = self.config.max_steps
        self._source = open_source(self.config)
        self._shop = self._source.shop
        self.action_space: spaces.Text = action_space(self._source)
        self.observation_space: spaces.Text = observation_space(self._source, self.config)
        self._root: int | None = None
        self._episode = 0
        self._goal: Goal = next(iter(self._source.goals))
        self._over = True
        self._oracle: Oracle | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the next episode; see the class for the options."""
        super().reset(seed=seed)
        if seed is not None or self._root is None:
            self._root, self._episode = int(self.np_random.integers(1 << 63)), 0
        goal = select(self._source, self.config, options, self._root, self._episode)
        self._episode += 1
        self._begin(goal)
        return self._observe(), self._info()

    def _begin(self, goal: Goal) -> None:
        self._goal, self._oracle = goal, Oracle(self._shop, goal)
        self._steps, self._score, self._over = 0, 0.0, False
        self._parts_of_reward: dict[str, Any] = {}
        self._enter(ENTRANCE)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Search or click as the original would; whatever does neither leaves everything as it is."""
        if self._over:
            raise ResetNeeded("the episode is over (or none was started); call reset() before step()")
        status = self._act(action)
        self._steps += 1
        bought = self._state.page == DONE
        limit = self._steps >= self.config.max_steps
        self._over = bought or limit
        reward = self._score
        if self.config.reward == "win10":
            reward = WIN_REWARD if self._score == 1.0 else 0.0
        info = self._info()
        info["action_status"] = status.value
        info["action_valid"] = info["action_admissible"] = status is ActionStatus.OK
        if bought:
            info["reward_info"] = {**self._parts_of_reward, "tagger": self.config.tagger}
        return self._observe(), reward, bought, limit and not bought, info

    def _act(self, action: str) -> ActionStatus:
        """Carry an action out, if it is one."""
        if not isinstance(action, str):
            raise InvalidAction(f"action {action!r} is {type(action).__name__}; this environment takes str")
        read = read_action(action) if len(action) <= self.action_space.max_length else None
        if read is None or read[0] not in ("search", "click"):
            return ActionStatus.NOT_IN_LANGUAGE
        name, target = read
        if name == "search":
            listed = pages.has_search_bar(self._state)
            self._enter(search(target))
            return ActionStatus.OK if listed else ActionStatus.INADMISSIBLE
        if target == SEARCH or target not in self._clickable:
            return ActionStatus.INADMISSIBLE
        self._enter(click(self._shop, self._state, target))
        return ActionStatus.OK

    def _enter(self, state: State) -> None:
        self._state = state
        if state.page == DONE:
            product = self._shop.product(state)
            self._score, self._parts_of_reward = purchase_reward(
                product, product.price, dict(state.options), self._goal, self._shop.tagger
            )
        self._page = pages.page_parts(self._shop, self._goal.instruction, state, self._score)
        self._clickable = pages.clickables(self._page)

    def _observe(self) -> str:
        """The page in the wanted form."""
        if self.config.obs == "html":
            return self._html()
        return address_of(self._shop, self._state) if self.config.obs == "url" else self._text(self.config.instruction)

    def _text(self, instruction: bool) -> str:
        """The page as text, in the wanted form if that is one of text."""
        form = self.config.obs
        if form == "text_rich":
            return pages.rich(self._page, self._state, instruction=instruction)
        if form == "text_plus":
            return pages.plus(self._page, self._shop, self._state, self._score, instruction=instruction)
        if form == "compact":
            said = self._goal.instruction if instruction else ""
            return pages.compact(self._shop, said, self._state, self._score)
        return pages.plain(self._page, instruction=instruction)

    def _html(self) -> str:
        return draw_page(self._shop, self._goal, self._state, self._score, self._parts_of_reward)

    def _info(self) -> dict[str, Any]:
        """What is true after a reset and a step alike."""
        goal, state = self._goal, self._state
        shown = list(self._clickable)
        info: dict[str, Any] = {
            "won": self._score == 1.0,
            "score": self._score,
            "task_score": self._score,
            "step": self._steps,
            "task": goal.instruction,
            "task_id": goal.id,
            "split": goal.split,
            "admissible_commands": pages.admissible(shown, state) if not self._over else [],
            "available_actions": {"has_search_bar": pages.has_search_bar(state), "clickables": shown},
            "page": state.page,
            "anchor": self._text(instruction=False),
            "state_key": blake2b(repr((goal.id, state)).encode(), digest_size=8).hexdigest(),
        }
        if self.config.oracle_info:
            info["oracle_distance"] = self.distance()
        return info

    def distance(self) -> float:
        """Actions to a score of 1 along the oracle's plan; inf if something else was bought."""
        oracle = self._started()
        return oracle.distance(self._state, self._score == 1.0)

    def plan(self, rng: np.random.Generator | None = None) -> list[str] | None:
        """Actions that lead to a score of 1, None if there are none; with `rng`, options are chosen in any order."""
        return self._started().plan(self._state, self._score == 1.0, rng)

    def _started(self) -> Oracle:
        if self._oracle is None:
            raise ResetNeeded("there is no episode yet; call reset() first")
        return self._oracle

    def render(self) -> Any:
        """The page as text ("ansi") or as HTML ("html"); None without a render mode."""
        if self.render_mode is None or self._oracle is None:
            return None
        return self._html() if self.render_mode == "html" else pages.rich(self._page, self._state)

    def snapshot(self) -> bytes:
        """The whole state as JSON bytes: goal, place, counters and random generator."""
        if self._oracle is None:
            raise ResetNeeded("there is nothing to snapshot yet; call reset() first")
        state = {
            "version": 1,
            "config": self.config.model_dump(mode="json"),
            "goal": self._goal.id,
            "state": self._state,
            "steps": self._steps,
            "over": self._over,
            "root": self._root,
            "episode": self._episode,
            "rng": self.np_random.bit_generator.state,
        }
        return canonical_json(state).encode()

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly where the snapshot was taken.

        Raises: TaskError "bad_snapshot" if it is none, or was taken under other settings.
        """
        try:
            saved = json.loads(snapshot)
            self._refuse_other(saved["config"])
            goal = self._source.goals.find(saved["goal"])
            page, query, number, product, options, tab = saved["state"]
            place = State(page, query, number, product, tuple((name, value) for name, value in options), tab)
            counters = saved["steps"], saved["over"], saved["root"], saved["episode"]
            self.np_random.bit_generator.state = saved["rng"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TaskError(
                "bad_snapshot", f"these {len(snapshot)} bytes are no WebShop snapshot: {error!r}"
            ) from error
        self._begin(goal)
        self._enter(place)
        self._steps, self._over, self._root, self._episode = counters

    def _refuse_other(self, config: dict[str, Any]) -> None:
        mine = self.config.model_dump(mode="json")
        differing = [f"{key}={config.get(key)!r}" for key in sorted(mine) if config.get(key) != mine[key]]
        if differing:
            raise TaskError(
                "bad_snapshot", f"this WebShop snapshot was taken with other settings: {', '.join(differing)}"
            )
