"""The settings of a training run: one frozen model, read from a TOML recipe with dotted overrides.

Key names follow TRL and verl where both agree (`learning_rate`, `max_grad_norm`, `num_generations`, `temperature`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from palaestra.agents.engine.engine import EngineConfig
from palaestra.agents.models.tiny import SIZES
from palaestra.envs.core.config import Settings
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.rewards.recipe import RewardRecipe
from palaestra.trainers.objectives.aliases import resolve_aliases
from palaestra.trainers.objectives.config import ObjectiveConfig

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


class EnvSettings(Settings):
    """What is trained on: a Gymnasium id with its keyword arguments."""

    id: str = "palaestra/Sokoban-v0"
    kwargs: Mapping[str, Any] = Field(default_factory=dict)


class PolicySettings(Settings):
    """Where the policy comes from: a named tiny size built on the spot, or any local causal LM directory.

    Attributes:
        size: of the tiny policy; "" with a path.
        path: a model directory.
        vocab_size, corpus: of the tiny policy's tokenizer: how many ids, and whether they are spent on what the worlds
            say or on what tools and their users say.
    """

    size: str | None = "XS"
    path: Path | None = None
    vocab_size: int = Field(default=512, ge=298)
    corpus: Literal["worlds", "tools"] = "worlds"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.size is None) == (self.path is None):
            raise ValueError('give either size (a tiny policy) or path (a model directory) and set the other to ""')
        if self.size is not None and self.size not in SIZES:
            raise ValueError(f"unknown size {self.size!r}; {nearest(self.size, SIZES)}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, data: Any) -> Any:
        """TOML has no null: "" unsets a key; and a path alone unsets the default size."""
        if not isinstance(data, dict):
            return data
        given = {key: None if value == "" else value for key, value in data.items()}
        return given if given.get("path") is None else {"size": None, **given}


class OptimizerSettings(Settings):
    """AdamW with a linear warm-up and a linear decay to `min_lr_ratio` of the peak."""

    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_ratio: float = Field(default=0.05, ge=0, le=1)
    min_lr_ratio: float = Field(default=0.05, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class WarmupSettings(Settings):
    """Behaviour cloning on expert episodes before RL; `tasks = 0` skips it.

    Attributes:
        haste: probability that the expert leaves out a step where it can do the one after it at once. Its lost
            episodes are cloned as well then; without haste only won ones are.
    """

    tasks: int = Field(default=0, ge=0)
    haste: float = Field(default=0.0, ge=0.0, lt=1.0)
    num_train_epochs: int = Field(default=2, ge=1)
    batch_rows: int = Field(default=64, ge=1)
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-3)


class RLSettings(Settings):
    """The RL loop: `iterations` rollout batches of `tasks_per_step` tasks times `objective.num_generations` rollouts.

    Attributes:
        rows: a training row per environment step, or per whole trajectory.
        mini_batches: optimiser steps per rollout batch.
        micro_rows: rows per forward and backward; bounds memory.
        stop_at_dead_end: stop training episodes that the environment's oracle calls lost (evaluation never does).
        weight_average: decay per iteration of an exponential average of the weights; the average is what is
            evaluated and kept. 0 keeps the raw weights.
        old_logprobs: "behaviour" takes the sampler's own (exact engine, one policy), "recompute" runs the old pass.
    """

    iterations: int = Field(default=0, ge=0)
    tasks_per_step: int = Field(default=16, ge=1)
    rows: Literal["step", "trajectory"] = "step"
    mini_batches: int = Field(default=4, ge=1)
    micro_rows: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    max_live: int = Field(default=256, ge=1)
    stop_at_dead_end: bool = False
    episode_deadline_s: float | None = Field(default=None, gt=0)
    weight_average: float = Field(default=0.0, ge=0, lt=1)
    old_logprobs: Literal["behaviour", "recompute"] = "behaviour"
    optimizer: OptimizerSettings = OptimizerSettings()


class EvaluationSettings(Settings):
    """Validation picks the checkpoint that is kept; test tasks are played before and after, never in between."""

    every: int = Field(default=10, ge=1)
    valid_tasks: int = Field(default=256, ge=1)
    test_tasks: int = Field(default=512, ge=1)
    seed: int = 0


class CheckpointSettings(Settings):
    """How often a checkpoint is written (RL iterations) and how many of the newest are kept besides the best."""

    every: int = Field(default=10, ge=1)
    keep: int = Field(default=2, ge=1)


class StoreSettings(Settings):
    """Where the run's episodes go and how many of them.

    Attributes:
        url: a database ("postgresql+psycopg://user@host/name", the password from ~/.pgpass); by default
            `store.sqlite` in the run folder. Many runs, each under its folder's name, can share a database.
        rollouts_every: training rollouts of every so many iterations (and of the last) are kept; evaluations before
            and after always are. An episode of ten short turns takes about 8 kB.
    """

    url: str | None = None
    rollouts_every: int = Field(default=1, ge=1)


class TrainConfig(Settings):
    """A whole training run; `threads` is torch's intra-op thread count, which a bit-identical resume must keep."""

    name: str
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    env: EnvSettings = EnvSettings()
    policy: PolicySettings = PolicySettings()
    protocol: TextProtocol = TextProtocol()
    engine: EngineConfig = EngineConfig()
    warmup: WarmupSettings = WarmupSettings()
    rl: RLSettings = RLSettings()
    reward: RewardRecipe = RewardRecipe()
    objective: ObjectiveConfig = ObjectiveConfig()
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    store: StoreSettings = StoreSettings()

    def to_toml_data(self) -> dict[str, Any]:
        """Plain data for TOML, from which `build_config` makes equal settings; unset (None) keys are left out.

        Raises: ConfigError "config" if a key was set to None whose default is another: TOML cannot say that.
        """
        dump = self.model_dump(mode="json")
        data: dict[str, Any] = _without_none(dump)
        kept = list(_unset(build_config(data).model_dump(mode="json")))
        if lost := [key for key in _unset(dump) if key not in kept]:
            raise ConfigError("config", f"{', '.join(lost)} = None cannot be written as TOML; give a value")
        return data


