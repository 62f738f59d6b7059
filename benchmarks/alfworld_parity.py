"""Our ALFWorld beside alfworld itself, on the same games: `python -m palaestra.benchmarks.alfworld_parity`.

Both play the same commands on games of ours: embedded ones, by the domain and grammar that come with alfworld, and
small generated ones, some made odd on purpose, by the domain and grammar we write. Feedback, admissible commands,
score and end must be equal in every step. The walks are the planner's, the explorer's, random ones with
inadmissible commands among them, and some that try the rare commands.

alfworld may be installed in another environment: `--python PATH`, or the environment variable
PALAESTRA_ALFWORLD_PYTHON, names its interpreter. `--keep FILE` writes the transcripts, packed; `--replay FILE` compares
with such a file instead of asking the original.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from palaestra.benchmarks.alfworld_oddities import ODDITIES
from palaestra.benchmarks.harness import count_result
from palaestra.envs.alfworld.explorer import explore
from palaestra.envs.alfworld.files import game_data
from palaestra.envs.alfworld.game import TASK_TYPES, Game, compile_game
from palaestra.envs.alfworld.generator import SPLITS
from palaestra.envs.alfworld.grammar import read_grammar, write_grammar
from palaestra.envs.alfworld.planner import plan
from palaestra.envs.alfworld.problem import read_problem
from palaestra.envs.alfworld.sources import EmbeddedGames, GeneratedGames
from palaestra.envs.alfworld.world import World
from palaestra.envs.core.seeding import stream
from palaestra.mcp_servers.errors import ConfigError

SMALL: Final = 80
"""Small generated games to play: the original needs seconds for each, and a minute for a large kitchen."""
EVERY: Final = 4
"""Of the embedded games, which are large, one in so many is played."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two part: the game, the step, and what each said."""

    game: str
    step: int
    command: str | None
    what: str
    theirs: Any
    ours: Any


