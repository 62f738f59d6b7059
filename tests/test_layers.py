"""The layers: each imports only what stands below it, and the environment layers run without torch and numba."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("agents", "benchmarks", "cli", "dashboard", "envs", "mcp_servers", "recipes", "rewards", "trainers")
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def modules_of(layer: str) -> list[str]:
    """Import names of everything in a layer's folder."""
    found = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / layer).rglob("*.py"))]
    return ["palaestra." + ".".join(path.parts).removesuffix(".__init__") for path in found]


# -- the contract --------------------------------------------------------------------------------------------------


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """The source in a folder of its own, symlinks and all, where a wrong import can be planted."""
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, tmp_path / layer, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src" / "palaestra", tmp_path / "src" / "palaestra", symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200"}
    return subprocess.run(LINT, cwd=tree, capture_output=True, text=True, check=False, env=environment)


def test_each_layer_imports_only_what_stands_below_it(copied_tree: Path) -> None:
    done = lint(copied_tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "named"),
    [
        ("envs/core/types.py", "import palaestra.agents.types", "palaestra.envs.core.types -> palaestra.agents.types"),
        ("mcp_servers/errors.py", "from palaestra.cli import output", "palaestra.mcp_servers.errors"),
        ("agents/types.py", "import palaestra.trainers.statistics", "palaestra.agents.types"),
        ("rewards/outcome.py", "import torch", "palaestra.rewards.outcome -> torch"),
    ],
)
def test_a_planted_upward_import_is_found_and_named(copied_tree: Path, file: str, line: str, named: str) -> None:
    path = copied_tree / file
    path.write_text(f"{path.read_text()}\n\n{line}  # noqa\n")
    done = lint(copied_tree)
    assert done.returncode == 1
    assert named in done.stdout


def test_every_layer_folder_is_linked_into_the_package() -> None:
    links = {path.name: os.readlink(path) for path in (ROOT / "src" / "palaestra").iterdir() if path.is_symlink()}
    assert links == {layer: f"../../{layer}" for layer in LAYERS}


# -- what is not imported ------------------------------------------------------------------------------------------

HEAVY = "print([m for m in ('torch', 'transformers', 'tokenizers', 'safetensors', 'matplotlib') if m in sys.modules])"


@pytest.mark.parametrize("layer", ["mcp_servers", "envs", "rewards"])
def test_the_environment_layers_load_without_torch(layer: str) -> None:
    modules = modules_of(layer)
    assert modules
    done = python(f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n{HEAVY}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_importing_palaestra_and_making_its_environments_needs_no_torch_and_no_compiler() -> None:
    code = (
        "import sys, palaestra\nlate = [m for m in ('numba', 'sqlalchemy') if m in sys.modules]\nprint(late)\n" + HEAVY
    )
    assert python(code).stdout == "[]\n[]\n"


def test_scripted_policies_rollouts_and_evaluation_need_no_torch() -> None:
    code = (
        "import sys, palaestra\nsys.modules['torch'] = None\n"
        "from palaestra.agents.policies.expert import ExpertPolicy\n"
        "from palaestra.trainers.evaluate import evaluate, held_out_tasks\n"
        "tasks = held_out_tasks('palaestra/Sokoban-v0', {}, 'test', 3, 0)\n"
        "print(evaluate(ExpertPolicy(), tasks).won.all())"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"


# -- without numba -------------------------------------------------------------------------------------------------

PLAY = """
import hashlib, importlib, sys
{block}
import gymnasium, numpy as np, palaestra
assert ('numba' in sys.modules and sys.modules['numba'] is None) == {blocked}
seen = hashlib.sha256()
env = gymnasium.make("palaestra/Sokoban-v0", oracle_info=True)
for seed in range(20):
    observation, info = env.reset(seed=seed)
    for action in env.unwrapped.plan():
        seen.update(repr((observation, sorted(info.items()))).encode())
        observation, reward, won, _, info = env.step(action)
    assert won
boards = gymnasium.make_vec("palaestra/SokobanGrid-v0", 8, vectorization_mode="vector_entry_point", pool=16)
observations, _ = boards.reset(seed=0)
rng = np.random.default_rng(0)
for _ in range(50):
    observations, rewards, *_ = boards.step(rng.integers(0, 4, 8))
    seen.update(observations.tobytes() + np.asarray(rewards, np.float64).tobytes())
boards.close()
env.close()
print(seen.hexdigest())
"""


def test_without_numba_the_same_levels_are_played_to_the_same_end() -> None:
    pytest.importorskip("numba")
    with_it = python(PLAY.format(block="", blocked=False))
    without = python(PLAY.format(block="sys.modules['numba'] = None", blocked=True))
    assert without.returncode == 0, without.stderr
    assert with_it.returncode == 0, with_it.stderr
    assert len(with_it.stdout) == 65
    assert with_it.stdout == without.stdout


@pytest.mark.parametrize("layer", ["mcp_servers", "envs", "rewards"])
def test_every_module_of_the_environment_layers_loads_without_numba(layer: str) -> None:
    modules = modules_of(layer)
    done = python(
        f"import sys, importlib\nsys.modules['numba'] = None\nfor m in {modules!r}:\n"
        "    try: importlib.import_module(m)\n"
        "    except ModuleNotFoundError as e:\n"
        "        if 'numba' not in str(e) or 'kernel' not in m: raise\n"
    )
    assert done.returncode == 0, done.stderr
