"""`palaestra play webshop --web`: the shop as pages for a browser, by the same state machine as in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import typer
from gymnasium.envs.registration import EnvSpec

from palaestra.mcp_servers.errors import ConfigError

_SHOP: Final = "palaestra.envs.webshop."


def play_web(
    spec: EnvSpec, settings: Mapping[str, Any], *, split: str | None, seed: int, level: int, port: int
) -> None:
    """Serve the environment's pages on this machine until Ctrl-C, and say where.

    Raises: ConfigError "no_web" if it has none, "level" since visitors choose in the address, "port_taken"; whatever
        is wrong with the settings.
    """
    if not str(spec.entry_point).startswith(_SHOP):
        raise ConfigError("no_web", f"{spec.id} has no web pages; play webshop --web, or this one without --web")
    if level:
        raise ConfigError("level", f"--level {level} is for the terminal; with --web open /?index={level} of the shop")
    from palaestra.envs.webshop.site import serve

    chosen = {} if split is None else {"split": split}
    serve({**spec.kwargs, **settings, **chosen}, port=port, seed=seed, on_start=_announce)
    typer.echo("The shop is closed.")


def _announce(url: str) -> None:
    typer.echo(f"The shop is open: {url}")
    typer.echo(f"  every visit is one task; a task of your choice: {url}?split=test&index=3")
    typer.echo("Ctrl-C closes it.")
