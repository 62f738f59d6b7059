"""Settings of a language model behind an OpenAI-compatible endpoint. They name where the key is, never the key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from palaestra.envs.core.config import Settings
from palaestra.mcp_servers.errors import ConfigError

_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class LlmSettings(Settings):
    """Which model is asked, how, and what it may cost at most.

    Attributes:
        base_url: what comes before `/chat/completions`.
        key_env: name of the environment variable that holds the key; empty if the endpoint wants none.
        timeout_s: for one answer as a whole.
        retries: further attempts after one that failed by no fault of ours.
        concurrency: requests under way at once, per process.
        reply_tokens: the longest answer.
        max_requests, max_tokens: the budget; failed attempts and earlier runs with the same cache count. They have no
            defaults: somebody pays for them.
        offline: answer from the cache only.
    """

    # What is refused is not shown: it may be a key that was pasted into the wrong place.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str
    model: str = Field(min_length=1)
    key_env: str = ""
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    seed: int = 0
    timeout_s: PositiveFloat = 60.0
    retries: NonNegativeInt = 4
    concurrency: PositiveInt = 8
    reply_tokens: PositiveInt = 1024
    max_requests: PositiveInt
    max_tokens: PositiveInt
    offline: bool = False

    @field_validator("base_url", mode="before")
    @classmethod
    def _plain(cls, url: object) -> str:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("base_url", "LlmSettings.base_url is no HTTP address; write http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "base_url", "LlmSettings.base_url holds more than scheme, host and path; a key goes into an "
                "environment variable, named by key_env"
            )  # fmt: skip
        return str(url).rstrip("/")

    @field_validator("key_env", mode="before")
    @classmethod
    def _name(cls, name: object) -> str:
        if name != "" and not (isinstance(name, str) and _VARIABLE.fullmatch(name)):
            raise ConfigError(
                "key_env", "LlmSettings.key_env is no name of an environment variable; write a name such as "
                "LLM_API_KEY and set that variable to the key"
            )  # fmt: skip
        return str(name)


def read_llm_settings(path: Path) -> LlmSettings:
    """The settings of a TOML file. Raises: ConfigError "model_file" (missing, or not TOML), "config", "base_url",
    "key_env"; no message shows what may be a key.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "model_file", f"{str(path)!r} cannot be read as the settings of a model: {error}; write a TOML file with "
            "base_url, model, max_requests and max_tokens"
        ) from None  # fmt: skip
    try:
        return LlmSettings(**data)
    except ConfigError as error:
        raise ConfigError(error.code, f"{path.name}: {error.message}") from None
