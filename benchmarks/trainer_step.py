"""CPU seconds of one optimiser step on the same rows: this trainer's path against TRL's GRPOTrainer.

Both sides get the same model, rows, advantages and optimiser and do forward, loss, backward, gradient clipping and
one AdamW step in micro-batches of `MICRO_ROWS`. Neither generates, and neither runs an old pass (on-policy rows).
Ours includes packing the rows; TRL's inputs are tensors already. Runs of the two sides alternate.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from palaestra.agents.types import Sampling
from palaestra.benchmarks.harness import result
from palaestra.mcp_servers.framework.sources import stream
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.forward import token_scores
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.objective import Objective
from palaestra.trainers.old_pass import behaviour_as_old
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Kind, Row

VOCABULARY = 128
PROMPT_TOKENS, RESPONSE_TOKENS = 24, 4
MICRO_ROWS = 64
GROUP = 8


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Tokens per CPU-second on both sides; without TRL installed the peer and the ratio are null."""
    rows = build_rows(128 if quick else 512, seed)
    model = build_model(seed)
    sides: dict[str, Callable[[], float]] = {"ours": _our_side(copy.deepcopy(model), rows)}
    if find_spec("trl") is not None:
        with tempfile.TemporaryDirectory() as folder:
            trainer = build_trl_trainer(copy.deepcopy(model), folder, loss_type="dapo")
            sides["trl"] = _trl_side(trainer, prepared_batch(rows))
            seconds = _measure(sides, repeats=2 if quick else 7)
    else:
        seconds = _measure(sides, repeats=2 if quick else 7)
    tokens = sum(len(row.prompt_ids) + len(row.response_ids) for row in rows)
    rates = {name: _rate(tokens, values) for name, values in seconds.items()}
    return result(
        "trainer_step",
        rates["ours"],
        "tokens per CPU-second of optimiser step",
        target=1.0,
        peer=("trl GRPOTrainer", rates["trl"]) if "trl" in rates else None,
        seeds=[seed],
        details={
            "rows": len(rows),
            "tokens": tokens,
            "micro_rows": MICRO_ROWS,
            "threads": torch.get_num_threads(),
            "cpu_seconds_per_step": {name: median(values) for name, values in seconds.items()},
        },
    )


def _rate(tokens: int, seconds: list[float]) -> dict[str, float]:
    return {"median": tokens / median(seconds), "min": tokens / max(seconds), "max": tokens / min(seconds)}


def build_rows(count: int, seed: int) -> list[Row]:
    """Step rows with prompts of 20 to 24 tokens and random returns."""
    rng = stream(seed, "trainer_step", "rows")
    rows = []
    for i in range(count):
        prompt = rng.integers(1, VOCABULARY, PROMPT_TOKENS - int(rng.integers(0, 5))).tolist()
        response = rng.integers(1, VOCABULARY, RESPONSE_TOKENS).tolist()
        rows.append(
            Row(
                row_id=i,
                kind=Kind.STEP,
                uid=f"g{i // GROUP}",
                traj_id=f"t{i}",
                prompt_ids=tuple(prompt),
                response_ids=tuple(response),
                sampled_mask=(1,) * RESPONSE_TOKENS,
                behaviour_logprobs=(-5.0,) * RESPONSE_TOKENS,
                traj_return=float(rng.random()),
            )
        )
    return rows


def build_model(seed: int) -> nn.Module:
    """Qwen3 of 4 layers and 128 hidden units with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: nn.Module = Qwen3ForCausalLM(config)
    return model


def prepared_batch(rows: list[Row]) -> TrainBatch:
    """Packed, with advantages, the sampler's log-probabilities as the old ones."""
    return Objective(ObjectiveConfig()).prepare(behaviour_as_old(pack(rows, Sampling())))[0]


def build_trl_trainer(model: nn.Module, folder: str, **settings: Any) -> Any:
    """A GRPOTrainer around `model` that is never asked to generate; `settings` go to GRPOConfig."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}))
    special = {"pad_token": "w0", "eos_token": "w0"}
    arguments = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        report_to=[],
        per_device_train_batch_size=MICRO_ROWS,
        num_generations=GROUP,
        gradient_accumulation_steps=1,
        max_completion_length=RESPONSE_TOKENS,
        gradient_checkpointing=False,
        **settings,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "w1"}] * MICRO_ROWS),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, **special),
    )
    trainer.current_gradient_accumulation_steps = 1  # set by its training loop otherwise
    trainer.model.train()
    return trainer


def trl_inputs(batch: TrainBatch, tokens: int) -> dict[str, Tensor | None]:
    """A prepared batch as GRPOTrainer's loss takes it; `tokens` is the count of the whole optimiser step."""
    width_P = batch.prompt_width
    return {
        "prompt_ids": batch.input_ids_BL[:, :width_P],
        "prompt_mask": batch.attention_mask_BL[:, :width_P].long(),
        "completion_ids": batch.response_ids_BT,
        "completion_mask": batch.response_mask_BT.long(),
        "tool_mask": batch.mask_BT.long(),
        "advantages": batch.advantages_BT,
        "old_per_token_logps": batch.old_logprobs_BT,
        "ref_per_token_logps": batch.ref_logprobs_BT,
        "num_items_in_batch": torch.tensor(tokens),
    }


def _our_side(model: nn.Module, rows: list[Row]) -> Callable[[], float]:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    objective = Objective(ObjectiveConfig())

    def step() -> float:
        batch, _ = objective.prepare(behaviour_as_old(pack(rows, Sampling())))
        denominators = batch.denominators()
        total = 0.0
        for micro in batch.micro_batches(MICRO_ROWS):
            scores = token_scores(model, micro, 1.0)
            output = objective.loss(scores.logprobs_BT, scores.entropy_BT, micro, denominators)
            torch.autograd.backward([output.loss])
            total += float(output.loss.detach())
        _update(model, optimiser)
        return total

    return step


def _trl_side(trainer: Any, batch: TrainBatch) -> Callable[[], float]:
    optimiser = torch.optim.AdamW(trainer.model.parameters(), lr=1e-5)
    tokens = batch.denominators().tokens
    parts = [trl_inputs(batch.select(index), tokens) for index in torch.split(torch.arange(len(batch)), MICRO_ROWS)]

    def step() -> float:
        total = 0.0
        for part in parts:
            loss = trainer.compute_loss(trainer.model, part)
            loss.backward()
            total += float(loss.detach())
        _update(trainer.model, optimiser)
        return total

    return step


def _update(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _measure(sides: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each side, alternating, after one warm-up step each."""
    for step in sides.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, step in sides.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return seconds
