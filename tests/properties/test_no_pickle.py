"""R18: nothing is read by a format that can run code, and nothing falls back to one."""

from __future__ import annotations

import ast
import io
import json
import os
import pickletools
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy import text

from palaestra.agents.export import import_jsonl
from palaestra.agents.store import Store, find_damage
from palaestra.agents.store.database import transaction
from palaestra.mcp_servers.errors import StoreError, TrainingError
from palaestra.trainers.checkpoint import RunState, latest_valid, load_checkpoint, save_checkpoint
from palaestra.trainers.manifest import MANIFEST, list_files, read_manifest, render
from palaestra.trainers.rng_streams import capture_rng
from tests.conftest import MakeGroup
from tests.requirements.ledger import requirement

ROOT = Path(__file__).resolve().parents[2]
LAYERS = (
    "mcp_servers",
    "envs",
    "rewards",
    "agents",
    "trainers",
    "cli",
    "dashboard",
    "benchmarks",
    "recipes",
    "examples",
    "src",
)
_MODULES = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle")
_FUNCTIONS = (
    "torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "numpy.load", "np.load", "pandas.read_pickle",
    "yaml.load", "yaml.unsafe_load", "eval", "exec",
)  # fmt: skip
RUNS_CODE = frozenset((*_MODULES, *_FUNCTIONS))


def payload(trap: Path) -> bytes:
    """A pickle that makes a file when it is loaded, written by hand in protocol 0."""
    return f"cos\nsystem\n(S'touch {trap}'\ntR.".encode()


@requirement("R18")
def test_the_payload_is_a_live_one(tmp_path: Path) -> None:
    """Without this the tests below would pass on a dud."""
    trap = tmp_path / "sprung"
    program = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, payload(trap).hex()], check=True)
    assert trap.exists()


def checkpoint(folder: Path) -> Path:
    weights = {"weight": torch.zeros(3)}
    return save_checkpoint(folder, RunState(1, weights, {"state": {}, "param_groups": []}, capture_rng(), {"x": 1}))


FILES = (
    "model/model.safetensors",
    "optimizer.safetensors",
    "optimizer.json",
    "rng.safetensors",
    "state.json",
    MANIFEST,
)


@requirement("R18")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("hashes_agree", [False, True])
def test_a_pickle_planted_in_a_checkpoint_is_refused_and_never_run(
    tmp_path: Path, name: str, hashes_agree: bool
) -> None:
    trap = tmp_path / "sprung"
    path = checkpoint(tmp_path / "checkpoints")
    (path / name).write_bytes(payload(trap))
    if hashes_agree and name != MANIFEST:  # an attacker who can write the file can write its hash
        (path / MANIFEST).write_bytes(render(replace(read_manifest(path), files=list_files(path))))
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(path)
    assert caught.value.code == "checkpoint_corrupt"
    assert not trap.exists()


