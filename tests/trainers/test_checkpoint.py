"""Checkpoints: what goes in comes out bit for bit, whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from palaestra.mcp_servers.errors import TrainingError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.trainers.checkpoint import (
    RunState,
    best_checkpoint,
    capture,
    latest_valid,
    list_checkpoints,
    load_checkpoint,
    read_assets,
    restore,
    save_checkpoint,
)
from palaestra.trainers.manifest import MANIFEST, Manifest, read_manifest, render, verify


class Trainee:
    """A small training loop that draws from every kind of random stream: dropout, a generator, a NumPy stream."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 6))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.generator = torch.Generator().manual_seed(seed)
        self.numpy = stream(seed, "data")
        self.steps = 0

    def step(self) -> None:
        inputs = torch.randn(4, 6, generator=self.generator)
        targets = torch.from_numpy(self.numpy.normal(size=(4, 6)).astype("f4"))
        loss = (self.model(inputs) - targets).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    def capture(self, **more: Any) -> RunState:
        return capture(self.steps, self.model, self.optimizer, **self.streams, **more)

    def restore(self, saved: RunState) -> None:
        restore(saved, self.model, self.optimizer, **self.streams)
        self.steps = saved.step

    @property
    def streams(self) -> dict[str, Any]:
        return {"generators": {"sampler": self.generator}, "numpy_streams": {"data": self.numpy}}

    def weights(self) -> list[bytes]:
        return [tensor.numpy().tobytes() for tensor in self.model.state_dict().values()]


def trained(steps: int, seed: int = 0) -> Trainee:
    trainee = Trainee(seed)
    for _ in range(steps):
        trainee.step()
    return trainee


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_equals_the_straight_one_bit_for_bit(tmp_path: Path, stop: int) -> None:
    straight = trained(6)
    path = save_checkpoint(tmp_path, trained(stop).capture())
    resumed = Trainee(seed=99)
    resumed.restore(load_checkpoint(path))
    while resumed.steps < 6:
        resumed.step()
    assert resumed.weights() == straight.weights()


@pytest.mark.parametrize("forgotten", ["torch_cpu", "generators", "numpy"])
def test_a_resume_without_one_random_stream_is_not_the_same_run(tmp_path: Path, forgotten: str) -> None:
    straight = trained(6)
    saved = load_checkpoint(save_checkpoint(tmp_path, trained(3).capture()))
    resumed = Trainee(seed=99)
    resumed.restore(replace(saved, rng={**saved.rng, forgotten: Trainee(seed=99).capture().rng[forgotten]}))
    while resumed.steps < 6:
        resumed.step()
    assert resumed.weights() != straight.weights()


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    trainee = trained(2)
    state: dict[Any, Any] = {
        "cursor": 7,
        "best": -math.inf,
        "betas": (0.9, 0.99),
        "ema": torch.arange(3),
        5: None,
        "empty": {},
    }
    assets = {"config.json": b"{}", "chat_template.jinja": b"{{ x }}"}
    path = save_checkpoint(tmp_path, trainee.capture(state=state, assets=assets))
    saved = load_checkpoint(path)
    assert (saved.step, saved.device, saved.assets) == (2, "cpu", assets)
    assert torch.equal(saved.state["ema"], state["ema"])
    assert {k: v for k, v in saved.state.items() if k != "ema"} == {k: v for k, v in state.items() if k != "ema"}
    optimizer = trainee.optimizer.state_dict()
    assert saved.optimizer is not None
    assert saved.optimizer["param_groups"] == optimizer["param_groups"]
    for number, slots in optimizer["state"].items():
        for name, value in slots.items():
            assert torch.equal(saved.optimizer["state"][number][name], value)


