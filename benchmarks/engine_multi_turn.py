"""Sampled tokens per CPU-second over ten-turn episodes: KV kept across turns against prefilling everything again.

Sixteen episodes in lockstep; each turn adds an observation and samples an answer. transformers `generate` has no
sessions, so it is handed the whole transcript every turn, unpadded because all rows are equally long (its best case).
Same weights, same law, one process, repeats interleaved.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from palaestra.agents.engine.base import GenerationRequest
from palaestra.agents.engine.engine import DecodeEngine
from palaestra.agents.types import Sampling
from palaestra.benchmarks.engine_single_turn import generate_reference, interleaved, load_pair
from palaestra.benchmarks.harness import machine_facts
from palaestra.mcp_servers.framework.sources import stream

EPISODES, TURNS, OBSERVATION, ANSWER = 16, 10, 40, 6


def play(engine: DecodeEngine, observations_STB: np.ndarray, seed: int) -> None:
    """All turns of all episodes on the engine, sessions released at the end."""
    sampling = Sampling(max_new_tokens=ANSWER, seed=seed)
    names = [f"episode-{row}" for row in range(EPISODES)]
    for turn, ids_BT in enumerate(observations_STB):
        rows = zip(names, ids_BT, strict=True)
        engine.generate([GenerationRequest(name, tuple(ids.tolist()), name, turn) for name, ids in rows], sampling)
    for name in names:
        engine.release(name)


def play_reference(model: PreTrainedModel, observations_STB: np.ndarray) -> None:
    """The same turns on transformers, the transcript handed over whole every time."""
    transcript_BT = np.zeros((EPISODES, 0), dtype=np.int64)
    for ids_BT in observations_STB:
        transcript_BT = generate_reference(model, np.concatenate((transcript_BT, ids_BT), axis=1), ANSWER)


def measure(size: str, repeats: int, seed: int) -> dict[str, float]:
    """Sampled tokens per CPU-second and per wall second of both."""
    engine, model = load_pair(size, seed, EPISODES)
    observations = stream(seed, "observations").integers(6, 512, (TURNS, EPISODES, OBSERVATION))
    seconds = interleaved(
        lambda: play(engine, observations, seed), lambda: play_reference(model, observations), repeats
    )
    tokens = EPISODES * TURNS * ANSWER
    return {key: tokens / statistics.median(values) for key, values in seconds.items()}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """The benchmark's one result; size S on one thread is the headline."""
    repeats = 3 if quick else 5
    threads = torch.get_num_threads()
    rates: dict[str, dict[str, float]] = {}
    try:
        torch.set_num_threads(1)
        rates["S"] = measure("S", repeats, seed)
        if not quick:
            rates["M"] = measure("M", repeats, seed)
            torch.set_num_threads(2)
            rates["S, 2 threads"] = measure("S", repeats, seed)
    finally:
        torch.set_num_threads(threads)
    headline = rates["S"]
    return {
        "name": "engine_multi_turn",
        "value": headline["cpu"],
        "unit": "tokens/CPU-s",
        "target": 3.0,
        "peer": {
            "name": f"transformers {transformers.__version__} generate, whole transcript every turn",
            "value": headline["peer_cpu"],
            "unit": "tokens/CPU-s",
        },
        "ratio": headline["cpu"] / headline["peer_cpu"],
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {
            "episodes": EPISODES,
            "turns": TURNS,
            "observation_tokens": OBSERVATION,
            "answer_tokens": ANSWER,
            "repeats": repeats,
            "rates": rates,
        },
    }
