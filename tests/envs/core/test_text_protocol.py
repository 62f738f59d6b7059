from __future__ import annotations

from typing import Any

import pytest

from palaestra.envs.core.config import Settings
from palaestra.envs.core.text.parser import NOOP
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import ActionStatus
from palaestra.mcp_servers.errors import ConfigError, RolloutError


def test_think_follows_style_unless_set() -> None:
    assert TextProtocol().think == "required"
    assert TextProtocol(style="compact").think == "none"
    assert TextProtocol(style="compact", think="optional").think == "optional"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"histroy": 1}, "did you mean 'history'"),
        ({"history": -1}, "TextProtocol.history: Input should be greater than or equal to 0; given -1"),
        ({"style": "terse"}, "'full' or 'compact'"),
        ({"style": "compact", "template": "x"}, "drop template"),
        ({"parser": "verl-agent", "think": "none"}, 'set think = "required"'),
        ({"style": "x" * 500}, "..."),
        ({"style": "chat", "actions": "number"}, 'needs style "full" or "compact"'),
        ({"parser": "verl-agent", "actions": "number"}, "and the strict parser"),
    ],
)
def test_a_bad_setting_names_key_value_and_fix(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextProtocol.model_validate(settings)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


def test_every_mistake_is_told_and_nested_settings_too() -> None:
    class Outer(Settings):
        protocol: TextProtocol = TextProtocol()
        seed: int = 0

    with pytest.raises(ConfigError) as caught:
        Outer.model_validate({"protocol": {"histroy": 1}, "seed": "x", "sed": 3})
    for words in ("did you mean 'history'", "Outer.seed", "did you mean 'seed'"):
        assert words in caught.value.message


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TextProtocol().history = 5


def test_parse_and_answer_follow_the_settings() -> None:
    for protocol in (TextProtocol(), TextProtocol(style="compact"), TextProtocol(think="optional", progress=True)):
        assert protocol.parse(protocol.answer("Up")).action.text == "up"
    assert TextProtocol(max_action_length=3).parse("<think></think><action>left</action>").action.status == "too_long"
    loose = TextProtocol(parser="verl-agent", loose_words=("up", "still"))
    assert loose.parse("<think></think><action>jump up</action>").action.text == "up"
    assert TextProtocol(parser="verl-agent", loose_tail=4).parse("go left").action.text == "left"
    assert TextProtocol().parse("").action.status is ActionStatus.NO_ACTION


def test_actions_by_number_are_read_and_said_from_the_list() -> None:
    protocol = TextProtocol(style="compact", actions="number")
    listed = ("go to Bed 1", "look")
    for action in listed:
        assert protocol.parse(protocol.answer(action, listed), listed).action.text == action
    assert protocol.answer("look", listed) == "<action>2</action>"
    for said in ("0", "3", "-1", "look", "1.0", "²", "1 2", "9" * 20):
        read = protocol.parse(f"<action>{said}</action>", listed).action
        assert (read.status, read.text) == (ActionStatus.NOT_IN_LANGUAGE, NOOP), said
        assert read.failure is not None
        assert "from 1 to 2" in read.failure.detail
    assert protocol.parse("2", listed).action.status is ActionStatus.NO_ACTION
    with pytest.raises(RolloutError, match="unlisted"):
        protocol.answer("jump", listed)
