"""The chat keeps its rules of who may speak, pin and be invited, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.team_chat import SERVER
from palaestra.mcp_servers.team_chat.models import Channel, ChannelMembership, ChatPerson, Message, MessagePin

Rows = list[dict[str, Any]]


@pytest.fixture
def chat() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(chat: Episode, model: Any) -> Rows:
    return chat.state("team_chat").database.every(model)


def play(chat: Episode, calls: int) -> int:
    """Call verbs at random; how many were refused."""
    rng = stream(5, "chatter")

    def one(found: Rows, key: str) -> str:
        return str(found[int(rng.integers(len(found)))][key])

    refused = 0
    for _ in range(calls):
        person = one(rows(chat, ChatPerson), "chat_person_id")
        channel = {"channel_id": one(rows(chat, Channel), "channel_id")}
        message = {"message_id": one(rows(chat, Message)[-40:], "message_id")}
        tool, arguments = (
            ("post_message", channel | {"text": "So?", "kind": "question", "mentioned_id": person}),
            ("reply_in_thread", message | {"text": "So.", "mentioned_id": person}),
            ("pin_message", message),
            ("invite_to_channel", channel | {"chat_person_id": person}),
            ("archive_channel", channel if rng.random() < 0.2 else {"channel_id": "cha_1"}),
        )[int(rng.integers(5))]
        refused += dispatch(chat, tool, arguments).is_error
    return refused


def test_whatever_is_called_the_rules_hold(chat: Episode) -> None:
    before = {row["message_id"] for row in rows(chat, Message)}
    user = next(row["chat_person_id"] for row in rows(chat, ChatPerson) if row["is_user"])
    roles = {row["channel_id"]: row["role"] for row in rows(chat, ChannelMembership) if row["chat_person_id"] == user}
    kinds = {row["channel_id"]: row["kind"] for row in rows(chat, Channel)}
    shut = {row["channel_id"] for row in rows(chat, Channel) if row["archived"]}
    pinned = {row["message_pin_id"] for row in rows(chat, MessagePin)}
    assert 0 < play(chat, 250) < 250
    messages = {row["message_id"]: row for row in rows(chat, Message)}
    members = {(row["channel_id"], row["chat_person_id"]) for row in rows(chat, ChannelMembership)}
    new = [messages[key] for key in messages.keys() - before]
    assert {row["kind"] for row in new} == {"note", "question", "notice"}
    for row in new:
        assert row["author_id"] == user
        assert row["channel_id"] in roles.keys() - shut
        kind, looks_after = kinds[row["channel_id"]], roles[row["channel_id"]] != "member"
        assert looks_after or kind != "announcement" or row["thread_id"] or row["kind"] == "notice"
        assert looks_after or kind != "private" or row["kind"] != "notice"
        assert row["mentioned_id"] is None or (row["channel_id"], row["mentioned_id"]) in members
        if row["thread_id"] is not None:
            start = messages[row["thread_id"]]
            assert (start["thread_id"], start["channel_id"]) == (None, row["channel_id"])
    pins = [row["channel_id"] for row in rows(chat, MessagePin)]
    assert max(pins.count(channel) for channel in pins) <= 5
    fresh = [row for row in rows(chat, MessagePin) if row["message_pin_id"] not in pinned]
    assert fresh
    assert all(roles[row["channel_id"]] in ("owner", "moderator") for row in fresh)
    guests = {row["chat_person_id"] for row in rows(chat, ChatPerson) if row["is_guest"]}
    places = [person for _, person in members]
    assert all(places.count(guest) <= 1 for guest in guests)


def test_a_channel_is_archived_once_all_is_answered_and_then_stays_as_it_is(chat: Episode) -> None:
    play(chat, 250)
    project = {"channel_id": next(row["channel_id"] for row in rows(chat, Channel) if "project" in row["name"])}
    messages = rows(chat, Message)
    answered = {row["thread_id"] for row in messages}
    asked = [row["message_id"] for row in messages if row["channel_id"] == project["channel_id"]
             and row["kind"] == "question" and row["message_id"] not in answered]  # fmt: skip
    assert len(asked) > 1
    for question in asked:
        fault = dispatch(chat, "archive_channel", project).fault
        assert fault is not None
        assert fault.details["precondition"] == "questions_are_answered"
        assert not dispatch(chat, "reply_in_thread", {"message_id": question, "text": "Done."}).is_error
    assert not dispatch(chat, "archive_channel", project).is_error
    said = len(rows(chat, Message))
    for tool, arguments in (
        ("post_message", {**project, "text": "One more thing"}),
        ("reply_in_thread", {"message_id": asked[0], "text": "One more thing"}),
        ("pin_message", {"message_id": asked[0]}),
    ):
        fault = dispatch(chat, tool, arguments).fault
        assert fault is not None
        assert fault.details["precondition"] == "channel_is_open"
    assert len(rows(chat, Message)) == said


@pytest.mark.parametrize("seed", range(4))
def test_the_world_holds_its_stories(seed: int) -> None:
    chat = EpisodeStore([SERVER]).open(seed=seed, profile="small")[1]
    people, members = rows(chat, ChatPerson), rows(chat, ChannelMembership)
    user = next(row["chat_person_id"] for row in people if row["is_user"])
    parts = sorted(row["role"] for row in members if row["chat_person_id"] == user)
    assert parts == ["member", "member", "moderator", "owner", "owner", "owner"]
    placed = {row["chat_person_id"] for row in members}
    assert sorted(row["is_guest"] for row in people if row["chat_person_id"] not in placed) == [0, 0, 1]
    answered = {row["thread_id"] for row in rows(chat, Message)}
    questions = [row["message_id"] in answered for row in rows(chat, Message) if row["kind"] == "question"]
    assert sorted(questions) == [False, True]
    assert any("im_start" in row["text"] for row in rows(chat, Message))
