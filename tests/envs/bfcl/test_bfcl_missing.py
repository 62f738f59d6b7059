"""Without bfcl-eval: everything else works, and what does not says what to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import palaestra

PROGRAM = """
import importlib.util, sys
assert importlib.util.find_spec("bfcl_eval") is None
import gymnasium, palaestra, palaestra.envs
from palaestra.envs.tools.bfcl import ENV_ID
from palaestra.mcp_servers.errors import ConfigError
from palaestra.cli.main import main
env_id = ENV_ID
try:
    gymnasium.make(env_id)
except ConfigError as error:
    print(error.code, error.message)
gymnasium.make("palaestra/Sokoban-v0").reset(seed=0)
main(["eval", "bfcl", "--ground-truth"])
"""


def test_a_machine_without_it_is_told_the_command(tmp_path: Path) -> None:
    packages = {Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    for folder in packages:
        for found in folder.iterdir():
            if not found.name.startswith(("bfcl_eval", "__editable__", "__pycache__")):
                (tmp_path / found.name).symlink_to(found)
    source = Path(palaestra.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{source}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    command = "pip install --no-deps bfcl-eval=="
    assert done.stdout.startswith("missing_bfcl "), done.stderr
    assert command in done.stdout
    assert done.returncode == 2
    assert "[missing_bfcl]" in done.stderr
    assert command in done.stderr
