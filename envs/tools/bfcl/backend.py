"""Foreign environments that keep a state of their own, and BFCL's as the one there is.

BFCL's backends are plain Python objects: methods are tools, public attributes are the state that is judged.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.bfcl.package import backend_class
from palaestra.envs.tools.bfcl.tasks import BfclTask
from palaestra.envs.tools.bfcl.tools import BfclTool

_STATELESS = "MathAPI"
_UPWARDS = "parent"
"""Attribute that leads from a folder to the one it is in: no content, and left out of the official comparison too."""


class Answer(NamedTuple):
    """What a foreign tool gave back.

    Attributes:
        value: as a JSON object; None if the call failed.
        text: as the foreign system writes it.
        error: why it failed; None if it did not.
    """

    value: dict[str, Any] | None
    text: str
    error: str | None


class StateBackend(Protocol):
    """A foreign environment of one task. Opening one is its constructor's business."""

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Answer:
        """Call a tool with arguments it takes. What goes wrong is in the answer, and nothing is rolled back."""
        ...

    def digests(self) -> dict[str, str]:
        """A digest of the state of each of its parts."""
        ...

    def snapshot(self) -> Any:
        """The whole state, private parts included."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Back to a snapshot, which can be used again."""
        ...

    def close(self) -> None:
        """Let go of the state; closing twice is harmless."""
        ...


class BfclBackend:
    """The backends of one task.

    Attributes:
        instances: the package's objects by class name, as its checkers want them.

    Cost: some 1 ms to open, more where `long_context` fills it.
    """

    def __init__(self, task: BfclTask) -> None:
        self.instances: dict[str, Any] = {name: _loaded(name, task) for name in task.backends}
        self._tools: Mapping[str, BfclTool] = task.tools
        self._digests: dict[str, str] = {}

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Answer:
        """As in `StateBackend`; the text is what the official executor would have said."""
        server = self._tools[tool].server
        self._digests.pop(server, None)
        try:
            returned = getattr(self.instances[server], tool)(**copy.deepcopy(dict(arguments)))
        except Exception as error:  # noqa: BLE001 - whatever foreign code raises is its answer
            return Answer(None, f"Error during execution: {error}", f"{type(error).__name__}: {error}")
        text = _said(returned)
        if isinstance(returned, dict) and "error" in returned:
            return Answer(None, text, str(returned["error"]))
        value = returned if isinstance(returned, dict) else {"result": returned}
        return Answer(json.loads(json.dumps(value, default=str), parse_constant=str), text, None)

    def digests(self) -> dict[str, str]:
        """A digest of the public attributes of every instance; only those called since the last time are read."""
        for name, instance in self.instances.items():
            if name not in self._digests:
                self._digests[name] = hashlib.sha256(canonical_json(_public(instance)).encode()).hexdigest()
        return dict(self._digests)

    def snapshot(self) -> Any:
        """A deep copy of every instance, their random generators included."""
        return copy.deepcopy(self.instances)

    def restore(self, snapshot: Any) -> None:
        """As in `StateBackend`."""
        self.instances = copy.deepcopy(snapshot)
        self._digests.clear()

    def close(self) -> None:
        """As in `StateBackend`."""
        self.instances = {}


def _loaded(name: str, task: BfclTask) -> Any:
    instance = backend_class(name)()
    if name == _STATELESS:
        return instance
    instance._load_scenario(copy.deepcopy(task.config.get(name, {})), long_context=task.long_context)
    # Long contexts put objects of the module into the state: what one episode changed, all others would see.
    return copy.deepcopy(instance) if task.long_context else instance


def _said(returned: Any) -> str:
    if isinstance(returned, str):
        return returned
    if isinstance(returned, dict):
        try:
            return json.dumps(returned)
        except (TypeError, ValueError):
            return str(returned)
    return str(returned)


def _public(value: Any) -> Any:
    """The state in a value as JSON: objects by their public attributes, sets in an order of their own."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {f"{type(key).__name__}:{key}": _public(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_public(member) for member in value]
    if isinstance(value, set):
        return sorted(canonical_json(_public(member)) for member in value)
    attributes = getattr(value, "__dict__", None)
    if attributes is None:
        return repr(value)
    return {k: _public(member) for k, member in attributes.items() if not k.startswith("_") and k != _UPWARDS}
