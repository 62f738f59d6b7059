"""ALFWorld as a Gymnasium environment.

>>> import gymnasium, palaestra
>>> env = gymnasium.make("palaestra/ALFWorld-v0")
>>> observation, info = env.reset(seed=3, options={"index": 0})
>>> info["task_type"], info["split"], info["won"]
('pick_and_place_simple', 'train', False)
>>> for command in env.unwrapped.plan():
...     observation, reward, terminated, truncated, info = env.step(command)
>>> terminated, reward, info["score"]
(True, 1.0, 1.0)
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded

from palaestra.envs.alfworld import planner
from palaestra.envs.alfworld.config import ALFWorldConfig, SplitName
from palaestra.envs.alfworld.episode import OK, describe, faced, find_move, listing, status_of
from palaestra.envs.alfworld.explorer import explore, note_seen
from palaestra.envs.alfworld.game import LONGEST_OBSERVATION
from palaestra.envs.alfworld.moves import Move
from palaestra.envs.alfworld.sources import open_source, select, split_of
from palaestra.envs.alfworld.world import NOBODY, NOTHING_HAPPENS, World
from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.types import canonical_json

METADATA: Final[dict[str, Any]] = {
    "render_modes": ["ansi"],
    "render_fps": 4,
    "world_name": "ALFWorld",
    "legend": "A household in words: walk to furniture, open it, take things, treat them, put them where they belong.",
}
WIN_REWARD: Final = {"native": 1.0, "win10": 10.0}


class ALFWorldEnv(gymnasium.Env[str, str]):
    """One household task after another; settings as in `ALFWorldConfig`.

    `terminated` when the goal is reached, `truncated` after `max_steps` commands; never both. Reset options: `index`
    (number of the game in its split), `split`, `task` (a task id). A game drawn without options is a function of the
    last seed and the number of resets since.

    Raises: ConfigError for settings, TaskError for reset options and game files, gymnasium's ResetNeeded for a step
        after the end and InvalidAction for an action that is no string. Any string is a legal action.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self.config = ALFWorldConfig(**settings)
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ConfigError("render_mode", f"render_mode={render_mode!r}; use 'ansi' or None")
        self.render_mode = render_mode
        self.max_steps = self.config.max_steps
        self._source = open_source(self.config)
        self.action_space = spaces.Text(256, min_length=1, charset="".join(map(chr, range(32, 127))))
        self.observation_space = spaces.Text(LONGEST_OBSERVATION, min_length=1, charset=self._source.charset)
        self._root: int | None = None
        self._episode = self._index = self._steps = 0
        self._split: SplitName = self.config.split
        self._over = True
        self._world: World | None = None
        self._observation = ""
        self._moves: dict[str, Move] = {}
        self._seen: set[int] = set()
        self._facing = NOBODY

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the next episode; see the class for the options."""
        super().reset(seed=seed)
        if seed is not None or self._root is None:
            self._root, self._episode = int(self.np_random.integers(1 << 63)), 0
        split, index = select(self._source, self.config, options, self._root, self._episode)
        self._world = World(self._source.at(split_of(split), index))
        self._split, self._index = split, index
        self._episode += 1
        self._steps, self._over = 0, False
        self._seen, self._facing = set(), NOBODY
        self._moves = self._world.moves()
        self._observation = self._world.intro()
        return self._observation, self._info(self._world, won=self._world.won())

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one command; one that is not admissible changes nothing and costs a step."""
        world = self._world
        if self._over or world is None:
            raise ResetNeeded("the episode is over (or none was started); call reset() before step()")
        if not isinstance(action, str):
            raise InvalidAction(f"action {action!r} is {type(action).__name__}; this environment takes str")
        move = find_move(action, self._moves, world.game, self.config)
        reply = NOTHING_HAPPENS
        if move is not None:
            reply = world.apply(move)
            note_seen(world, move, self._seen)
            self._facing = faced(move, self._facing)
            self._moves = world.moves()
        self._steps += 1
        won = world.won()
        truncated = self._steps >= self.config.max_steps and not won
        self._over = won or truncated
        self._observation = self._reminded(world, reply)
        info = self._info(world, won=won)
        status = status_of(action, move)
        info |= {"action_status": status, "action_valid": status == OK, "action_admissible": status == OK}
        return self._observation, WIN_REWARD[self.config.reward] if won else 0.0, won, truncated, info

    def _reminded(self, world: World, reply: str) -> str:
        if self.config.remind == "nothing":
            return reply
        task = world.game.grammar.task
        if self.config.remind == "task":
            return f"{task}\n{reply}"
        view = world.view(self._facing) if self._facing != NOBODY else ""
        lines = [task, world.apply(("inventory", -1, -1)), reply]
        return "\n".join(lines if view in reply else [*lines, view])

    def _info(self, world: World, *, won: bool) -> dict[str, Any]:
        commands = listing(self._moves, self.config, world, self._seen)
        info = describe(world.game, self._split, self._observation, world.key(), commands, self._steps, won)
        if self.config.oracle_info:
            found = self.distance()
            info["oracle_distance"] = None if found is None else float(found)
        return info

    @property
    def world(self) -> World:
        """The household as it stands; a copy, to look into."""
        return self._playing().copy()

    def _playing(self) -> World:
        if self._world is None:
            raise ResetNeeded("no episode was started yet; call reset() first")
        return self._world

    def distance(self) -> float | None:
        """Least number of commands to the goal; inf if it is out of reach; None if the goal is none of the six tasks.

        Whoever counts on the explorer as expert gets this exact distance all the same.
        """
        return planner.distance(self._playing())

    def plan(self, rng: np.random.Generator | None = None) -> list[str] | None:
        """The commands of the expert from here; None if it finds no way.

        With `rng`, the planner draws one of its shortest ways; the explorer always takes the same one.
        """
        if self.config.expert == "explorer":
            return explore(self._playing(), self._seen)
        return planner.plan(self._playing(), rng)

    def render(self) -> Any:
        """The last observation ("ansi"); None without a render mode."""
        return self._observation if self.render_mode == "ansi" else None

    def snapshot(self) -> bytes:
        """The whole state as JSON bytes: which game, the household, counters and random generator."""
        world = self._playing()
        state = {
            "version": 1,
            "config": self.config.model_dump(mode="json"),
            "split": self._split,
            "index": self._index,
            "task_id": world.game.task_id,
            "world": world.dump(),
            "observation": self._observation,
            "seen": sorted(self._seen),
            "facing": self._facing,
            "steps": self._steps,
            "over": self._over,
            "root": self._root,
            "episode": self._episode,
            "rng": self.np_random.bit_generator.state,
        }
        return canonical_json(state).encode()

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly where the snapshot was taken.

        Raises: TaskError "bad_snapshot" if it is none, was taken under other settings, or of a game that has changed.
        """
        try:
            state = json.loads(snapshot)
            self._refuse_other(state["config"])
            game = self._source.at(split_of(state["split"]), state["index"])
            if game.task_id != state["task_id"]:
                raise ValueError(f"{game.file} is {game.task_id} now and was {state['task_id']}")
            world = World(game)
            world.load(state["world"])
            kept = str(state["observation"]), {int(r) for r in state["seen"]}, int(state["steps"]), bool(state["over"])
            facing = _checked_facing(state["facing"], world)
            root, episode, split, index = state["root"], int(state["episode"]), state["split"], state["index"]
            self.np_random.bit_generator.state = state["rng"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            message = f"these {len(snapshot)} bytes are no ALFWorld snapshot: {error!r}"
            raise TaskError("bad_snapshot", message) from error
        self._world, self._moves, self._facing = world, world.moves(), facing
        self._observation, self._seen, self._steps, self._over = kept
        self._root, self._episode, self._split, self._index = root, episode, split, index

    def _refuse_other(self, config: dict[str, Any]) -> None:
        mine = self.config.model_dump(mode="json")
        differing = [f"{key}={config.get(key)!r}" for key in sorted(mine) if config.get(key) != mine[key]]
        if differing:
            message = f"this ALFWorld snapshot was taken with other settings: {', '.join(differing)}"
            raise TaskError("bad_snapshot", message)


def _checked_facing(facing: Any, world: World) -> int:
    if not isinstance(facing, int) or not NOBODY <= facing < len(world.inside):
        raise ValueError(f"facing={facing!r} is no receptacle of this game")
    return facing
