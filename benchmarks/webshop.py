"""WebShop steps per CPU-second, and how they grow: `python -m palaestra.benchmarks.webshop`.

A shopper searches with words nobody used before, turns pages, opens products, reads, chooses options and buys;
episodes start anew when they end, and every step builds the page's text, its clickables, the admissible actions and
the whole info dictionary. The original cannot be installed by pip; its rate, measured once on a machine of this kind
with its parser and search stubbed, was 65 to 69.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from palaestra.benchmarks.harness import cpu_rate, result, with_rows
from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.generator import make_shop, write_shop
from palaestra.envs.webshop.sources import open_source
from palaestra.envs.webshop.vector import WebShopVectorEnv

STEPS_TARGET: Final = 1e4
SEARCHES_TARGET: Final = 2e4
RESETS_TARGET: Final = 5e3
SEARCH_SHARE: Final = 0.2
"""Of the clicks, how many are replaced by a search; the original's own benchmark action mix is not known."""
IMPORT: Final = (
    "import time; t = time.process_time(); import palaestra, gymnasium\n"
    "env = gymnasium.make('palaestra/WebShop-v0', disable_env_checker=True); env.reset(seed=0)\n"
    "print(time.process_time() - t)"
)


class Shopper:
    """Draws the next action: a listed one, or a search with words of the shop in a new order."""

    def __init__(self, words: Sequence[str], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._draws = rng.random(65_536).tolist()
        self._words = [words[k] for k in rng.integers(0, len(words), 65_536)]
        self._next = 0

    def action(self, listed: Sequence[str]) -> str:
        """An action for a page with these."""
        at = self._next = (self._next + 1) % 65_533
        draw = self._draws[at]
        if draw < SEARCH_SHARE or listed[0].startswith("search"):
            return f"search[{' '.join(self._words[at : at + 3])}]"
        return listed[int(draw * 1e6) % len(listed)]


def words_of(config: WebShopConfig) -> list[str]:
    """Words that products' names are made of."""
    products = open_source(config).shop.catalogue.products
    return sorted({word.strip(",").lower() for product in products[:1000] for word in product.name.split()})


def single(seed: int, steps: int, **settings: Any) -> Callable[[], int]:
    """A function that takes `steps` steps, resets included."""
    env = WebShopEnv(split="all", **settings)
    shopper = Shopper(words_of(env.config), seed)
    _, start = env.reset(seed=seed)
    listed = start["admissible_commands"]

    def play() -> int:
        nonlocal listed
        for _ in range(steps):
            _, _, terminated, truncated, info = env.step(shopper.action(listed))
            if terminated or truncated:
                _, info = env.reset()
            listed = info["admissible_commands"]
        return steps

    return play


def batched(seed: int, sessions: int, steps: int) -> Callable[[], int]:
    """The same in batches, `steps` of them all together."""
    env = WebShopVectorEnv(sessions, autoreset_mode="SameStep", split="all")
    shopper = Shopper(words_of(WebShopConfig(split="all")), seed)
    _, start = env.reset(seed=seed)
    listed = start["admissible_commands"]

    def play() -> int:
        nonlocal listed
        for _ in range(max(1, steps // sessions)):
            infos = env.step([shopper.action(actions) for actions in listed])[-1]
            listed = infos["admissible_commands"]
        return max(1, steps // sessions) * sessions

    return play


def searches(count: int) -> Callable[[], int]:
    """Searches of three words each, none of them asked before."""
    env = WebShopEnv()
    ranker = open_source(env.config).shop.ranker
    words = words_of(env.config)
    rng = np.random.default_rng(1)

    def ask() -> int:
        for triple in rng.integers(0, len(words), (count, 3)).tolist():
            ranker.search(" ".join([words[k] for k in triple]))
        return count

    return ask


def resets(count: int) -> Callable[[], int]:
    """Resets of one environment."""
    env = WebShopEnv()
    env.reset(seed=0)

    def start() -> int:
        for _ in range(count):
            env.reset()
        return count

    return start


def _rows(quick: bool, seed: int, folder: Path) -> list[dict[str, Any]]:
    repeats, steps = (3, 2_000) if quick else (7, 20_000)

    def row(name: str, fn: Callable[[], int], unit: str, target: float | None) -> dict[str, Any]:
        rate = cpu_rate(fn, repeats)
        return result(name, rate, f"{unit} per CPU-second", target=target, peer=None, seeds=[seed], details={})

    rows = [
        row("1,000 products", single(seed, steps), "steps", STEPS_TARGET),
        row("1,000 products, HTML", single(seed, steps // 4, obs="html"), "steps", None),
        row("searches, 1,000 products", searches(steps), "searches", SEARCHES_TARGET),
        row("resets", resets(steps), "resets", RESETS_TARGET),
        *(row(f"batch of {n:,}", batched(seed, n, steps), "steps", None) for n in (1, 64, 1000)),
    ]
    for products in (10_000,) if quick else (10_000, 50_000):
        path = folder / str(products)
        write_shop(make_shop("shelves", products), path, compress=False)
        opening = time_to_open(f"{products:,} products opened", WebShopConfig(catalogue=str(path)), seed)
        rows += [row(f"{products:,} products", single(seed, steps // 2, catalogue=str(path)), "steps", None), opening]
    with_norms = WebShopConfig(lucene_norms=True)  # settings that nothing else here has opened
    rows += [time_to_open("1,000 products opened", with_norms, seed), time_to_import(seed)]
    return rows


def _seconds(name: str, spent: float, seed: int) -> dict[str, Any]:
    once = dict.fromkeys(("median", "min", "max"), spent)
    return result(name, once, "CPU-seconds", target=None, peer=None, seeds=[seed], details={})


def time_to_open(name: str, config: WebShopConfig, seed: int) -> dict[str, Any]:
    """CPU-seconds to read and index a shop that is not open yet."""
    started = time.process_time()
    open_source(config)
    return _seconds(name, time.process_time() - started, seed)


def time_to_import(seed: int) -> dict[str, Any]:
    """CPU-seconds from nothing to the first observation, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return _seconds("import and first reset", float(done.stdout), seed)


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Measure; about a minute and a half, or ten seconds if quick."""
    with tempfile.TemporaryDirectory() as folder:
        return with_rows(_rows(quick, seed, Path(folder)))


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv, seed=0), indent=2))