@requirement("R18")
def test_a_pickled_model_beside_the_weights_is_refused(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    path = checkpoint(tmp_path / "checkpoints")
    (path / "model" / "pytorch_model.bin").write_bytes(payload(trap))
    with pytest.raises(TrainingError, match="not listed"):
        load_checkpoint(path)
    assert latest_valid(path.parent).path is None
    assert not trap.exists()


@requirement("R18")
def test_a_pickle_planted_in_the_store_is_data_or_refused(tmp_path: Path, make_group: MakeGroup) -> None:
    trap = tmp_path / "sprung"
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("run")
        store.append([make_group(1)], run_id="run", iteration=0, phase="train")
        with transaction(store.engine, writes=True) as connection:
            connection.execute(text("UPDATE completions SET token_ids = :p, logprobs = :p"), {"p": payload(trap)})
            connection.execute(text("UPDATE steps SET info = :p WHERE rollout = 1"), {"p": payload(trap).decode()})
        with pytest.raises(StoreError, match="corrupt_rollout"):
            store.get("ep-1-0")
        assert len(list(find_damage(store))) == 4
    lines = tmp_path / "episodes.jsonl"
    lines.write_bytes(payload(trap))
    with Store.open(tmp_path / "other.sqlite") as store, pytest.raises(StoreError, match="bad_line"):
        import_jsonl(store, lines)
    assert not trap.exists()


def sources() -> Iterator[Path]:
    """Every Python file of the project, tests included; without the links that lead to them again."""
    for layer in (*LAYERS, "tests"):
        for folder, folders, names in os.walk(ROOT / layer, followlinks=False):
            folders[:] = [name for name in folders if name != "node_modules"]
            yield from (Path(folder) / name for name in sorted(names) if name.endswith(".py"))


def code_running_reads(tree: ast.AST) -> Iterator[str]:
    """Names of `RUNS_CODE` that a module imports or uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in RUNS_CODE)
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (name for name in full if name in RUNS_CODE)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
            pickles = [keyword.value for keyword in node.keywords if keyword.arg == "allow_pickle"]
            refused = [isinstance(value, ast.Constant) and value.value is False for value in pickles]
            if name in RUNS_CODE and refused != [True]:
                yield name
            elif pickles and refused != [True]:
                yield f"{name}(allow_pickle)"


@requirement("R18")
def test_no_source_file_reads_a_format_that_runs_code() -> None:
    # Tests may pickle an exception they raised themselves: errors cross process boundaries that way.
    allowed = {"pickle"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for name in code_running_reads(ast.parse(path.read_text(encoding="utf-8")))
        if not (name in allowed and path.is_relative_to(ROOT / "tests"))
    }
    assert sorted(found) == []


@requirement("R18")
@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from torch import load", "import torch\ntorch.load('x')", "np.load('x', mmap_mode=None)",
        "import dill", "eval('1')", "numpy.lib.format.read_array(f, allow_pickle=True)", "yaml.load(x)",
    ],
)  # fmt: skip
def test_the_scan_sees_every_way_in(source: str) -> None:
    assert list(code_running_reads(ast.parse(source)))
    assert not list(code_running_reads(ast.parse("np.load('x', allow_pickle=False)")))


def is_pickle(data: bytes) -> bool:
    """A pickle stream, bare or inside a zip archive (the format of `torch.save`)."""
    if data[:2] == b"PK" and zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(is_pickle(archive.read(name)) for name in archive.namelist())
    if data[:1] != b"\x80" and b"\n" not in data[:200]:
        return False
    try:
        last = [opcode.name for opcode, _, _ in pickletools.genops(data)]
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        return False
    return len(last) > 1 and last[-1] == "STOP"


@requirement("R18")
def test_no_file_of_the_repository_is_a_pickle() -> None:
    skipped = ("__pycache__", "node_modules", ".hypothesis")
    for top in (*LAYERS, "tests", "docs"):
        for folder, folders, names in os.walk(ROOT / top, followlinks=False):
            folders[:] = [name for name in folders if name not in skipped]
            for name in names:
                path = Path(folder) / name
                assert path.is_symlink() or not is_pickle(path.read_bytes()), path


@requirement("R18")
def test_the_file_scan_sees_a_bare_and_a_zipped_pickle(tmp_path: Path) -> None:
    assert is_pickle(payload(tmp_path))
    assert is_pickle(b"\x80\x02}q\x00.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", payload(tmp_path))
    assert is_pickle(packed.getvalue())
    assert not is_pickle(json.dumps({"a": 1}).encode())


@requirement("R18")
@pytest.mark.parametrize("planted", ["import pickle", "import torch\n\ntorch.load('x')", "from torch import save"])
def test_the_linter_refuses_a_planted_import(planted: str) -> None:
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    command = [ruff, "check", "--config", str(ROOT / "pyproject.toml"), "--select", "TID251", "-"]
    done = subprocess.run(command, input=planted, text=True, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "TID251" in done.stdout
