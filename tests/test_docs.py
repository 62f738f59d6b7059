"""The documentation says what is there: links resolve, commands exist, code blocks run, tables match the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from palaestra.cli.main import VERBS, load_verb
from palaestra.trainers.objectives import registry
from tests.requirements.ledger import BY_ID

ROOT = Path(__file__).parents[1]
PAGES = sorted(chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
SYSTEMS = ("PROVE", "RePro", "STARE", "DelTA", "Bebop", "CLP", "PIPO", "RELEX", "MAST")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchor(heading: str) -> str:
    """A heading's fragment as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


# -- links ---------------------------------------------------------------------------------------------------------


def broken_links(path: Path) -> list[str]:
    """Relative links that lead to no file, or to no heading of it; blocks of code are not links."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, fragment = target.partition("#")
        leads_to = (path.parent / file).resolve() if file else path
        if not leads_to.exists():
            broken.append(target)
        elif fragment:
            headings = re.findall(r"^#+ (.+)$", leads_to.read_text(encoding="utf-8"), flags=re.MULTILINE)
            if fragment not in map(anchor, headings):
                broken.append(target)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# Here\n[a](#here) [b](#there) [c](gone.md) [d](page.md)\n```\n[e](code.md)\n```\n"
    )
    assert broken_links(tmp_path / "page.md") == ["#there", "gone.md"]


def test_every_page_is_reached_from_the_index() -> None:
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", page("index.md"))}
    assert sorted(set((ROOT / "docs").rglob("*.md")) - linked) == [ROOT / "docs" / "index.md"]


def test_decisions_are_numbered_without_gaps_and_have_every_part() -> None:
    found = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:5] for path in found] == [f"{number:04}-" for number in range(1, len(found) + 1)]
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        parts = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "Alternatives"]


# -- commands ------------------------------------------------------------------------------------------------------


@cache
def subcommands(verb: str) -> dict[str, Any]:
    return dict(getattr(load_verb(verb), "commands", {}))


def commands() -> list[tuple[str, str]]:
    """(page, command line) of every `palaestra ...` in inline code and in shell blocks."""
    found: dict[tuple[str, str], None] = {}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        shell = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
        for line in chain(
            re.findall(r"`(palaestra [^`]+)`", text), re.findall(r"^(palaestra .+)$", shell, re.MULTILINE)
        ):
            found[(name_of(path), " ".join(line.partition("#")[0].split()))] = None
    return list(found)


@pytest.mark.parametrize(("where", "line"), commands())
def test_every_command_named_exists_with_its_options(where: str, line: str) -> None:
    words = line.split()[1:]
    if words[0] in ("VERB", "--help"):
        return
    assert words[0] in VERBS, where
    command, rest = load_verb(words[0]), words[1:]
    children = subcommands(words[0])
    if children and rest:
        assert rest[0] in children, where
        command, rest = children[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word for word in rest if word.startswith("-")}
    assert used <= known | {"--help"}, where


def test_all_verbs_are_in_the_readme_and_on_the_page() -> None:
    for verb in VERBS:
        assert f"`palaestra {verb}" in README
        assert f"`{verb}" in page("cli.md")
        for child in subcommands(verb):
            assert f"`{verb} {child}" in page("cli.md")


def test_all_verbs_but_play_take_json() -> None:
    def takes_json(command: Any) -> bool:
        return any("--json" in parameter.opts for parameter in command.params)

    for verb in VERBS:
        leaves = list(subcommands(verb).values()) or [load_verb(verb)]
        assert [takes_json(leaf) for leaf in leaves] == [verb != "play"] * len(leaves), verb


def test_the_make_targets_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE)
    named = {
        name for path in PAGES for name in re.findall(r"(?:`|^)make ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert {"train", "test", "check"} <= named <= set(targets)


# -- code ----------------------------------------------------------------------------------------------------------


def python_blocks() -> Iterator[Any]:
    for path in PAGES:
        blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for number, code in enumerate(blocks, start=1):
            yield pytest.param(code, id=f"{name_of(path)}-{number}")


@pytest.mark.parametrize("code", list(python_blocks()))
def test_every_block_of_python_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_readme_has_python_to_run() -> None:
    assert "```python" in README


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
        return found


def distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0]


def test_every_dependency_has_a_reason(project: dict[str, Any]) -> None:
    rows = "\n".join(line for line in page("dependencies.md").lower().splitlines() if line.startswith("| "))
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = distribution(requirement)
        short = name.removeprefix("pytest")  # the row of pytest lists its plug-ins as "-cov, -randomly, ..."
        assert name == "palaestra" or name in rows or (short and short in rows), name


def test_the_readme_lists_every_extra(project: dict[str, Any]) -> None:
    for extra in project["optional-dependencies"]:
        assert f"| `{extra}` |" in README


def test_all_nine_systems_are_on_the_map() -> None:
    rows = re.findall(r"^\| (\w+) \|.*\| ([^|]+) \|$", page("systems.md"), flags=re.MULTILINE)
    states = dict(rows)
    assert set(SYSTEMS) <= states.keys()
    for name in SYSTEMS:
        assert name in README


def test_a_system_is_planned_exactly_as_long_as_its_file_is_not_there() -> None:
    for line in page("systems.md").splitlines():
        name = line[2:].partition(" |")[0]
        if name not in SYSTEMS:
            continue
        homes = re.findall(r"`([\w/]+\.py)`", line)
        there = [home for home in homes if (ROOT / home).exists()]
        assert homes
        assert ("planned" in line) != bool(there), f"{name}: {there or 'nothing'} of {homes} is there"


def test_the_objectives_listed_are_those_registered() -> None:
    rows = {
        key: names for key, names in re.findall(r"^\| `objective\.([\w.]+)` \| ([^|]+) \|", page("systems.md"), re.M)
    }
    registered = {
        "adv_estimator": registry.advantages.names(),
        "loss_mode": registry.policy_losses.names(),
        "loss_agg_mode": registry.aggregations.names(),
        "kl_estimator": registry.kls.names(),
        "rollout_correction.rollout_is": registry.mismatches.names(),
    }
    assert {key: names.split(", ") for key, names in rows.items()} == registered


def test_the_threat_model_names_promises_as_the_ledger_has_them() -> None:
    for line in page("threat_model.md").splitlines():
        if not line.startswith("| ") or line.count("|") != 5:
            continue
        cell = line.rsplit("|", 2)[1]
        for bracket, promise in re.findall(r"(\(?)(R\d+)", cell):
            assert promise in BY_ID
            assert bool(bracket) == (BY_ID[promise].deferred is not None), f"{promise} in: {line}"


def test_the_changelog_has_an_unreleased_section() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_the_version_in_the_readme_is_the_projects(project: dict[str, Any]) -> None:
    assert set(re.findall(r"palaestra-(\d[\w.]*)-py3", README)) == {project["version"]}
