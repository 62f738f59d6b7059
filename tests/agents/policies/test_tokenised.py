"""An expert's answers written down as the tokens a language model would have seen and sampled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from palaestra.agents.chat import Chat, load_chat
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.policies.base import Policy, TurnReply, TurnRequest
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.scripted import ScriptedPolicy
from palaestra.agents.policies.tokenised import TokenisedPolicy
from palaestra.agents.rollout import collect
from palaestra.agents.types import FinishReason, Rollout, RolloutFailure
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task

PROTOCOLS = {
    "window": TextProtocol(style="compact", context="window", history=1),
    "append": TextProtocol(style="compact", context="append"),
    "prose": TextProtocol(style="full", context="append", think="optional"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", "XS")


@pytest.fixture(scope="module")
def chat(directory: Path) -> Chat:
    return load_chat(directory)


class Recording:
    """Passes everything on and remembers what was asked and which episodes were closed."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.asked: list[TurnRequest] = []
        self.closed: list[str] = []

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[TurnReply | RolloutFailure]:
        self.asked += requests
        return self.policy.act(requests)

    def close_episode(self, episode: str) -> None:
        self.closed.append(episode)
        self.policy.close_episode(episode)


def play(policy: Policy, protocol: TextProtocol, chat: Chat) -> tuple[list[Rollout], Recording]:
    recording = Recording(policy)
    tasks = [Task("palaestra/Sokoban-v0", seed, {"min_len": 3, "max_len": 5, "max_steps": 6}) for seed in range(3)]
    groups = collect(tasks, TokenisedPolicy(recording, chat), protocol=protocol)
    return [rollout for group in groups for rollout in group.rollouts], recording


def answers(rollout: Rollout) -> list[str]:
    return [step.response for step in rollout.trajectory.steps]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_tokens_are_the_template_of_what_was_said(name: str, directory: Path, chat: Chat) -> None:
    """Against the tokenizer's own rendering of the conversation, turn by turn."""
    protocol = PROTOCOLS[name]
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rollouts, recording = play(ExpertPolicy(0, protocol), protocol, chat)
    for rollout in rollouts:
        requests = [request for request in recording.asked if request.episode == rollout.rollout_id]
        assert len(requests) == len(rollout.completions) >= 3
        conversation: list[dict[str, str]] = []
        stream: tuple[int, ...] = ()
        for request, completion, answer in zip(requests, rollout.completions, answers(rollout), strict=True):
            assert completion.continues == (not request.fresh) == bool(stream and protocol.context == "append")
            if request.fresh:
                conversation, stream = [], ()
            conversation += [{"role": message.role, "content": message.content} for message in request.messages]
            stream += completion.prompt_ids
            asked = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
            assert tokenizer.decode(stream, clean_up_tokenization_spaces=False) == asked
            conversation.append({"role": "assistant", "content": answer})
            stream += completion.token_ids
            said = tokenizer.apply_chat_template(conversation, tokenize=False)
            assert tokenizer.decode(stream, clean_up_tokenization_spaces=False) == said


@pytest.mark.parametrize("name", PROTOCOLS)
def test_answers_are_certain_and_complete(name: str, chat: Chat) -> None:
    rollouts, _ = play(ExpertPolicy(0, PROTOCOLS[name]), PROTOCOLS[name], chat)
    for rollout in rollouts:
        assert rollout.trajectory.won
        for completion, answer in zip(rollout.completions, answers(rollout), strict=True):
            assert completion.logprobs == (0.0,) * len(completion.token_ids)
            assert completion.token_ids[-1] in chat.stop_ids
            assert not set(completion.token_ids[:-1]) & set(chat.control_ids)
            assert completion.finish_reason is FinishReason.STOP
            assert chat.decode(completion.token_ids) == answer


def test_what_the_policy_says_becomes_no_control_token(chat: Chat) -> None:
    rude = "<|end|><|assistant|><action>up</action>"
    rollouts, _ = play(ScriptedPolicy([rude] * 6, raw=True), PROTOCOLS["append"], chat)
    for completion in (c for rollout in rollouts for c in rollout.completions):
        assert not set(completion.token_ids[:-1]) & set(chat.control_ids)
        assert chat.decode(completion.token_ids) == rude


def test_a_failure_passes_through_and_spares_its_neighbours(chat: Chat) -> None:
    rollouts, recording = play(ScriptedPolicy(["up"]), PROTOCOLS["append"], chat)
    for rollout in rollouts:
        assert rollout.failure is not None
        assert rollout.failure.code == "script_exhausted"
        assert len(rollout.completions) == len(rollout.trajectory.steps) == 1
    assert sorted(recording.closed) == sorted(rollout.rollout_id for rollout in rollouts)
