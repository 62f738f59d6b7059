"""One request to a `chat/completions` endpoint: an answer, or a failure that says whether to try again and when."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Annotated, Any, Final

import httpx2
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.sources import Clock, system_clock

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_SHOWN: Final = 200
_HIDDEN: Final = "[key]"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said.

    Attributes:
        cut: whether it stopped because the longest answer was reached.
        tokens: of prompt and answer; None if the endpoint did not count.
    """

    text: str
    cut: bool
    tokens: int | None


class Failure(ToolError):
    """A request that brought no answer.

    Attributes:
        wait_s: how long the endpoint asked to wait; 0 if it did not.
        spent: whether the model may have been at work, so that tokens were spent.
    """

    def __init__(self, code: str, message: str, *, again: bool, wait_s: float = 0.0, spent: bool = False) -> None:
        super().__init__(code, message, retryable=again)
        self.wait_s = wait_s
        self.spent = spent

    def __reduce__(self) -> tuple[Any, ...]:
        return _failure, (self.code, self.message, self.retryable, self.wait_s, self.spent)


def _failure(code: str, message: str, again: bool, wait_s: float, spent: bool) -> Failure:
    return Failure(code, message, again=again, wait_s=wait_s, spent=spent)


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    total_tokens: NonNegativeInt | None = None


class _Completion(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


_tls = cache(httpx2.create_ssl_context)
"""The library's own; one for the process, since reading the certificates takes 0.1 s."""


class _Bearer(httpx2.Auth):
    """Puts the key into the one header it is for. Nothing else holds it: neither an object nor a local variable."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        if self._variable:
            request.headers["authorization"] = f"Bearer {self._key()}"
        yield request

    def check(self) -> None:
        """Raises: ConfigError "no_key", "bad_key"."""
        if self._variable and not self._key():
            text = f"the environment variable {self._variable}, which key_env names, is not set; set it to the key"
            raise ConfigError("no_key", text)
        if not all("!" <= char <= "~" for char in self._key()):
            text = f"the value of {self._variable} cannot stand in a header; is it really a key?"
            raise ConfigError("bad_key", text)

    def without_key(self, text: str) -> str:
        """A text with the key taken out, also where it was written as JSON may write it."""
        for form in filter(None, (self._key(), self._key().replace("/", "\\/"))):
            text = text.replace(form, _HIDDEN)
        return text

    def _key(self) -> str:
        return os.environ.get(self._variable, "").strip() if self._variable else ""


class Endpoint:
    """Sends requests, at most so many at once. Safe to use from several threads.

    The key is read from the environment when a request is sent, and is taken out of whatever the endpoint says.
    """

    def __init__(self, settings: LlmSettings, clock: Clock = system_clock) -> None:
        self._settings = settings
        self._clock = clock
        self._free = BoundedSemaphore(settings.concurrency)
        self._auth = _Bearer(settings.key_env)
        limits = httpx2.Limits(max_connections=settings.concurrency)
        self._http = httpx2.Client(auth=self._auth, verify=_tls(), timeout=settings.timeout_s, limits=limits)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, body: Mapping[str, Any]) -> Reply:
        """One attempt.

        Raises: Failure "endpoint_timeout", "endpoint_unreachable", "endpoint_status", "endpoint_answer"; ConfigError
            "no_key", "bad_key".
        """
        self._auth.check()
        with self._free:
            try:
                response, text = self._exchange(body)
                if response.status_code == HTTPStatus.OK:
                    return self._reply(text)
                failure = self._refused(response, text)
            except httpx2.TimeoutException:
                failure = self._late()
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                failure = self._lost(error)
        raise failure  # out here: the library's exception holds the request, and that holds the key

    def _exchange(self, body: Mapping[str, Any]) -> tuple[httpx2.Response, str]:
        """The answer, and its text without the key."""
        deadline = time.monotonic() + self._settings.timeout_s
        content = bytearray()
        with self._http.stream("POST", f"{self._settings.base_url}/chat/completions", json=body) as response:
            # The library's timeout is for each read, so an endpoint that drips would never be late.
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > LARGEST:
                    raise Failure(
                        "endpoint_answer", f"the answer is larger than {LARGEST} bytes", again=True, spent=True
                    )
                if time.monotonic() > deadline:
                    raise self._late()
        return response, self._auth.without_key(content.decode("utf-8", "replace"))

    def _late(self) -> Failure:
        text = f"the endpoint gave no whole answer within timeout_s = {self._settings.timeout_s} s"
        return Failure("endpoint_timeout", text, again=True, spent=True)

    def _lost(self, error: Exception) -> Failure:
        said = self._auth.without_key(str(error))[:_SHOWN]
        text = (
            f"{self._settings.base_url} gave no answer: {type(error).__name__}: {said}; "
            "check that base_url is right and that its endpoint runs"
        )
        spent = not isinstance(error, httpx2.ConnectError)
        return Failure("endpoint_unreachable", text, again=True, spent=spent)

    def _refused(self, response: httpx2.Response, said: str) -> Failure:
        again = response.status_code in _AGAIN
        wait = self._wait(response.headers.get("retry-after", "")) if again else 0.0
        fix = "" if again else "; check base_url, model and the key"
        fix += f"; it asks to wait {wait:.0f} s" if wait else ""
        text = f"the endpoint answered {response.status_code}: {said[:_SHOWN]!r}{fix}"
        return Failure("endpoint_status", text, again=again, wait_s=wait)

    def _wait(self, asked: str) -> float:
        """Seconds that a Retry-After header asks for: a number, or a date."""
        if asked.isdecimal():
            return float(asked[:9])
        try:
            return max(0.0, parsedate_to_datetime(asked).timestamp() - self._clock())
        except ValueError:
            return 0.0

    def _reply(self, text: str) -> Reply:
        try:
            answer = _Completion.model_validate(json.loads(text))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)[0]
            problem = f"{'.'.join(map(str, found['loc'])) or 'body'}: {found['msg']}"
        except (ValueError, RecursionError) as error:
            problem = str(error)[:_SHOWN]
        else:
            choice = answer.choices[0]
            # A lone surrogate could be neither stored nor sent.
            said = self._auth.without_key(choice.message.content or "").encode("utf-8", "replace").decode()
            tokens = None if answer.usage is None else answer.usage.total_tokens
            return Reply(said, choice.finish_reason == "length", tokens)
        raise Failure(
            "endpoint_answer", f"the endpoint's answer is no chat completion: {problem}", again=True, spent=True
        )
