"""`palaestra play`: a person in the agent's place.

With a terminal on both ends, worlds of directions are played with single keys; everything else, and every world over
a pipe, with one action or command per line. The web shop can be played in a browser, too (`play_web.py`).
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from gymnasium.envs.registration import EnvSpec

from palaestra.cli.env import IdArgument, find_environment
from palaestra.cli.game import Game
from palaestra.cli.output import SeedOption, SettingsOption, parse_settings
from palaestra.cli.play_web import play_web
from palaestra.mcp_servers.errors import ConfigError

if TYPE_CHECKING:
    from rich.text import Text

MOVES: Final = {
    **dict.fromkeys(("w", "k", "\x1b[A", "\x1bOA"), "up"),
    **dict.fromkeys(("s", "j", "\x1b[B", "\x1bOB"), "down"),
    **dict.fromkeys(("d", "l", "\x1b[C", "\x1bOC"), "right"),
    **dict.fromkeys(("a", "h", "\x1b[D", "\x1bOD"), "left"),
}
"""Keys of the four directions: arrows, wasd, hjkl."""

COMMANDS: Final[dict[str, Callable[[Game], None]]] = {
    "undo": Game.undo,
    "hint": Game.hint,
    "restart": Game.restart,
    "new": Game.next_level,
}
COMMAND_KEYS: Final = {"u": "undo", "?": "hint", "r": "restart", "n": "new"}
QUIT: Final = ("quit", "q")
QUIT_KEYS: Final = ("q", "\x04", "")
"""q, end of transmission (Ctrl-D), and a terminal that went away."""
KEY_HELP: Final = "arrows, wasd, hjkl: move  u: undo  ?: hint  r: restart  n: new  q: quit"
CELL_HELP: Final = "@ you   [] box   () target   <> box on target"
LINE_HELP: Final = "Type an action, or: undo, hint, restart, new, quit."

# Two columns a cell, so that boards look square; distinct without colour, too.
_CELLS: Final = (
    ("██", "grey50"),
    ("  ", ""),
    ("()", "red"),
    ("<>", "bold green"),
    ("[]", "bold yellow"),
    ("@ ", "bold cyan"),
    ("@)", "bold cyan"),
)
_ESCAPE_WAIT_S: Final = 0.05
"""An arrow key arrives as three bytes; a lone escape is known by nothing following it."""


def play(
    env_id: IdArgument = "palaestra/Sokoban-v0",
    settings: SettingsOption = None,
    split: Annotated[str | None, typer.Option(help="Split of the levels.")] = None,
    level: Annotated[int, typer.Option(min=0, help="Number of the first level.")] = 0,
    seed: SeedOption = 0,
    web: Annotated[bool, typer.Option("--web", help="WebShop as pages for your browser.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the pages.", show_default="any free one")
    ] = None,
) -> None:
    """Play an environment yourself.

    Sokoban is played with up to 100 moves a level; --set max_steps=15 plays it as agents do.

    Examples:
        palaestra play --set size=7 --set boxes=2
        echo hint | palaestra play alfworld
        palaestra play webshop --web
    """
    spec = find_environment(env_id)
    given = parse_settings(settings or ())
    if web:
        play_web(spec, given, split=split, seed=seed, level=level, port=port or 0)
        return
    if port is not None:
        raise ConfigError("port", f"--port {port} is for pages; add --web")
    game = Game(spec.id, _playable(spec) | given, split, seed, level)
    try:
        directions = game.position.admissible and set(game.position.admissible) <= set(MOVES.values())
        if directions and sys.stdin.isatty() and sys.stdout.isatty():
            play_keys(game)
        else:
            play_lines(game)
        typer.echo(f"{game.solved} of {game.played} levels solved.")
    finally:
        game.close()


def play_lines(game: Game) -> None:
    """One action or command per line, until quit or the end of the input."""
    typer.echo(f"{game.legend}\n{LINE_HELP}".lstrip())
    _show_lines(game)
    for line in _lines():
        word = line.strip()
        if word in QUIT and word not in game.position.admissible:
            return
        if not word:
            continue
        if word in game.position.admissible or word not in COMMANDS:
            move = MOVES.get(word, word)
            game.act(move if move in game.position.admissible else word)
        else:
            COMMANDS[word](game)
        _show_lines(game)


def play_keys(game: Game) -> None:
    """Single keys, with the board redrawn in place."""
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live, _single_keys() as read_key:
        while True:
            live.update(picture(game), refresh=True)
            key = read_key()
            if key in QUIT_KEYS:
                break
            if key in MOVES:
                game.act(MOVES[key])
            elif key in COMMAND_KEYS:
                COMMANDS[COMMAND_KEYS[key]](game)
    typer.echo(game.status())


def picture(game: Game) -> Text:
    """The whole screen: board in colour, status, message, keys."""
    from rich.text import Text

    from palaestra.envs.sokoban.env import SokobanEnv

    screen = Text()
    world = game.env.unwrapped
    if not isinstance(world, SokobanEnv):
        screen.append(game.position.observation + "\n")
    else:
        board = world.level
        for start in range(0, len(board.cells), board.width):
            for code in board.cells[start : start + board.width]:
                screen.append(*_CELLS[code])
            screen.append("\n")
    screen.append(f"\n{game.status()}\n", "bold")
    screen.append(f"{game.message}\n", "bold green" if game.position.won else "yellow")
    screen.append(f"\n{KEY_HELP}\n{CELL_HELP if isinstance(world, SokobanEnv) else game.legend}", "dim")
    return screen


def _playable(spec: EnvSpec) -> dict[str, Any]:
    """Settings that make one of our ids, whatever it is registered for, a game in words."""
    if str(spec.entry_point).startswith("palaestra.envs.tools."):
        return {"call_format": "compact", "schemas": "signature"}  # what a person can read and type
    if str(spec.entry_point).startswith("palaestra.envs.webshop."):
        return {"obs": "text_rich"}  # line by line
    if not str(spec.entry_point).startswith("palaestra.envs.sokoban."):
        return {}
    settings: dict[str, Any] = {"actions": "text4", "obs": "text", "info": "full"}
    return settings if "max_steps" in spec.kwargs else settings | {"max_steps": 100}


def _show_lines(game: Game) -> None:
    typer.echo(f"\n{game.position.observation}\n{game.status()}")
    if game.message:
        typer.echo(game.message)
    if not game.position.over:
        typer.echo(f"actions: {', '.join(game.position.admissible) or 'any text'}")


def _lines() -> Iterator[str]:
    """Lines of the input; a terminal gets a prompt and line editing."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            return


@contextmanager
def _single_keys() -> Iterator[Callable[[], str]]:
    """A function that waits for one key, arrows included; the terminal is as before when the block ends."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def read_key() -> str:
        key = os.read(fd, 1)
        if key == b"\x1b":
            while len(key) < 3 and select.select([fd], [], [], _ESCAPE_WAIT_S)[0]:
                key += os.read(fd, 1)
        return key.decode("latin-1")

    tty.setcbreak(fd)
    try:
        yield read_key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
