"""The model policy: chat, engine and sessions together, and failures that stay with their own request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from palaestra.agents.engine.engine import EngineConfig
from palaestra.agents.policies.base import Message, TurnReply, TurnRequest
from palaestra.agents.policies.model import ModelPolicy, load_policy
from palaestra.agents.types import Completion, FinishReason, RolloutFailure, Sampling
from palaestra.mcp_servers.errors import ConfigError
from tests.agents.engine.reference import teacher_forced

NO_ENV = cast("gymnasium.Env[Any, Any]", None)
SAMPLING = Sampling(temperature=0.9, max_new_tokens=6, seed=4)


def ask(episode: str, turn: int, text: str, *, fresh: bool = False, role: str = "user") -> TurnRequest:
    return TurnRequest(episode, turn, (Message(role, text),), fresh or turn == 0, text, (), NO_ENV)


def completion_of(reply: TurnReply | RolloutFailure) -> Completion:
    assert isinstance(reply, TurnReply)
    assert reply.completion is not None
    return reply.completion


@pytest.fixture
def policy(model_directory: Path) -> ModelPolicy:
    return load_policy(model_directory, SAMPLING, EngineConfig(max_len=128))


def test_tokens_and_logprobs_of_an_episode_are_those_of_its_stream(
    policy: ModelPolicy, reference: PreTrainedModel
) -> None:
    """What a trainer rebuilds from the completions is exactly what the model conditioned on."""
    streams: dict[str, list[int]] = {"a": [], "b": []}
    for turn, text in enumerate(["######\n#_P_X#", "go left <|end|>", "still"]):
        requests = [ask(name, turn, f"{text} {name * (turn + 1)}") for name in streams]
        for request, reply in zip(requests, policy.act(requests), strict=True):
            completion = completion_of(reply)
            assert completion.continues == (turn > 0)
            assert completion.sampling == SAMPLING
            assert len(completion.entropies) == len(completion.logprobs) == len(completion.token_ids)
            stream = streams[request.episode]
            stream.extend(completion.prompt_ids)
            laws = teacher_forced(reference, stream, completion.token_ids, 0.9)
            expected = laws.gather(1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1)
            assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
            stream.extend(completion.token_ids)
            assert isinstance(reply, TurnReply)
            assert reply.text == policy.chat.decode(completion.token_ids)
            if completion.finish_reason is FinishReason.LENGTH and turn == 0:
                assert policy.chat.extend([Message("user", "x")], completion.token_ids[-1])[0] in policy.chat.stop_ids


def test_a_fresh_turn_begins_a_new_context(policy: ModelPolicy) -> None:
    policy.act([ask("a", 0, "up")])
    again = completion_of(policy.act([ask("a", 1, "down", fresh=True)])[0])
    assert not again.continues
    assert again.prompt_ids == policy.chat.fresh([Message("user", "down")])
    policy.close_episode("a")
    assert completion_of(policy.act([ask("a", 1, "down", fresh=True)])[0]) == again
    continued = completion_of(policy.act([ask("a", 2, "left")])[0])
    assert continued.continues


def test_failures_stay_with_their_request(policy: ModelPolicy) -> None:
    requests = [
        ask("a", 0, "up"),
        ask("lost", 3, "up"),
        ask("a", 0, "twice"),
        ask("b", 0, "down"),
        TurnRequest("c", 0, (Message("user", "x"), Message("user", "\ue0b0")), True, "", (), NO_ENV),
    ]
    alone = [completion_of(reply) for reply in load_alone(policy, [requests[0], requests[3]])]
    replies = policy.act(requests)
    failures = [reply.code for reply in replies if isinstance(reply, RolloutFailure)]
    assert failures == ["unknown_episode", "duplicate_episode"]
    assert "its first turn must be fresh" in cast("RolloutFailure", replies[1]).message
    assert [completion_of(replies[i]).token_ids for i in (0, 3)] == [completion.token_ids for completion in alone]
    assert isinstance(replies[4], TurnReply)
    assert policy.act([]) == []


def load_alone(policy: ModelPolicy, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
    replies = [policy.act([request])[0] for request in requests]
    for request in requests:
        policy.close_episode(request.episode)
    return replies


def test_a_role_the_template_does_not_know_fails_that_request_alone(model_directory: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(model_directory, tmp_path / "copy"))
    config = json.loads((path / "tokenizer_config.json").read_text())
    refuse = "{% if message['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{{"
    template = config["chat_template"].replace("{{", refuse, 1)
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    bad, good = load_policy(path, SAMPLING).act([ask("a", 0, "x", role="tool"), ask("b", 0, "x")])
    assert isinstance(bad, RolloutFailure)
    assert (bad.stage, bad.code) == ("render", "chat_template")
    assert "no tools" in bad.message
    assert completion_of(good).token_ids


def test_a_full_context_ends_only_that_episode(policy: ModelPolicy) -> None:
    long = "go to cabinet 1. " * 100
    full, other = policy.act([ask("a", 0, long), ask("b", 0, "up")])
    assert full == TurnReply("", context_full=True)
    assert completion_of(other).token_ids


def test_a_closed_episode_is_forgotten(policy: ModelPolicy) -> None:
    policy.act([ask("a", 0, "up")])
    policy.close_episode("a")
    policy.close_episode("never seen")
    assert isinstance(policy.act([ask("a", 1, "up")])[0], RolloutFailure)


def test_an_engine_that_breaks_fails_the_batch_as_data(policy: ModelPolicy, weights: dict[str, Tensor]) -> None:
    assert completion_of(policy.act([ask("a", 0, "up")])[0])
    policy.engine.update_weights({name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()})
    replies = policy.act([ask("a", 1, "up"), ask("b", 0, "up"), ask("lost", 2, "up")])
    assert [cast("RolloutFailure", reply).code for reply in replies] == ["non_finite_logits"] * 2 + ["unknown_episode"]
    assert cast("RolloutFailure", replies[0]).stage == "generate"
    policy.engine.update_weights(weights)
    recovered = policy.act([ask("a", 1, "up"), ask("b", 1, "up")])
    assert completion_of(recovered[0]).policy_version == 2
    assert cast("RolloutFailure", recovered[1]).code == "unknown_episode"


def test_backends_play_the_same_episode(model_directory: Path, policy: ModelPolicy) -> None:
    other = load_policy(model_directory, SAMPLING, EngineConfig(max_len=128), backend="transformers")
    for turn in range(3):
        requests = [ask(name, turn, "left" * (1 + ord(name) % 3)) for name in "abc"]
        for ours, theirs in zip(policy.act(requests), other.act(requests), strict=True):
            assert completion_of(ours).token_ids == completion_of(theirs).token_ids
            assert completion_of(ours).prompt_ids == completion_of(theirs).prompt_ids


def test_a_missing_directory_is_named() -> None:
    with pytest.raises(ConfigError, match="no/such is not a model directory") as caught:
        load_policy("no/such")
    assert caught.value.code == "model_directory"
