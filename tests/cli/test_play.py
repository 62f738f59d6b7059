"""`palaestra play`: over a pipe, and with keys in a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaestra.cli.game import Game
from palaestra.mcp_servers.errors import ConfigError, PalaestraError
from tests.cli.conftest import ENVIRONMENT, Command, in_process
from tests.cli.test_env import EXAMPLE


def hints(out: str) -> list[str]:
    return re.findall(r"Hint: (\w+) ", out)


@pytest.fixture
def game() -> Iterator[Game]:
    made = Game("palaestra/Sokoban-v0", {"max_steps": 20})
    yield made
    made.close()


def follow_plan(game: Game) -> None:
    for action in game.env.unwrapped.plan():  # type: ignore[attr-defined]
        game.act(action)


# -- the game ------------------------------------------------------------------------------------------------------


def test_a_level_is_solved_in_the_best_number_of_moves(game: Game) -> None:
    best = game.best
    follow_plan(game)
    assert game.position.won
    assert game.position.over
    assert game.position.steps == best
    assert game.message == f"Solved in {best} moves (best possible: {best})."
    assert (game.solved, game.played) == (1, 1)


def test_undo_takes_moves_back_even_after_the_end(game: Game) -> None:
    start = game.position
    plan = game.env.unwrapped.plan()  # type: ignore[attr-defined]
    positions = [start]
    for action in plan:
        game.act(action)
        positions.append(game.position)
    for expected in reversed(positions[:-1]):
        game.undo()
        assert game.position == expected
    game.undo()
    assert (game.position, game.message) == (start, "There is no move to take back.")
    follow_plan(game)
    assert game.position.won  # the world, not only the picture, went back


def test_restart_and_new_levels_are_functions_of_the_seed(game: Game) -> None:
    first = game.position
    game.act("up")
    game.restart()
    assert game.position == first
    game.next_level()
    second = game.position
    assert second.observation != first.observation
    assert game.level == 1
    again = Game("palaestra/Sokoban-v0", {"max_steps": 20}, level=1)
    assert again.position == second
    again.close()


def test_running_out_of_moves_ends_a_level() -> None:
    game = Game("palaestra/Sokoban-v0", {"max_steps": 3, "min_len": 3, "max_len": 3})
    for _ in range(3):
        game.act("still")
    assert game.position.over
    assert game.message == "Out of moves after 3 (reward -0.3)."
    game.act("up")
    assert game.position.steps == 3
    assert "level is over" in game.message
    game.hint()
    assert game.message == "This level is over."
    game.close()


def test_a_hint_for_a_lost_level_says_so(game: Game) -> None:
    dead = False
    for _ in range(40):  # push boxes about until some level cannot be won any more
        game.next_level()
        for action in ("up", "left", "down", "right", "up", "up", "left", "left", "down", "down"):
            game.act(action)
            dead = not game.position.over and game.env.unwrapped.plan() is None  # type: ignore[attr-defined]
            if dead:
                break
        if dead:
            break
    assert dead
    game.hint()
    assert game.message == "No solution from here is known: undo or restart."


@pytest.mark.parametrize(
    ("env_id", "kwargs", "code"),
    [
        ("palaestra/Sokoban-v0", {"obs": "rgb"}, "not_text"),
        ("palaestra/Sokoban-v0", {"size": 1}, "config"),
        ("palaestra/Nowhere-v0", {}, "env_make"),
    ],
)
def test_what_cannot_be_played_is_refused(env_id: str, kwargs: dict[str, object], code: str) -> None:
    with pytest.raises(PalaestraError) as caught:
        Game(env_id, kwargs)
    assert caught.value.code == code


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(PalaestraError, match="unknown_split"):
        Game("palaestra/Sokoban-v0", {}, split="tset")
    with pytest.raises(ConfigError):
        Game("palaestra/Sokoban-v0", {"obs": "symbol"})


# -- lines ---------------------------------------------------------------------------------------------------------


def test_a_level_is_solved_over_a_pipe_by_following_hints(command: Command) -> None:
    lines = ""
    for _ in range(13):  # one more hint each time, as a person would
        out = command("play", "--seed", 3, stdin=lines + "hint\n").out
        if not hints(out):
            break
        lines += hints(out)[-1] + "\n"
    done = command("play", "--seed", 3, stdin=lines)
    assert "Solved in" in done.out
    assert done.out.endswith("1 of 1 levels solved.\n")
    best = re.search(r"best possible: (\d+)", done.out)
    assert best is not None
    assert int(best[1]) == lines.count("\n")


def test_commands_keys_and_blank_lines(command: Command) -> None:
    done = command("play", stdin="\nw\nundo\nUP\nnew\nrestart\nquit\nup\n")
    assert "moves 1 " in done.out
    assert "Took one move back." in done.out
    assert "'UP' does nothing here (not_in_language)." in done.out
    assert "level 1  moves 0" in done.out
    assert "Back at the start." in done.out
    assert done.out.endswith("0 of 2 levels solved.\n")


def test_the_input_may_just_end(command: Command) -> None:
    done = command("play", stdin="up")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("env_id", ["palaestra/SokobanGrid-v0", "palaestra/SokobanReference-v0"])
def test_every_sokoban_id_can_be_played_in_words(env_id: str, command: Command) -> None:
    done = command("play", env_id, stdin="up\n")
    assert done.code == 0
    assert "actions: up, down, left, right" in done.out


def test_the_same_seed_and_level_show_the_same_board(command: Command) -> None:
    assert command("play", "--seed", 5, "--level", 2).out == command("play", "--seed", 5, "--level", 2).out
    assert command("play", "--seed", 5).out != command("play", "--seed", 6).out


def test_any_text_environment_is_playable(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "guessing.py")
    guesses = "10\nundo\nhint\n" + "\n".join(str(n) for n in range(1, 21)) + "\nquit\n"
    done = in_process("play", "guessing:example/Guess-v0", "--seed", "1", stdin=guesses, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "actions: 1, 2, 3" in done.out
    assert "best unknown" in done.out
    assert re.search(r"Solved in \d moves|Out of moves after 8", done.out)


# -- keys ----------------------------------------------------------------------------------------------------------


class Terminal:
    """`palaestra play` on a pseudo-terminal of 80 by 30."""

    def __init__(self, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "palaestra", "play", *words],
            stdin=slave, stdout=slave, stderr=slave, close_fds=True, start_new_session=True,
            env={**ENVIRONMENT, "COLUMNS": "80", "LINES": "30"},
        )  # fmt: skip
        os.close(slave)
        self.screen = ""

    def expect(self, pattern: str) -> str:
        """Read until the newest screen matches; returns everything since the last call."""
        seen = ""
        while not re.search(pattern, seen):
            assert select.select([self.master], [], [], 60)[0], f"no {pattern!r} within 60 s in {seen[-2000:]!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other side is closed
                data = b""
            assert data, f"the game ended without {pattern!r}: {seen[-2000:]!r}"
            seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
        return seen

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal("--seed", "3")
    yield opened
    opened.close()


SCREEN_END = r"(?s:.*)box on target"
KEYS = {"up": "\x1b[A", "down": "j", "left": "a", "right": "\x1bOC"}


def test_a_level_is_solved_with_keys(terminal: Terminal) -> None:
    seen = terminal.expect(SCREEN_END)
    assert "██" in seen
    assert "level 0  moves 0" in seen
    for move in range(1, 20):
        terminal.press("?")
        hint = hints(terminal.expect(rf"Hint: \w+ {SCREEN_END}"))[-1]
        terminal.press(KEYS[hint])
        seen = terminal.expect(rf"moves {move} {SCREEN_END}")
        if "Solved in" in seen:
            break
    assert f"Solved in {move} moves (best possible: {move})." in seen
    terminal.press("u")
    terminal.expect(rf"Took one move back{SCREEN_END}")
    terminal.press("z")  # no key of the game: nothing happens
    terminal.press("r")
    terminal.expect(rf"Back at the start{SCREEN_END}")
    terminal.press("n")
    terminal.expect(rf"level 1  moves 0{SCREEN_END}")
    terminal.press("q")
    assert "1 of 2 levels solved" in terminal.expect(r"levels solved")
    assert terminal.process.wait(timeout=60) == 0


def test_control_c_leaves_the_game(terminal: Terminal) -> None:
    terminal.expect(SCREEN_END)
    terminal.process.send_signal(2)
    terminal.expect(r"Interrupted\.")
    assert terminal.process.wait(timeout=60) == 130


def test_the_end_of_transmission_leaves_the_game(terminal: Terminal) -> None:
    terminal.expect(SCREEN_END)
    terminal.press("\x04")
    terminal.expect(r"0 of 1 levels solved")
    assert terminal.process.wait(timeout=60) == 0
