"""The base of every settings model: frozen, unknown keys refused, and one error type for whatever is wrong."""

from __future__ import annotations

from typing import Any

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
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError("config", describe(type(self), error)) from error


def describe(model: type[BaseModel], error: ValidationError) -> str:
    """Every mistake pydantic found, on one line each: the key, what is wrong, the value given."""
    return "\n".join(_describe_one(model, dict(item)) for item in error.errors())


def _describe_one(model: type[BaseModel], item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return f"{model.__name__}: unknown key {key!r}; {nearest(key, model.model_fields)}"
    given = repr(item["input"])
    shown = given if len(given) <= 80 else given[:77] + "..."
    return f"{model.__name__}{'.' if key else ''}{key}: {item['msg']}; given {shown}"
