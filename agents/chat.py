"""Chat messages to token ids and back, with the directory's own chat template.

The template is rendered once per pattern of roles, with placeholders for the contents; after that a message costs the
encoding of its content alone, and the two are spliced as ids. So text can never become a control token, whatever it
says: contents are encoded with special tokens switched off and checked. Tokens the model sampled are never encoded
again: a continuation is only what stands between them and the next turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from palaestra.agents.policies.base import Message
from palaestra.mcp_servers.errors import ConfigError, RolloutError, boundary

_CACHED_TEXTS = 4096
_CACHED_CHARACTERS = 4096
_PLACEHOLDER = "\ue0b0{}\ue0b1"

Skeleton = tuple[tuple[int, ...], ...]
"""Template ids before the first content, between contents, and after the last one."""


class Chat:
    """Renders messages for one tokenizer.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        template_kwargs: handed to the template (e.g. tools, enable_thinking).
    Raises: ConfigError "chat_template" if the tokenizer has no template or is not a fast one.

    Attributes:
        stop_ids: tokens that end an assistant turn: eos and the template's own end of turn.
        end_id: the one the template writes (eos if it writes none): how a turn ends that was not sampled.
        control_ids: tokens that text never becomes: all special tokens and every added token the template uses.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template_kwargs: Mapping[str, Any] | None = None) -> None:
        if not tokenizer.is_fast or not tokenizer.chat_template:
            raise ConfigError("chat_template", "the model directory needs tokenizer.json and a chat_template")
        self._tokenizer = tokenizer
        self._template_kwargs = dict(template_kwargs or {})
        self._template_text = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._content_text = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._content_text.encode_special_tokens = True
        self._skeleton = lru_cache(_CACHED_TEXTS)(self._render)
        self._short = lru_cache(_CACHED_TEXTS)(self._encode)
        added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        try:
            one_turn = self._skeleton(("user", "assistant"), False)
        except RolloutError as error:
            raise ConfigError("chat_template", f"the chat template cannot print one turn: {error.message}") from error
        used = {i for part in one_turn for i in part}
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.control_ids = tuple(i for i in sorted(added) if i in special or i in used)
        self._control_set = frozenset(self.control_ids)
        words = sorted((added[i] for i in self.control_ids), key=len, reverse=True)
        self._control_words = re.compile("|".join(map(re.escape, words)) or r"(?!)")
        eos = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
        ending = tuple(i for i in one_turn[-1][:1] if i in self._control_set)
        self.stop_ids = tuple(sorted({*eos, *ending}))
        if not self.stop_ids:
            raise ConfigError("chat_template", "the tokenizer names no eos token and its template ends no turn")
        self.end_id = (*ending, *eos)[0]

    def fresh(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a whole context, ending where the assistant begins to write.

        Raises: RolloutError "chat_template" if the template refuses the messages.
        """
        skeleton = self._skeleton(tuple(message.role for message in messages), True)
        return self._splice(skeleton, messages)

    def extend(self, messages: Sequence[Message], last_id: int) -> tuple[int, ...]:
        """Ids that follow a sampled assistant turn: its end, the new messages, and where the assistant writes again.

        Args:
            messages: what is new.
            last_id: last token of the stream; if it is the template's end of turn, that is not written twice, and a
                turn cut by length gets the end it lacks.
        Raises: RolloutError "chat_template" if the template refuses the messages.
        """
        roles = ("user", "assistant", *(message.role for message in messages))
        skeleton = self._skeleton(roles, True)[2:]
        ids = self._splice(skeleton, messages)
        return ids[1:] if ids[:1] == (last_id,) else ids

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of plain text; none of them is a control token.

        Raises: RolloutError "control_token" if the tokenizer makes one out of ordinary characters.
        """
        return self._short(text) if len(text) <= _CACHED_CHARACTERS else self._encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of sampled ids without the final stop token; other control tokens stay visible to the parser."""
        ids = token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids
        text: str = self._template_text.decode(list(ids), skip_special_tokens=False)
        return text

    def _splice(self, skeleton: Skeleton, messages: Sequence[Message]) -> tuple[int, ...]:
        ids = list(skeleton[0])
        for message, after in zip(messages, skeleton[1:], strict=True):
            ids.extend(self.encode(message.content))
            ids.extend(after)
        return tuple(ids)

    def _render(self, roles: tuple[str, ...], begin_answer: bool) -> Skeleton:
        marks = [_PLACEHOLDER.format(i) for i in range(len(roles))]
        with boundary("chat_template", RolloutError):
            text: str = self._tokenizer.apply_chat_template(
                [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)],
                tokenize=False, add_generation_prompt=begin_answer, **self._template_kwargs,
            )  # fmt: skip
        parts: list[str] = []
        for mark in marks:
            before, found, text = text.partition(mark)
            if not found or mark in text:
                raise RolloutError("chat_template", f"the template does not print each message once, in order: {roles}")
            parts.append(before)
        return tuple(tuple(self._template_text.encode(part, add_special_tokens=False).ids) for part in (*parts, text))

    def _encode(self, text: str) -> tuple[int, ...]:
        # A control word is cut after its first character; no tokenizer can then see it whole.
        ids: list[int] = []
        begin = 0
        for match in self._control_words.finditer(text):
            ids.extend(self._content_text.encode(text[begin : match.start() + 1], add_special_tokens=False).ids)
            begin = match.start() + 1
        ids.extend(self._content_text.encode(text[begin:], add_special_tokens=False).ids)
        if not self._control_set.isdisjoint(ids):
            raise RolloutError("control_token", f"the tokenizer reads a control token out of {text[:80]!r}")
        return tuple(ids)


def load_chat(directory: str | Path, template_kwargs: Mapping[str, Any] | None = None) -> Chat:
    """The chat of a model directory.

    Raises: ConfigError "model_directory" if the tokenizer cannot be read; "chat_template" if it has no template.
    """
    path = Path(directory)
    if not (path / "tokenizer.json").is_file():
        raise ConfigError(
            "model_directory",
            f"{path} is not a model directory (tokenizer.json is missing): pass one, e.g. made by build_tiny",
        )
    with boundary("model_directory", ConfigError):
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return Chat(tokenizer, template_kwargs)
