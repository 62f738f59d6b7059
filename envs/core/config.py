"""The base of every settings model: frozen, unknown keys refused, and one error type for whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from palaestra.mcp_servers.errors import ConfigError, nearest


class Settings(BaseModel):
    """A frozen settings model whose mistakes are `ConfigError`s that name the key, the value and the fix.

    >>> class Example(Settings):
    ...     history: int = 2
    >>> Example(histroy=3)
    Traceback (most recent call last):
    ...
    palaestra.mcp_servers.errors.ConfigError: Example: unknown key 'histroy'; did you mean 'history'? known: history \
[config]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **data: Any) -> None:
        with _mistakes_of(type(self)):
            super().__init__(**data)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Build from a mapping; raises ConfigError as the constructor does."""
        with _mistakes_of(cls):
            return super().model_validate(obj, **options)


@contextmanager
def _mistakes_of(model: type[BaseModel]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        text = "\n".join(_describe(model, dict(item)) for item in error.errors())
        raise ConfigError("config", text) from error


def _describe(model: type[BaseModel], item: dict[str, Any]) -> str:
    """One mistake on one line: the key, what is wrong, the value given."""
    key = ".".join(str(part) for part in item["loc"])
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):  # a nested settings model has described its mistakes itself
        return cause.message
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return f"{model.__name__}: unknown key {key!r}; {nearest(key, model.model_fields)}"
    given = repr(item["input"])
    shown = given if len(given) <= 80 else given[:77] + "..."
    return f"{model.__name__}{'.' if key else ''}{key}: {cause or item['msg']}; given {shown}"
