"""Calls as Python: the reply is `[freeze_card(card_id="crd_1")]`. It is parsed into literals and never run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

from palaestra.envs.tools.calls import AskedCall, CallFormat, Schemas, bare_name, said, unparsable
from palaestra.envs.tools.json_calls import unfenced

MAX_SOURCE: Final = 65_536
"""Longest reply that is parsed."""
_BEGINS: Final = re.compile(r"\[\s*[A-Za-z_][\w.]*\s*\(")


def _read_pythonic(reply: str, schemas: Schemas) -> Iterator[AskedCall]:
    text = unfenced(reply)
    if _BEGINS.match(text) is None:
        return
    if len(text) > MAX_SOURCE:
        yield unparsable(f"longer than {MAX_SOURCE} characters")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in what a model wrote
            body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield unparsable(f"not a list of calls: {said(error)}")
        return
    for node in body.elts if isinstance(body, ast.List) else [body]:
        yield _from_node(node)


def _from_node(node: ast.expr) -> AskedCall:
    if not isinstance(node, ast.Call):
        return unparsable("write [tool(argument=value, ...)]")
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        return AskedCall(bare_name(name), None, "name every argument: tool(argument=value)")
    try:
        values = [_plain(ast.literal_eval(keyword.value)) for keyword in node.keywords]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        return AskedCall(bare_name(name), None, f"arguments must be literals: {said(error)}")
    arguments = {str(keyword.arg): value for keyword, value in zip(node.keywords, values, strict=True)}
    if len(arguments) != len(values):
        return AskedCall(bare_name(name), None, "an argument is given twice")
    return AskedCall(bare_name(name), arguments)


def _plain(value: Any) -> Any:
    """A Python literal as JSON-ready data. Raises: ValueError for what JSON cannot hold."""
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(member) for key, member in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{type(value).__name__} is no JSON value")


def _write_pythonic(calls: Sequence[AskedCall], schemas: Schemas) -> str:
    written = (f"{c.tool}({', '.join(f'{name}={v!r}' for name, v in (c.arguments or {}).items())})" for c in calls)
    return f"[{', '.join(written)}]"


PYTHONIC: Final = CallFormat(
    "pythonic",
    'To call tools reply with nothing but a list of calls: [tool_name(argument="value"), other_tool()]. They run in '
    "order.",
    _read_pythonic,
    _write_pythonic,
)
