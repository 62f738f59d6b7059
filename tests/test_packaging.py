"""The wheel and the sdist: what is in them, and that what is in them runs without the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.test_layers import LAYERS, ROOT

SUFFIXES = {".css", ".gz", ".js", ".jinja", ".toml", ".xsb", ".json", ".mako"}


def run(*words: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, so that building leaves nothing in the real one."""
    tree = tmp_path_factory.mktemp("tree")
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, tree / layer, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src" / "palaestra", tree / "src" / "palaestra", symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """A folder with the sdist and the wheel made from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def expected(tree: Path) -> set[str]:
    """Every file of the package, by its name in a wheel."""
    layered = [path for layer in LAYERS for path in (tree / layer).rglob("*") if path.suffix in {".py", *SUFFIXES}]
    assert any(path.suffix == ".xsb" for path in layered)
    face = [*(tree / "src" / "palaestra").glob("*.py"), tree / "src" / "palaestra" / "py.typed"]
    return {f"palaestra/{path.relative_to(tree)}" for path in layered} | {f"palaestra/{path.name}" for path in face}


def test_the_wheel_holds_every_file_once_and_nothing_else(wheel: Path, expected: set[str]) -> None:
    names = Counter(zipfile.ZipFile(wheel).namelist())
    assert [name for name, count in names.items() if count > 1] == []
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == expected
    assert {name.split("/")[0] for name in packaged} == {"palaestra"}


def test_the_wheel_is_pure_python_with_licence_and_entry_point(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        meta = {name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        assert {"licenses/LICENSE", "licenses/NOTICE"} <= set(meta)
        assert "palaestra = palaestra.cli.main:main" in archive.read(meta["entry_points.txt"]).decode()
        requirements = [
            line.split(":", 1)[1].strip()
            for line in archive.read(meta["METADATA"]).decode().splitlines()
            if line.startswith("Requires-Dist:")
        ]
    base = [line for line in requirements if "extra ==" not in line]
    assert base
    assert [line for line in base if line.startswith(("torch", "transformers", "numba", "matplotlib"))] == []


def test_the_sdist_holds_what_the_wheel_is_made_of(built: Path, expected: set[str]) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {f"src/{name}" for name in expected} <= names
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= names
    assert [member.name for member in members if member.issym() or member.islnk()] == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel; its dependencies are those of the one the tests run in."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    # A path line lends the packages there without the .pth files among them, so the editable install stays out.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return home


def test_the_installed_package_is_its_own(installed: Path) -> None:
    code = "import palaestra; print(palaestra.__file__, palaestra.__version__)"
    place, version = run(installed / "bin" / "python", "-c", code, cwd=installed).split()
    assert Path(place).is_relative_to(installed)
    assert version != "0+source"


def test_the_installed_command_lists_plays_and_checks(installed: Path) -> None:
    command = installed / "bin" / "palaestra"
    assert "palaestra/Sokoban-v0" in run(command, "env", "list", cwd=installed)
    assert "8 checks" in run(command, "env", "check", "palaestra/Sokoban-v0", "--seeds", "1", cwd=installed)
    words = ["rollout", "palaestra/Sokoban-v0", "--policy", "expert", "-n", "4", "--set", "levels=embedded", "--json"]
    assert '"won": 4' in run(command, *words, cwd=installed)


def test_every_layer_is_importable_once_installed(installed: Path) -> None:
    code = (
        "import importlib, pkgutil, palaestra\n"
        "names = [m.name for m in pkgutil.iter_modules(palaestra.__path__)]\n"
        "for name in names:\n"
        "    if name != '__main__': importlib.import_module(f'palaestra.{name}')\n"
        "print(*sorted(names))"
    )
    names = run(installed / "bin" / "python", "-c", code, cwd=installed).split()
    assert set(LAYERS) <= set(names)
