"""Asking a model: out of the cache, within the budget, again after failures and after answers nobody can read."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self, TypeVar

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.synthesis.llm_cache import Answers, Spent
from palaestra.envs.tools.synthesis.llm_http import Endpoint, Failure, Reply
from palaestra.envs.tools.synthesis.llm_reading import Malformed
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.machine import Dropped
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.framework.sources import Clock, derive_seed, stream, system_clock

REGENERATED: Final = 3
"""Further answers asked for after one that cannot be used."""
LONGEST_WAIT_S: Final = 120.0
_FIRST_WAIT_S: Final = 0.5
_GROWN_WAIT_S: Final = 30.0
_QUOTED: Final = 2000
_OVERHEAD: Final = 64
"""Tokens that a chat template may put around a message, at most."""

T = TypeVar("T")
Said = Mapping[str, str]
"""One message: role and content."""


class Chat:
    """A model that is asked through its cache. Safe to use from several threads.

    Args:
        cache: the file of `Answers`; made if it is not there.
        sleep: waits between attempts.

    Attributes:
        counts: "<purpose>.asked", ".malformed", ".dropped": what became of the questions.
    """

    def __init__(
        self, settings: LlmSettings, cache: Path, *, sleep: Callable[[float], None] = time.sleep,
        clock: Clock = system_clock,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._counting = Lock()
        self._answers = Answers(cache, settings)
        self._endpoint = Endpoint(settings, clock)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and the cache."""
        self._endpoint.close()
        self._answers.close()

    def spent(self) -> Spent:
        """What the cache's runs cost so far."""
        return self._answers.spent()

    def ask(self, purpose: str, messages: Sequence[Said], read: Callable[[str], T], seed: int) -> T:
        """What `read` makes of the answer; asked again, up to three times, while it raises Malformed.

        Raises: Dropped "llm_<purpose>" after that; as `complete`.
        """
        said = list(messages)
        self.count(f"{purpose}.asked")
        for attempt in range(1 + REGENERATED):
            reply = self.complete(said, derive_seed(seed, purpose, attempt) >> 33)
            try:
                if reply.cut:
                    raise Malformed("The answer was cut off because it is too long.")
                return read(reply.text)
            except Malformed as wrong:
                self.count(f"{purpose}.malformed")
                said.append({"role": "assistant", "content": reply.text[:_QUOTED] or "(nothing)"})
                said.append({"role": "user", "content": f"{wrong} Answer again, with JSON only."})
        self.count(f"{purpose}.dropped")
        raise Dropped(f"llm_{purpose}")

    def count(self, what: str) -> None:
        """Add one to a count."""
        with self._counting:
            self.counts[what] += 1

    def complete(self, messages: Sequence[Said], seed: int) -> Reply:
        """The answer to messages, from the cache if they were asked before with this model, temperature and seed.

        Raises: TaskError "budget_spent", "not_cached" if offline; ToolError "endpoint_..." once the retries are used
            up, or at once if trying again is of no use; ConfigError "no_key", "bad_key"; StoreError "bad_cache".
        """
        settings = self.settings
        body = {
            "model": settings.model, "messages": list(messages), "temperature": settings.temperature, "seed": seed,
            "max_tokens": settings.reply_tokens,
        }  # fmt: skip
        text = canonical_json(body)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        found = self._answers.find(digest)
        if found is None and settings.offline:
            raise TaskError(
                "not_cached", f"request {digest} is not in the cache; set offline to false, or seed as it was"
            )
        # No tokenizer makes more tokens than there are bytes.
        return found or self._send(digest, body, len(text.encode()) + _OVERHEAD * len(messages) + settings.reply_tokens)

    def _send(self, digest: str, body: Mapping[str, Any], most: int) -> Reply:
        attempt = 0
        while True:
            self._answers.book(most)
            try:
                reply = self._endpoint.post(body)
            except Failure as failure:
                if not failure.spent:
                    self._answers.correct(most, 0)
                if not failure.retryable or attempt == self.settings.retries or failure.wait_s > LONGEST_WAIT_S:
                    raise
                wait = self._wait(digest, attempt, failure.wait_s)
            else:
                return self._answers.keep(digest, reply, most)
            self._sleep(wait)
            attempt += 1

    def _wait(self, digest: str, attempt: int, asked: float) -> float:
        """Twice as long each time, at least what was asked for, and never all at the same moment."""
        base: float = min(_GROWN_WAIT_S, _FIRST_WAIT_S * 2**attempt)
        jitter = float(stream(self.settings.seed, "wait", digest, attempt).random())
        return float(max(asked, base / 2) + jitter * base / 2)
