"""The policy that is a language model: chat in, engine, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palaestra.agents.chat import Chat, load_chat
from palaestra.agents.engine.base import Generation, GenerationEngine, GenerationRequest
from palaestra.agents.engine.engine import EngineConfig
from palaestra.agents.engine.loading import Backend, load_engine
from palaestra.agents.policies.base import TurnReply, TurnRequest
from palaestra.agents.types import Completion, RolloutFailure, Sampling
from palaestra.mcp_servers.errors import PalaestraError, RolloutError, boundary


class ModelPolicy:
    """Answers every request with one turn of the model; implements `Policy`.

    A fresh request begins a new stream under the episode's name; any other continues it, so the engine sees only the
    new tokens and what was sampled is never encoded again. A prompt that leaves no room comes back as
    `context_full`, a request that cannot be rendered as a RolloutFailure; neither touches its neighbours.
    """

    def __init__(self, engine: GenerationEngine, chat: Chat, sampling: Sampling | None = None) -> None:
        self.engine = engine
        self.chat = chat
        self.sampling = sampling or Sampling()
        self._last_ids: dict[str, int] = {}

    def act(self, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
        """Answer every request, in order, all in one engine call."""
        replies: list[TurnReply | RolloutFailure | None] = [None] * len(requests)
        batch: dict[int, GenerationRequest] = {}
        episodes: dict[str, int] = {}
        for index, request in enumerate(requests):
            try:
                if episodes.setdefault(request.episode, index) != index:
                    raise RolloutError(
                        "duplicate_episode", f"{request.episode!r} stands twice in one call: send it once"
                    )
                batch[index] = GenerationRequest(request.episode, self._ids(request), request.episode, request.turn)
            except PalaestraError as error:
                replies[index] = _failure("render", error)
        for index in batch:
            if requests[index].fresh:
                self.close_episode(requests[index].episode)
        try:
            with boundary("engine", RolloutError):
                generations = self.engine.generate(list(batch.values()), self.sampling) if batch else []
        except PalaestraError as error:
            failure = _failure("generate", error)
            return [failure if reply is None else reply for reply in replies]
        for index, generation in zip(batch, generations, strict=True):
            replies[index] = self._reply(requests[index], batch[index].new_ids, generation)
        return [reply for reply in replies if reply is not None]

    def close_episode(self, episode: str) -> None:
        """Forget an episode; unknown ids are ignored."""
        self._last_ids.pop(episode, None)
        self.engine.release(episode)

    def _ids(self, request: TurnRequest) -> tuple[int, ...]:
        if request.fresh:
            return self.chat.fresh(request.messages)
        if request.episode not in self._last_ids:
            raise RolloutError(
                "unknown_episode", f"{request.episode!r} has no transcript to continue: its first turn must be fresh"
            )
        return self.chat.extend(request.messages, self._last_ids[request.episode])

    def _reply(self, request: TurnRequest, prompt_ids: tuple[int, ...], generation: Generation) -> TurnReply:
        if generation.context_full:
            return TurnReply("", context_full=True)
        self._last_ids[request.episode] = generation.token_ids[-1]
        completion = Completion(
            prompt_ids=prompt_ids,
            token_ids=generation.token_ids,
            logprobs=generation.logprobs,
            finish_reason=generation.finish_reason,
            continues=not request.fresh,
            entropies=generation.entropies,
            policy_version=generation.policy_version,
            sampling=self.sampling,
            proposed=generation.proposed,
            accepted=generation.accepted,
        )
        return TurnReply(self.chat.decode(generation.token_ids), completion)


def load_policy(
    directory: str | Path,
    sampling: Sampling | None = None,
    engine: EngineConfig | None = None,
    *,
    backend: Backend = "auto",
    template_kwargs: Mapping[str, Any] | None = None,
) -> ModelPolicy:
    """The policy of a model directory.

    Raises: ConfigError "model_directory" for a missing or broken directory, naming it and the fix; see `load_engine`
        and `Chat` for the others.
    """
    chat = load_chat(directory, template_kwargs)
    return ModelPolicy(load_engine(directory, engine, stop_ids=chat.stop_ids, backend=backend), chat, sampling)


def _failure(stage: str, error: PalaestraError) -> RolloutFailure:
    return RolloutFailure(stage, type(error).__name__, error.code, error.message)