def read_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings of a recipe file, or of a recipe by name, with dotted overrides applied.

    Args:
        recipe: a path to a TOML file, or the name of one that ships with the package ("sokoban").
        overrides: "rl.iterations=20", "env.kwargs.size=7": the value is TOML; a bare word is taken as a string.
    Raises: ConfigError "recipe" (missing or not TOML), "override", "config" (unknown key, wrong value).
    """
    path = find_recipe(recipe)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError("recipe", f"recipe {path}: {error}") from error
    for override in overrides:
        _apply(data, override)
    return build_config({"name": path.stem, **data})


def build_config(data: Mapping[str, Any]) -> TrainConfig:
    """Settings from plain data. Raises: ConfigError naming the key with its section, the value and the fix."""
    config: TrainConfig = _build(TrainConfig, data, "")
    return config


def list_recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.toml"))


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe. Raises: ConfigError "recipe" naming the known ones."""
    for path in (Path(recipe), RECIPES / f"{recipe}.toml"):
        if path.is_file():
            return path
    raise ConfigError(
        "recipe", f"no recipe {str(recipe)!r}: give a TOML file or a name; {nearest(str(recipe), list_recipes())}"
    )


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError("override", f"override {override!r}: write section.key=value, e.g. rl.iterations=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    section = data
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise ConfigError("override", f"override {override!r}: {part!r} is a value, not a section")
    section[parts[-1]] = value


def _build(model: type[Any], data: Mapping[str, Any], section: str) -> Any:
    """The settings of a section, inner sections first, so that a mistake is named with the section it stands in."""
    for key in resolve_aliases(model.__name__, data)[0]:
        if key not in model.model_fields:
            path, where = (f"{section}.{key}", f"in [{section}]") if section else (key, "at the top level")
            raise ConfigError("config", f"unknown key {path} {where}; {nearest(key, model.model_fields)}")
    values = dict(data)
    for key, value in data.items():
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            values[key] = _build(inner, value, f"{section}.{key}" if section else key)
    if not issubclass(model, Settings):
        return values  # checked as part of the section around it
    try:
        return model(**values)
    except ConfigError as error:
        raise ConfigError(error.code, f"in [{section}]: {error.message}" if section else error.message) from error


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _unset(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if value is None:
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            yield from _unset(value, f"{prefix}{key}.")
