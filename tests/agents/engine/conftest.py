"""One tiny model with weights far from initialisation, so that laws are uneven and errors show."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from palaestra.agents.models.tiny import build_tiny
from tests.agents.engine.reference import perturb


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_tiny(tmp_path_factory.mktemp("models") / "XS", "XS")
    save_file(perturb(load_file(path / "model.safetensors"), 0), path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture(scope="session")
def weights(model_directory: Path) -> dict[str, Tensor]:
    return dict(load_file(model_directory / "model.safetensors"))


@pytest.fixture(scope="session")
def reference(model_directory: Path) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_pretrained(model_directory)
    return model.eval()