def test_a_model_directory_of_a_checkpoint_loads_as_an_ordinary_one(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    assets = {"config.json": model.config.to_json_string().encode()}
    path = save_checkpoint(tmp_path, capture(1, model, assets=assets))
    assert read_manifest(path).aliases == {"lm_head.weight": "model.embed_tokens.weight"}
    again = AutoModelForCausalLM.from_pretrained(path / "model")
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    fresh = Qwen2ForCausalLM(config)
    restore(load_checkpoint(path), fresh)
    assert torch.equal(fresh.lm_head.weight, model.lm_head.weight)
    assert fresh.lm_head.weight.data_ptr() == fresh.model.embed_tokens.weight.data_ptr()


def test_views_and_shared_memory_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    model = {"a": base, "tied": base, "row": base[1], "turned": base.T, "none": torch.zeros(0), "nil": torch.zeros(0)}
    saved = RunState(1, model, None, trained(0).capture().rng)
    path = save_checkpoint(tmp_path, saved)
    assert read_manifest(path).aliases == {"tied": "a"}
    loaded = load_checkpoint(path).model
    assert loaded.keys() == model.keys()
    assert all(torch.equal(loaded[name], model[name]) for name in model)


def test_read_assets_takes_all_but_the_weights(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json", "old.bin"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    assert read_assets(tmp_path) == {"config.json": b"config.json", "tokenizer.json": b"tokenizer.json"}


@pytest.mark.parametrize("name", ["../x.json", "a/b.json", "weights.bin"])
def test_an_asset_that_is_no_plain_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match="not_savable"):
        save_checkpoint(tmp_path, trained(0).capture(assets={name: b""}))
    assert list(tmp_path.iterdir()) == []


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    trainee = trained(0)
    for step in range(1, 8):
        trainee.steps = step
        save_checkpoint(tmp_path, trainee.capture(), keep=2, best=step in (1, 3))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000007", "step-00000006", "step-00000003"]
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert best.name == "step-00000003"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000006", "step-00000007"]


def test_without_a_best_one_there_is_none(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    assert latest_valid(tmp_path / "nowhere") == latest_valid(tmp_path)
    assert latest_valid(tmp_path).path is None


def test_pruning_leaves_what_it_cannot_read(tmp_path: Path) -> None:
    trainee = trained(0)
    for step in range(1, 5):
        trainee.steps = step
        save_checkpoint(tmp_path, trainee.capture(), keep=1 if step == 4 else 9)
        if step == 1:
            (tmp_path / "step-00000001" / MANIFEST).write_text("{")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004", "step-00000001"]


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="keep=0"):
        save_checkpoint(tmp_path, trained(0).capture(), keep=0)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, trained(2, seed=0).capture())
    path = save_checkpoint(tmp_path, trained(2, seed=1).capture())
    resumed = Trainee(5)
    resumed.restore(load_checkpoint(path))
    assert resumed.weights() == trained(2, seed=1).weights()
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000002"]


def test_equal_states_make_equal_checkpoints(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "a", trained(2).capture())
    second = save_checkpoint(tmp_path / "b", trained(2).capture())
    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()


def test_what_a_killed_save_left_is_finished_by_the_next(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, trained(1).capture())
    aside = tmp_path / ".step-00000001.old"
    path.rename(aside)  # killed between the two renames of a replacement
    shutil.copytree(aside, tmp_path / ".step-00000001.tmp")
    assert latest_valid(tmp_path).path == aside
    assert load_checkpoint(aside).step == 1
    save_checkpoint(tmp_path, trained(2).capture())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    shutil.copytree(tmp_path / "step-00000002", tmp_path / ".step-00000002.old")  # killed before the deletion
    save_checkpoint(tmp_path, trained(3).capture())
    assert len(list(tmp_path.iterdir())) == 3


def spoil_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


FILES = (
    "model/model.safetensors", "model/config.json", "optimizer.json", "optimizer.safetensors", "rng.json",
    "rng.safetensors", "state.json", "state.safetensors", MANIFEST,
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["bit", "cut", "gone"])
def test_any_damage_is_found_and_named_and_the_earlier_checkpoint_offered(tmp_path: Path, name: str, how: str) -> None:
    trainee = trained(1)
    good = save_checkpoint(tmp_path, trainee.capture(assets={"config.json": b"{}"}))
    trainee.step()
    bad = save_checkpoint(tmp_path, trainee.capture(assets={"config.json": b"{}"}))
    if how == "bit":
        spoil_bit(bad / name)
    elif how == "cut":
        (bad / name).write_bytes((bad / name).read_bytes()[:-1])
    else:
        (bad / name).unlink()
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(bad)
    assert caught.value.code == "checkpoint_corrupt"
    assert str(bad / name) in caught.value.message
    assert "delete this checkpoint" in caught.value.message
    found = latest_valid(tmp_path)
    assert found.path == good
    assert [error.code for error in found.refused] == ["checkpoint_corrupt"]


