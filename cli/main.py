"""The `palaestra` command: one verb per file, each imported only when it is called.

Exit status: 0 done; 1 checked, and found wanting; 2 a wrong command line or any `PalaestraError`; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from palaestra import __version__
from palaestra.cli.output import fail, resume_advice
from palaestra.mcp_servers.errors import ConfigError, PalaestraError

VERBS: Final[dict[str, tuple[str, str]]] = {
    "play": ("play:play", "Play an environment yourself, in the terminal."),
    "env": ("env:app", "List and check environments."),
    "rollout": ("rollout:rollout", "Let a policy act, and look at or keep its episodes."),
    "train": ("train:train", "Train a policy from a recipe, or go on with a run."),
    "eval": ("eval:evaluate_model", "Measure a model on held-out tasks."),
    "score": ("score:score", "Score stored episodes again, with another reward."),
    "synth": ("synth:synth", "Write tool-use tasks from live tool servers."),
    "view": ("view:view", "Look at runs and episodes in the browser."),
    "serve": ("serve:serve", "Serve the tool servers to MCP clients."),
    "db": ("db:app", "Look at, upgrade, check, export and import a store of trajectories."),
    "bench": ("bench:bench", "Measure one of the promised numbers."),
}
"""verb -> where it lives below `palaestra.cli`, and its line in the help."""

TRAIN_MODULES: Final = ("torch", "transformers", "tokenizers", "safetensors", "matplotlib", "jinja2")
"""What the extra `train` brings; without it, environments, scripted policies and stores still work."""


class VerbGroup(TyperGroup):
    """Lists the verbs without importing them, imports the one that is called, and turns its errors into an exit."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb's entry in the help; `resolve_command` finds the verb itself."""
        return TyperCommand(cmd_name, help=VERBS[cmd_name][1]) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is called, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load_verb(name), rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether errors are wanted as JSON before anything can go wrong."""
        ctx.meta["palaestra.json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; a Palaestra error is exit status 2, an interrupt 130. Any other exception is a bug of ours."""
        try:
            return super().invoke(ctx)
        except PalaestraError as error:
            fail(error, as_json=ctx.meta["palaestra.json"])
            raise typer.Exit(2) from error
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in TRAIN_MODULES:
                raise
            missing = f"this needs {error.name}, which is not installed: pip install 'palaestra[train]'"
            fail(ConfigError("missing_extra", missing), as_json=ctx.meta["palaestra.json"])
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo(f"Interrupted. {resume_advice(ctx)}".rstrip(), err=True)
            raise typer.Exit(130) from error


def load_verb(name: str) -> Any:
    """The command of a verb: a module's Typer application, or its function made into a command."""
    module, _, attribute = VERBS[name][0].partition(":")
    found = getattr(import_module(f"palaestra.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=VerbGroup,
    help="Palaestra: where language agents train. Environments, rewards and an RL trainer that run on a laptop.",
    no_args_is_help=True,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"palaestra {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these words, by default those of the process; always ends in SystemExit."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    typer.main.get_command(app).main(words, prog_name="palaestra")
