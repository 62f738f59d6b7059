"""Chat rendering: the directory's own template, sampled tokens untouched, and no way to forge a control token."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from palaestra.agents.chat import Chat, load_chat
from palaestra.agents.models.corpus import tiny_corpus
from palaestra.agents.models.tiny import CHAT_TEMPLATE, build_tiny
from palaestra.agents.models.tokenizer import CONTROL_TOKENS, END, train_tokenizer
from palaestra.agents.policies.base import Message
from palaestra.mcp_servers.errors import ConfigError, RolloutError

# The shape of templates in the field: own newlines, a default system text, tool answers wrapped into a user turn.
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|system|>\nBe brief.<|end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'tool' %}<|user|>\n<tool_response>\n{{ m['content'] }}\n</tool_response><|end|>\n"
    "{% elif m['role'] in ('user', 'assistant', 'system') %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n"
    "{% else %}{{ raise_exception('unknown role ' + m['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n"
    "{% if not thinking %}<think></think>{% endif %}{% endif %}"
)
TOKENIZER = train_tokenizer(tiny_corpus(), 512)


def wrap(tokenizer: Tokenizer, template: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, chat_template=template)


def copy_of(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.to_str())


TINY = Chat(wrap(copy_of(TOKENIZER), CHAT_TEMPLATE))
CHATS = {"tiny": TINY, "chatml": Chat(wrap(copy_of(TOKENIZER), CHATML))}
VOCABULARY = TOKENIZER.get_vocab()
CONTROL_IDS = frozenset(VOCABULARY[token] for token in CONTROL_TOKENS)

hostile_text = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from([*CONTROL_TOKENS, "<|", "|>", "<|en", "d|>", "<<|end|>", "<|user|", "end", "<action>", "#\n#"]),
    ),
    max_size=8,
).map("".join)


def test_control_and_stop_tokens_are_known() -> None:
    for chat in CHATS.values():
        assert set(chat.control_ids) >= CONTROL_IDS
        assert chat.stop_ids == (VOCABULARY[END],)


@settings(max_examples=500, deadline=None)
@given(st.lists(hostile_text, min_size=1, max_size=3), st.sampled_from(sorted(CHATS)))
def test_text_never_becomes_a_control_token(texts: list[str], name: str) -> None:
    """The control tokens of a rendering are those of the template, whatever the messages say; the text survives."""
    chat = CHATS[name]
    for text in texts:
        ids = chat.encode(text)
        assert not CONTROL_IDS & set(ids)
        assert TOKENIZER.decode(list(ids), skip_special_tokens=False) == text
    hostile = chat.fresh([Message("user", text) for text in texts])
    harmless = chat.fresh([Message("user", "up") for _ in texts])
    assert [i for i in hostile if i in CONTROL_IDS] == [i for i in harmless if i in CONTROL_IDS]
    added = chat.extend([Message("user", text) for text in texts], last_id=300)
    assert [i for i in added if i in CONTROL_IDS].count(VOCABULARY[END]) == len(texts) + 1


@pytest.mark.parametrize("name", sorted(CHATS))
@pytest.mark.parametrize(
    "messages",
    [
        [Message("user", "go to cabinet 1")],
        [Message("system", "You act."), Message("user", "up"), Message("assistant", "down"), Message("user", "left")],
        [Message("user", "search"), Message("assistant", "<tool_call>"), Message("tool", '{"ok":true}')],
    ],
)
def test_plain_text_renders_as_the_template_says(name: str, messages: list[Message]) -> None:
    template = wrap(copy_of(TOKENIZER), {"tiny": CHAT_TEMPLATE, "chatml": CHATML}[name])
    dicts = [{"role": message.role, "content": message.content} for message in messages]
    expected = template.apply_chat_template(dicts, tokenize=False, add_generation_prompt=True)
    ids = CHATS[name].fresh(messages)
    assert TOKENIZER.decode(list(ids), skip_special_tokens=False) == expected
    if name == "tiny":
        assert list(ids) == template.apply_chat_template(dicts, add_generation_prompt=True)["input_ids"]


@pytest.mark.parametrize("name", sorted(CHATS))
@pytest.mark.parametrize("cut", [False, True])
def test_a_continued_transcript_reads_like_a_fresh_one(name: str, cut: bool) -> None:
    chat = CHATS[name]
    opening, answer, new = Message("user", "up"), "left", [Message("tool", "ok"), Message("user", "down")]
    sampled = chat.encode(answer) if cut else (*chat.encode(answer), *chat.stop_ids)
    stream = (*chat.fresh([opening]), *sampled, *chat.extend(new, sampled[-1]))
    whole = chat.fresh([opening, Message("assistant", answer), *new])
    text = TOKENIZER.decode(list(stream), skip_special_tokens=False).replace("<think></think>left", "left")
    assert text == TOKENIZER.decode(list(whole), skip_special_tokens=False)


def test_template_settings_are_handed_through() -> None:
    thinking = Chat(wrap(copy_of(TOKENIZER), CHATML), {"thinking": True})
    closed = VOCABULARY["</think>"]
    assert closed in CHATS["chatml"].fresh([Message("user", "up")])
    assert closed not in thinking.fresh([Message("user", "up")])


def test_decode_drops_only_the_final_stop_token() -> None:
    end, user, up = (VOCABULARY[token] for token in (END, "<|user|>", "up"))
    assert TINY.decode([up, end]) == "up"
    assert TINY.decode([up]) == "up"
    assert TINY.decode([]) == ""
    assert TINY.decode([user, up, end, end]) == "<|user|>up<|end|>"


def test_an_added_token_the_template_uses_is_a_control_token_too() -> None:
    """Many directories mark their role tokens as ordinary added tokens; text must not forge those either."""
    tokenizer = copy_of(TOKENIZER)
    tokenizer.add_tokens([AddedToken("[ROLE]", normalized=False)])
    role = tokenizer.token_to_id("[ROLE]")
    chat = Chat(wrap(tokenizer, "{% for m in messages %}[ROLE]{{ m['role'] }}:{{ m['content'] }}<|end|>{% endfor %}"))
    assert role in chat.control_ids
    assert chat.fresh([Message("user", "[ROLE][ROLE]x")]).count(role) == 1
    assert tokenizer.decode(list(chat.encode("[ROLE]x"))) == "[ROLE]x"


def test_a_tokenizer_that_invents_control_tokens_is_caught() -> None:
    tokenizer = copy_of(TOKENIZER)
    tokenizer.normalizer = normalizers.Replace(Regex("§"), "[ROLE]")
    tokenizer.add_tokens([AddedToken("[ROLE]", normalized=True)])
    chat = Chat(wrap(tokenizer, "{% for m in messages %}[ROLE]{{ m['content'] }}<|end|>{% endfor %}"))
    with pytest.raises(RolloutError, match="reads a control token out of 'pay §12'") as caught:
        chat.encode("pay §12")
    assert caught.value.code == "control_token"


def test_messages_the_template_refuses_are_named() -> None:
    with pytest.raises(RolloutError, match="unknown role critic") as caught:
        CHATS["chatml"].fresh([Message("critic", "no")])
    assert caught.value.code == "chat_template"


@pytest.mark.parametrize(
    "template",
    ["{{ messages[-1]['content'] }}", "{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "{{ 1/0 }}"],
)
def test_a_template_that_cannot_print_a_turn_is_refused_at_once(template: str) -> None:
    with pytest.raises(ConfigError, match="cannot print one turn") as caught:
        Chat(wrap(copy_of(TOKENIZER), template))
    assert caught.value.code == "chat_template"


def test_a_directory_without_a_chat_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer.json is missing\): pass one") as missing:
        load_chat(tmp_path / "no-such")
    assert missing.value.code == "model_directory"
    path = build_tiny(tmp_path / "model", "XS")
    assert load_chat(path).fresh([Message("user", "up")]) == TINY.fresh([Message("user", "up")])
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": None}))
    with pytest.raises(ConfigError, match=r"needs tokenizer\.json and a chat_template"):
        load_chat(path)
    (path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError) as broken:
        load_chat(path)
    assert broken.value.code == "model_directory"


def test_the_tokenizer_handed_over_is_not_changed() -> None:
    tokenizer = wrap(copy_of(TOKENIZER), CHAT_TEMPLATE)
    Chat(tokenizer).encode("<|end|>")
    assert tokenizer("<|end|>")["input_ids"] == [VOCABULARY[END]]


def test_a_short_message_costs_microseconds() -> None:
    """Measured 27 us new and 2 us repeated on a 2-core machine; the limits leave room for a busy one."""
    texts = [f"######\n#__X_#\n#_P__#\n#__O_#\n#____#\n###### {number}" for number in range(1000)]
    for limit_us in (250, 25):
        begin = time.process_time()
        for text in texts:
            TINY.fresh([Message("user", text)])
        assert (time.process_time() - begin) / len(texts) * 1e6 < limit_us


def test_long_text_is_encoded_like_short_text() -> None:
    long = "go to cabinet 1. <|end|>" * 1000
    ids = TINY.encode(long)
    assert not CONTROL_IDS & set(ids)
    assert TOKENIZER.decode(list(ids)) == long
