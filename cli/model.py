"""From the words of a command line to a policy: which model is meant, and how it is spoken to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from palaestra.cli.output import parse_settings
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import ConfigError

if TYPE_CHECKING:
    from palaestra.agents.policies.model import ModelPolicy

ProtocolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        metavar="KEY=VALUE",
        help="How the policy is prompted and read, e.g. style=full; default: the run's, else style=compact.",
    ),
]
MaxLiveOption = Annotated[int, typer.Option(min=1, help="Most episodes alive at once.")]

COMPACT_TOKENS: Final = 32
"""Response budget of a compact answer: the tags and a short command."""
LONGEST_STREAM: Final = 4096
"""Tokens per episode unless a run says otherwise; memory for keys and values grows with it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model directory and, if it is a run's, the settings it was trained under (as in config.toml)."""

    directory: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    def env(self) -> tuple[str | None, dict[str, Any]]:
        """Id and keyword arguments of the environment it was trained in; None and {} if that is not recorded."""
        env = self.config.get("env", {})
        return env.get("id"), dict(env.get("kwargs", {}))


def find_model(path: Path) -> Source:
    """The model a path means: a model directory, a checkpoint's, or the best (else newest intact) one of a run.

    Raises: ConfigError "model_directory" if it is none of these; "no_checkpoint" for a run that has none yet.
    """
    if (path / "config.json").is_file():
        return Source(path)
    if (path / "model" / "config.json").is_file():
        run = path.parent.parent
        return Source(path / "model", _config_of(run) if (run / "config.toml").is_file() else {})
    if not (path / "config.toml").is_file():
        what = "has neither config.json nor config.toml" if path.is_dir() else "does not exist"
        raise ConfigError("model_directory", f"{path} {what}; give a model directory, a checkpoint or a run folder")
    from palaestra.trainers.checkpoint import best_checkpoint, latest_valid

    checkpoints = path / "checkpoints"
    found = best_checkpoint(checkpoints) or latest_valid(checkpoints).path
    if found is None:
        raise ConfigError("no_checkpoint", f"run {path} has no intact checkpoint yet; let it train until one is saved")
    return Source(found / "model", _config_of(path))


def protocol_of(options: Sequence[str] | None, config: Mapping[str, Any]) -> TextProtocol:
    """The protocol of a run's config, or the compact one, with the command line's settings put over it."""
    given = parse_settings(options or ())
    base = dict(config.get("protocol", {}))
    if not base and given.get("style", "compact") == "compact":
        base = {"style": "compact", "response_tokens": COMPACT_TOKENS}
    if given.get("style", base.get("style")) != base.get("style"):
        base.pop("think", None)  # what may be thought follows the style
    return TextProtocol(**(base | given))


def load_model(source: Source, temperature: float, protocol: TextProtocol, max_live: int, seed: int) -> ModelPolicy:
    """The policy of a model: a stream per live episode, each as long as the run had it, or as the model allows.

    Raises: ConfigError as `load_policy`.
    """
    from palaestra.agents.engine.engine import EngineConfig
    from palaestra.agents.engine.loading import read_json
    from palaestra.agents.policies.model import load_policy
    from palaestra.agents.types import Sampling

    positions = read_json(source.directory, "config.json").get("max_position_embeddings", LONGEST_STREAM)
    limits = {"max_len": min(LONGEST_STREAM, positions)} | dict(source.config.get("engine", {}))
    engine = EngineConfig(**(limits | {"max_slots": max_live}))
    sampling = Sampling(temperature=temperature, max_new_tokens=protocol.response_tokens, seed=seed)
    return load_policy(source.directory, sampling, engine)


def _config_of(run: Path) -> dict[str, Any]:
    from palaestra.trainers.run_directory import RunFiles

    return RunFiles(run).config()