def test_a_file_added_afterwards_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, trained(1).capture())
    (path / "model" / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(TrainingError, match=r"pytorch_model\.bin is not listed"):
        load_checkpoint(path)


def test_a_missing_folder_and_a_newer_format_have_their_own_codes(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(tmp_path / "step-00000001")
    assert caught.value.code == "checkpoint_missing"
    newer = render(Manifest(step=1, device="cpu", versions={}, aliases={}, format=2))
    (tmp_path / MANIFEST).write_bytes(newer)
    with pytest.raises(TrainingError) as caught:
        verify(tmp_path)
    assert caught.value.code == "checkpoint_version"


def test_a_checkpoint_of_another_model_or_without_its_optimizer_is_refused(tmp_path: Path) -> None:
    saved = load_checkpoint(save_checkpoint(tmp_path, trained(1).capture()))
    trainee = trained(1)
    with pytest.raises(TrainingError, match="checkpoint_mismatch"):
        restore(saved, nn.Linear(2, 2), trainee.optimizer, **trainee.streams)
    with pytest.raises(TrainingError, match="holds optimizer state"):
        restore(saved, trainee.model, None, **trainee.streams)
    with pytest.raises(TrainingError, match="holds no optimizer state"):
        restore(replace(saved, optimizer=None), trainee.model, trainee.optimizer, **trainee.streams)


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({}, "holds 'sampler'"),
        ({"generators": {"samplr": torch.Generator()}}, "did you mean 'samplr'"),
        ({"generators": {"sampler": torch.Generator()}}, "holds 'data'"),
        ({"generators": {"sampler": torch.Generator(), "more": torch.Generator()}}, "'more' is not in the checkpoint"),
        (
            {
                "generators": {"sampler": torch.Generator()},
                "numpy_streams": {"data": np.random.Generator(np.random.SFC64())},
            },
            "was a PCG64, now it is a SFC64",
        ),
    ],
)
def test_random_streams_must_be_the_same_ones(streams: Mapping[str, Any], said: str) -> None:
    trainee = trained(1)
    with pytest.raises(TrainingError, match=said) as caught:
        restore(trainee.capture(), trainee.model, trainee.optimizer, **streams)
    assert caught.value.code == "rng_mismatch"


def test_streams_of_cuda_devices_need_as_many_devices() -> None:
    trainee = trained(1)
    saved = trainee.capture()
    devices = [torch.get_rng_state()] * (torch.cuda.device_count() + 1)
    with pytest.raises(TrainingError, match="CUDA devices"):
        trainee.restore(replace(saved, rng={**saved.rng, "torch_cuda": devices}))


@pytest.mark.parametrize(
    ("state", "said"),
    [({"a": [object()]}, "a/0 is a object"), ({"a": {1, 2}}, "a is a set"), ({(1, 2): 3}, "key must be text")],
)
def test_a_state_that_cannot_be_saved_is_named_and_leaves_nothing(tmp_path: Path, state: Any, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        save_checkpoint(tmp_path, trained(0).capture(state=state))
    assert list(tmp_path.iterdir()) == []


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.checkpoint import save_checkpoint
from tests.trainers.test_checkpoint import trained

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
trainee = trained(2)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    save_checkpoint(Path(sys.argv[1]), trainee.capture())
except TrainingError as error:
    print(error.code)
"""


@pytest.mark.parametrize("limit", [100, 2000, 4000])  # in the weights, the optimizer, the random streams
def test_a_disk_that_is_full_leaves_the_earlier_checkpoint_and_no_trace(tmp_path: Path, limit: int) -> None:
    earlier = save_checkpoint(tmp_path, trained(1).capture())
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _FULL_DISK, str(tmp_path), str(limit)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.stdout.split() == ["disk_full"]
    assert list(tmp_path.iterdir()) == [earlier]
    assert latest_valid(tmp_path).path == earlier
