"""A text policy whose answers are also written down as tokens, so that a language model can be trained on them."""

from __future__ import annotations

from collections.abc import Sequence

from palaestra.agents.chat import Chat
from palaestra.agents.policies.base import Policy, TurnReply, TurnRequest
from palaestra.agents.types import Completion, FinishReason, RolloutFailure, Sampling


class TokenisedPolicy:
    """Wraps a policy (an expert, say) and renders every turn with a model's chat, as that model would have seen it.

    The completions hold the prompt ids the model would have been given and the answer's ids with the end of turn;
    log-probabilities are 0 (the answer was certain). Implements `Policy`.
    """

    def __init__(self, policy: Policy, chat: Chat) -> None:
        self.policy = policy
        self.chat = chat
        self._end = chat.end_id
        self._sampling = Sampling()

    def act(self, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
        """The wrapped policy's replies, with tokens."""
        replies = self.policy.act(requests)
        return [
            reply if isinstance(reply, RolloutFailure) else self._written(request, reply)
            for request, reply in zip(requests, replies, strict=True)
        ]

    def close_episode(self, episode: str) -> None:
        """Forget the episode."""
        self.policy.close_episode(episode)

    def _written(self, request: TurnRequest, reply: TurnReply) -> TurnReply:
        chat = self.chat
        prompt = chat.fresh(request.messages) if request.fresh else chat.extend(request.messages, self._end)
        ids = (*chat.encode(reply.text), self._end)
        completion = Completion(
            prompt_ids=prompt,
            token_ids=ids,
            logprobs=(0.0,) * len(ids),
            finish_reason=FinishReason.STOP,
            continues=not request.fresh,
            sampling=self._sampling,
        )
        return TurnReply(reply.text, completion)
