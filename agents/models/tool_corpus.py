"""What tool servers and their users say, for a tokenizer that spends few tokens on it: the catalog's own words.

Names of tools, arguments and result fields, how identifiers begin, the words an argument may be, and how people ask.
Everything comes from the servers and phrase files that are installed; nothing is downloaded.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

from palaestra.agents.models.corpus import tiny_corpus
from palaestra.mcp_servers.catalog import CATALOG, load_server

_SLOT = re.compile(r"\{[^{}]*\}|\[\[|\]\]")
NAME_WEIGHT: Final = 20
FIELD_WEIGHT: Final = 5
KEY_WEIGHT: Final = 1000


def tool_corpus() -> Counter[str]:
    """Training texts with their weights: those of the other worlds too, as a policy may meet both.

    Cost: loads every server, some three seconds.
    """
    texts = tiny_corpus()
    for name in CATALOG:
        server = load_server(name)
        texts.update({f"{table.prefix}_10000": KEY_WEIGHT for table in server.schema.by_name.values()})
        for tool in server.tools.values():
            texts.update(dict.fromkeys((tool.name, f"<tool_call>{tool.name} "), NAME_WEIGHT))
            for word in _words(tool.input_schema()):
                texts.update({f" {word}=": NAME_WEIGHT, f'"{word}":': FIELD_WEIGHT})
            for word in _words(tool.output_schema()):
                texts.update({f'"{word}":"': FIELD_WEIGHT, f',"{word}":': FIELD_WEIGHT})
        for sentence in _sentences(name):
            texts[sentence] += 1
    return texts


def _words(schema: Any) -> Iterator[str]:
    """Keys of properties and allowed words, wherever they are in a JSON Schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (word for word in schema.get("enum", ()) if isinstance(word, str))
        for member in schema.values():
            yield from _words(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from _words(member)


def _sentences(server: str) -> Iterator[str]:
    """Every wording of a server's phrase file without its slots."""
    file = files("palaestra.envs.tools.synthesis") / "phrases" / f"{server}.toml"
    if file.is_file():
        yield from _texts(tomllib.loads(file.read_text("utf-8")))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield _SLOT.sub("", node)
    elif isinstance(node, dict):
        for member in node.values():
            yield from _texts(member)
    elif isinstance(node, list):
        for member in node:
            yield from _texts(member)
