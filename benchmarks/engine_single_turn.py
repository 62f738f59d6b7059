"""Sampled tokens per CPU-second of one turn: the decode engine against transformers `generate`.

Same weights, same prompts, same law (temperature 1, no filters, no early stop), one process, repeats interleaved so
that a busy machine slows both alike; the median of each is compared.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from palaestra.agents.engine.base import GenerationRequest
from palaestra.agents.engine.engine import DecodeEngine, EngineConfig
from palaestra.agents.engine.forward import Qwen3Shape
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.types import Sampling
from palaestra.benchmarks.harness import machine_facts
from palaestra.mcp_servers.framework.sources import stream

PROMPT, NEW = 64, 64


def load_pair(size: str, seed: int, slots: int) -> tuple[DecodeEngine, PreTrainedModel]:
    """One tiny model, loaded by the decode engine and by transformers; neither ever stops early."""
    with tempfile.TemporaryDirectory() as directory:
        path = build_tiny(Path(directory) / "model", size, seed)
        config = json.loads((path / "config.json").read_text())
        model = AutoModelForCausalLM.from_pretrained(path)
    model.generation_config.eos_token_id = None  # or generate() takes it from here, whatever it is handed
    engine = DecodeEngine(Qwen3Shape.from_config(config), model, (), EngineConfig(max_slots=slots))
    return engine, model.eval()


def generate_reference(model: PreTrainedModel, ids_BT: np.ndarray, new_tokens: int) -> np.ndarray:
    """Whole sequences [B, T + new] sampled by transformers from the unfiltered law."""
    config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=new_tokens, pad_token_id=0
    )
    tensor = torch.from_numpy(ids_BT)
    with torch.inference_mode():
        full = model.generate(tensor, attention_mask=torch.ones_like(tensor), generation_config=config)
    assert full.shape[1] == ids_BT.shape[1] + new_tokens, "the reference stopped early"
    return np.asarray(full)


def interleaved(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> dict[str, list[float]]:
    """CPU and wall seconds of both, measured in turn after one unmeasured run of each."""
    seconds: dict[str, list[float]] = {"cpu": [], "peer_cpu": [], "wall": [], "peer_wall": []}
    ours(), peer()
    for _ in range(repeats):
        for prefix, run_once in (("", ours), ("peer_", peer)):
            cpu, wall = time.process_time(), time.perf_counter()
            run_once()
            seconds[prefix + "cpu"].append(time.process_time() - cpu)
            seconds[prefix + "wall"].append(time.perf_counter() - wall)
    return seconds


def measure(size: str, batch: int, repeats: int, seed: int) -> dict[str, float]:
    """Tokens per CPU-second and per wall second of both, at one batch size."""
    engine, model = load_pair(size, seed, batch)
    ids_BT = stream(seed, "prompts").integers(6, 512, (batch, PROMPT))
    requests = [GenerationRequest(f"row-{row}", tuple(ids.tolist())) for row, ids in enumerate(ids_BT)]
    sampling = Sampling(max_new_tokens=NEW, seed=seed)
    seconds = interleaved(
        lambda: engine.generate(requests, sampling), lambda: generate_reference(model, ids_BT, NEW), repeats
    )
    return {key: batch * NEW / statistics.median(values) for key, values in seconds.items()}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """The benchmark's one result; batch 16 on one thread is the headline."""
    repeats = 3 if quick else 7
    threads = torch.get_num_threads()
    rates: dict[str, dict[str, float]] = {}
    try:
        torch.set_num_threads(1)
        for batch in (1, 16) if quick else (1, 16, 64):
            rates[f"S, batch {batch}"] = measure("S", batch, repeats, seed)
        if not quick:
            rates["M, batch 16"] = measure("M", 16, repeats, seed)
            torch.set_num_threads(2)
            rates["S, batch 16, 2 threads"] = measure("S", 16, repeats, seed)
    finally:
        torch.set_num_threads(threads)
    headline = rates["S, batch 16"]
    return {
        "name": "engine_single_turn",
        "value": headline["cpu"],
        "unit": "tokens/CPU-s",
        "target": 1.3,
        "peer": {
            "name": f"transformers {transformers.__version__} generate",
            "value": headline["peer_cpu"],
            "unit": "tokens/CPU-s",
        },
        "ratio": headline["cpu"] / headline["peer_cpu"],
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {"prompt_tokens": PROMPT, "new_tokens": NEW, "repeats": repeats, "rates": rates},
    }