def entries(seed: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """What the original is to be asked."""
    embedded = EmbeddedGames()
    small = GeneratedGames("small", 240, TASK_TYPES, None)
    for split in SPLITS:
        for index in range(0, 2 * EVERY if quick else embedded.count(split), EVERY):
            name = f"embedded/{split}/{index}"
            yield entry_of(name, embedded.at(split, index), seed + index, 24, sentence=True)
    for index in range(2 if quick else SMALL):
        yield entry_of(f"small/{index}", small.at(SPLITS[index % 3], index), seed + index, 40, sentence=False)
    for index, odd in enumerate(ODDITIES):
        game = small.at("train", 1000 + index)
        problem = odd(game.problem, stream(seed, "odd", index))
        made = compile_game(problem, game.grammar, split="train", file=f"odd/{index}")
        entry = entry_of(f"odd/{index}", made, seed + index, 40, sentence=False)
        yield {
            **entry,
            "walks": [*entry["walks"], {"commands": varied(World(made), 60, stream(seed, "varied", index))}],
        }


def entry_of(name: str, game: Game, seed: int, steps: int, *, sentence: bool) -> dict[str, Any]:
    """What the original is to be asked about a game; with `sentence` it is to use its own domain and grammar."""
    world = World(game)
    walks: list[dict[str, Any]] = [{"commands": plan(world) or []}, {"seed": seed, "steps": steps}]
    if seed % 3 == 0 or not sentence:
        walks.append({"commands": explore(world, ()) or []})
    data = game_data(game.problem, game.grammar.goal_sentence, "parity", [])
    words = {"sentence": game.grammar.goal_sentence} if sentence else {}
    return {"name": name, "data": data, "walks": walks, **words}


def varied(world: World, steps: int, rng: np.random.Generator) -> list[str]:
    """A walk that does, each time, something it has done least so far: the rare commands get their turn."""
    done: Counter[str] = Counter()
    commands: list[str] = []
    while len(commands) < steps and not world.won():
        moves = world.moves()
        fewest = min(done[move[0]] for move in moves.values())
        rarest = sorted(command for command, move in moves.items() if done[move[0]] == fewest)
        commands.append(rarest[int(rng.integers(len(rarest)))])
        done[moves[commands[-1]][0]] += 1
        world.apply(moves[commands[-1]])
    return commands


def ask_original(python: str, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What alfworld did. Raises: ConfigError "no_alfworld" if that interpreter cannot import it."""
    script = Path(__file__).with_name("alfworld_original.py")
    found = subprocess.run(
        [python, "-c", "import alfworld, textworld, fast_downward"], capture_output=True, check=False
    )
    if found.returncode:
        message = f"{python} cannot import alfworld; pip install alfworld==0.4.2 (it compiles for minutes)"
        raise ConfigError("no_alfworld", f"{message}, or name another interpreter with --python")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        source.write_text("".join(json.dumps(question) + "\n" for question in questions), "utf-8")
        subprocess.run([python, str(script), str(source), str(target)], check=True, stdout=subprocess.DEVNULL)
        return [json.loads(line) for line in target.read_text("utf-8").splitlines()]


def compare(game: Game, transcript: dict[str, Any]) -> Difference | None:
    """The first difference between what the original did and what we do; None if there is none."""
    world = World(game)
    for number, (command, feedback, admissible, score, done) in enumerate(transcript["steps"]):
        reply = world.intro() if command is None else world.act(command)
        won = world.won()
        pairs = (
            ("feedback", feedback, reply),
            ("admissible", admissible, sorted(world.moves())),
            ("score", score, int(won)),
            ("done", done, won),
        )
        for what, theirs, ours in pairs:
            if theirs != ours:
                return Difference(transcript["name"], number, command, what, theirs, ours)
    return None


def find_game(line: dict[str, Any]) -> Game:
    """The game of a transcript: named, if it is an embedded one, or told in full."""
    if "problem" in line:
        grammar = read_grammar(write_grammar(line["sentence"]))
        return compile_game(read_problem(line["problem"]), grammar, split="train", file=line["name"])
    _, split, index = line["name"].split("/")
    return EmbeddedGames().at(split, int(index))


def keep(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write transcripts, packed, without what differs from run to run."""
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        for line in lines:
            kept = {key: value for key, value in line.items() if key != "cpu_s"}
            file.write((json.dumps(kept, separators=(",", ":")) + "\n").encode())


def read_kept(path: Path) -> list[dict[str, Any]]:
    """The lines that `keep` wrote."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def interpreter() -> str:
    """The interpreter that can import alfworld, as far as has been said."""
    return os.environ.get("PALAESTRA_ALFWORLD_PYTHON", sys.executable)


def transcripts(python: str, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    """What the original did: a header, then a line for every walk; generated games are told in full."""
    asked = list(entries(seed, quick=quick))
    told = {entry["name"]: entry["data"] for entry in asked if "sentence" not in entry}
    lines = ask_original(python, asked)
    for line in lines[1:]:
        if line["name"] in told:
            data = told[line["name"]]
            line |= {"problem": data["pddl_problem"], "sentence": read_grammar(data["grammar"]).goal_sentence}
    return lines


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Count differing walks; about twenty minutes, nearly all of them the original's, or half a minute if quick."""
    return count(transcripts(interpreter(), seed, quick=quick), seed)


def count(lines: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """The result for these transcripts: a header and a line for every walk."""
    header, walks = lines[0], [line for line in lines[1:] if "error" not in line]
    found = [difference for walk in walks if (difference := compare(find_game(walk), walk)) is not None]
    details = {
        "games": len({walk["name"] for walk in walks}),
        "walks": len(walks),
        "steps": sum(len(walk["steps"]) for walk in walks),
        "won": sum(walk["steps"][-1][4] for walk in walks),
        "refused_by_the_original": [line["name"] for line in lines if "error" in line],
        "versions": header["versions"],
        "differences": [str(difference) for difference in found[:5]],
    }
    return count_result("alfworld-parity", len(found), "walks that differ", seed, details)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=interpreter(), help="interpreter that can import alfworld")
    parser.add_argument("--keep", type=Path, help="write the transcripts to this file")
    parser.add_argument("--replay", type=Path, help="compare with kept transcripts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="eight games")
    given = parser.parse_args()
    lines = read_kept(given.replay) if given.replay else transcripts(given.python, given.seed, quick=given.quick)
    result = count(lines, given.seed)
    if given.keep:
        keep(given.keep, lines)
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["value"] else 0)


if __name__ == "__main__":
    main()
