"""BFCL's tasks as they are read from the installed package, and what in them contradicts itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from palaestra.envs.tools.bfcl.package import missing
from palaestra.envs.tools.bfcl.replay import known_faults
from palaestra.envs.tools.bfcl.tasks import CATEGORIES, BfclTask, load_tasks, own_faults, read_truth
from palaestra.envs.tools.bfcl.tools import BACKENDS, backend_tools, json_schema
from palaestra.mcp_servers.errors import ConfigError, TaskError

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
REPOSITORY = Path(__file__).parents[3]


def every_task() -> list[BfclTask]:
    return [task for category in CATEGORIES for task in load_tasks(category)]


def test_all_tasks_and_ground_truth_calls_are_there() -> None:
    tasks = every_task()
    assert [len(load_tasks(category)) for category in CATEGORIES] == [200] * 4
    assert sum(len(turn) for task in tasks for turn in task.truth) == 4625
    idle = {category: sum(not turn for t in load_tasks(category) for turn in t.truth) for category in CATEGORIES}
    assert idle == {"base": 3, "miss_func": 203, "miss_param": 203, "long_context": 3}
    assert all(len(task.users) == len(task.truth) and all(task.users) for task in tasks)
    assert {backend for task in tasks for backend in task.backends} == set(BACKENDS)


def test_schemas_are_json_schema_with_the_methods_own_parameters() -> None:
    tools = [tool for backend in BACKENDS for tool in backend_tools(backend).values()]
    assert len(tools) == len({tool.name for tool in tools}) == 128
    for tool in tools:
        assert tool.schema["type"] == "object"
        assert set(tool.schema["properties"]) == set(tool.signature.parameters)
        text = str(tool.schema)
        assert not re.search(r"'type': '(dict|float|tuple|list|any)'|'default':", text), tool.name


def test_a_parameter_called_type_is_no_type() -> None:
    found = json_schema({"type": "dict", "properties": {"type": {"type": "float"}, "default": {"type": "tuple"}}})
    assert found["properties"] == {"type": {"type": "number"}, "default": {"type": "array"}}


def test_ground_truth_is_bound_to_names_and_has_no_tuples() -> None:
    tools = dict(backend_tools("GorillaFileSystem"))
    assert read_truth("sort('a.txt')", tools).arguments == {"file_name": "a.txt"}
    numbers = read_truth("mean((1, 2.5))", dict(backend_tools("MathAPI")))
    assert numbers.arguments == {"numbers": [1, 2.5]}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "sort(open('/etc/passwd').read())",
        "sort(*['a'])",
        "sort(**{'file_name': 'a'})",
        "sort(file_name=name)",
        "sort()",
        "sort('a', 'b', 'c')",
        "no_such_tool()",
        "sort('a'); sort('b')",
        "'sort'",
        "",
    ],
)
def test_anything_but_one_literal_call_of_a_known_tool_is_refused(text: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_truth(text, dict(backend_tools("GorillaFileSystem")))
    assert caught.value.code == "bad_ground_truth"


def test_tasks_whose_ground_truth_breaks_what_is_shown_are_found_and_listed_by_name() -> None:
    found = {task.id: faults for task in every_task() if (faults := own_faults(task))}
    assert found == known_faults()
    documented = (REPOSITORY / "docs" / "bfcl.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in documented for name in found)


def test_hidden_tools_are_known_with_their_turn() -> None:
    assert all(set(task.missing) <= set(task.tools) for task in every_task())
    held_back = [task for task in load_tasks("miss_func") if any(turn for turn in task.missing.values())]
    assert len(held_back) == 200
    assert sum(None in task.missing.values() for task in every_task()) == 4 * 18


def test_an_unknown_category_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'miss_func'.*\[unknown_category\]"):
        load_tasks("mis_func")


def test_nothing_of_our_tree_evaluates_text_or_copies_tasks() -> None:
    sources = [*(REPOSITORY / "envs" / "tools" / "bfcl").rglob("*"), REPOSITORY / "benchmarks" / "bfcl.py"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in sources if path.suffix in (".py", ".json")}
    assert not [name for name, text in texts.items() if re.search(r"(?<![\w.])(eval|exec)\(", text)]
    whole = "\n".join(texts.values())
    assert not [task.id for task in every_task() if any(user in whole for user in task.users)]
