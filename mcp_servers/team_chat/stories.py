"""Scenes in the chat that use every tool and meet every rule, and tasks whose order matters."""

from __future__ import annotations

from palaestra.mcp_servers.framework.stories import Teller

LONG_AGO = "2025-03-02T09:00:00Z"
QUESTION = "safety report"


def _channel(tell: Teller, name: str) -> str:
    """The channel whose name begins like this."""
    return str(next(c["channel_id"] for c in tell.items("list_channels") if c["name"].startswith(name)))


def _newcomer(tell: Teller) -> str:
    """A colleague who is in no channel of the user's."""
    members = {row["chat_person_id"] for row in tell.items("list_channel_memberships", limit=100)}
    people = tell.items("list_chat_people", is_guest=False, is_user=False)
    return str(next(person["chat_person_id"] for person in people if person["chat_person_id"] not in members))


def _guest(tell: Teller, handle: str) -> str:
    guests = tell.items("list_chat_people", is_guest=True)
    return str(next(guest["chat_person_id"] for guest in guests if guest["handle"] == handle))


def _latest(tell: Teller, channel: str) -> str:
    """The message that started a channel's newest thread."""
    return str(tell.items("catch_up_on_channel", channel_id=channel, since=LONG_AGO)[-1]["message_id"])


def _question(tell: Teller) -> str:
    return str(tell.items("search_messages", text=QUESTION)[0]["message_id"])


def speak_where_it_is_allowed(tell: Teller) -> None:
    """The user posts and replies where they are a member, and mentions members only."""
    project, books, news, old = (_channel(tell, name) for name in ("project", "book", "announcements", "old"))
    newcomer = _newcomer(tell)
    tell.refused("channel_is_open", "post_message", channel_id=old, text="Anyone here?")
    tell.refused("user_is_member", "post_message", channel_id=books, text="I read it twice.")
    tell.refused("user_may_post", "post_message", channel_id=news, text="Cake in the kitchen!")
    greeting = {"channel_id": project, "text": "Please say hello.", "mentioned_id": newcomer}
    tell.refused("mentioned_person_is_member", "post_message", **greeting)
    tell.call("invite_to_channel", channel_id=project, chat_person_id=newcomer)
    first = tell.call("post_message", **greeting)["message_id"]
    reply = tell.call("reply_in_thread", message_id=first, text="And welcome!")["message_id"]
    tell.refused("message_starts_thread", "reply_in_thread", message_id=reply, text="Thanks")
    tell.refused("channel_is_open", "reply_in_thread", message_id=_latest(tell, old), text="Late, I know.")
    tell.refused("user_is_member", "reply_in_thread", message_id=_latest(tell, books), text="I bring cake.")
    announced = _latest(tell, news)
    answer = {"message_id": announced, "text": "Good to know.", "mentioned_id": newcomer}
    tell.refused("mentioned_person_is_member", "reply_in_thread", **answer)
    tell.call("invite_to_channel", channel_id=news, chat_person_id=newcomer)
    tell.call("reply_in_thread", **answer)
    assert len(tell.items("show_message_thread", message_id=reply)) == 2  # noqa: S101 - a story holds its server to it


def keep_in_view(tell: Teller) -> None:
    """A message is pinned where the user has a say and a place is left."""
    project, lunch, private, old = (_channel(tell, name) for name in ("project", "team", "budget", "old"))
    tell.refused("channel_is_open", "pin_message", message_id=_latest(tell, old))
    tell.refused("user_may_pin", "pin_message", message_id=_latest(tell, private))
    tell.refused("pins_are_left", "pin_message", message_id=_latest(tell, lunch))
    tell.call("pin_message", message_id=_latest(tell, project))
    tell.refused("message_is_unpinned", "pin_message", message_id=_latest(tell, project))


def finish_the_project(tell: Teller) -> None:
    """A project's channel is archived after its last question is answered."""
    project, lunch, old = (_channel(tell, name) for name in ("project", "team", "old"))
    tell.refused("user_owns_channel", "archive_channel", channel_id=lunch)
    tell.refused("channel_is_open", "archive_channel", channel_id=old)
    tell.refused("questions_are_answered", "archive_channel", channel_id=project)
    tell.call("reply_in_thread", message_id=_question(tell), text="I can, on Wednesday.")
    tell.call("archive_channel", channel_id=project)
    tell.refused("channel_is_open", "archive_channel", channel_id=project)


def invite_people(tell: Teller) -> None:
    """Colleagues come to any channel the user may invite to; a guest to one."""
    project, books, private, old = (_channel(tell, name) for name in ("project", "book", "budget", "old"))
    newcomer, guest, busy = _newcomer(tell), _guest(tell, "viktor.guest"), _guest(tell, "ursula.guest")
    tell.refused("channel_is_open", "invite_to_channel", channel_id=old, chat_person_id=newcomer)
    tell.refused("user_is_member", "invite_to_channel", channel_id=books, chat_person_id=newcomer)
    tell.refused("user_may_invite", "invite_to_channel", channel_id=private, chat_person_id=newcomer)
    tell.refused("guest_is_in_no_channel", "invite_to_channel", channel_id=project, chat_person_id=busy)
    tell.refused("not_found", "invite_to_channel", channel_id=project, chat_person_id="per_1")
    tell.call("invite_to_channel", channel_id=project, chat_person_id=guest)
    tell.refused("person_is_no_member", "invite_to_channel", channel_id=project, chat_person_id=guest)
    lunch = _channel(tell, "team")
    tell.refused("guest_is_in_no_channel", "invite_to_channel", channel_id=lunch, chat_person_id=guest)
    tell.call("invite_to_channel", channel_id=lunch, chat_person_id=newcomer)


STORIES = [speak_where_it_is_allowed, keep_in_view, finish_the_project, invite_people]


# -- chains --------------------------------------------------------------------------------------------------------


def say_and_pin(tell: Teller) -> None:
    """Post the new opening hours and pin them."""
    message = tell.call("post_message", channel_id=_channel(tell, "welcome"), text="The desk opens at 8:00 now.")
    tell.call("pin_message", message_id=message["message_id"])


def answer_and_archive(tell: Teller) -> None:
    """Answer the project's last question and archive its channel."""
    project, question = _channel(tell, "project"), _question(tell)
    tell.call("reply_in_thread", message_id=question, text="I sign it.")
    tell.call("archive_channel", channel_id=project)


def greet_the_newcomer(tell: Teller) -> None:
    """Invite a colleague, greet them by name and pin the greeting."""
    welcome, newcomer = _channel(tell, "welcome"), _newcomer(tell)
    tell.call("invite_to_channel", channel_id=welcome, chat_person_id=newcomer)
    greeting = tell.call("post_message", channel_id=welcome, text="Say hello!", mentioned_id=newcomer)
    tell.call("pin_message", message_id=greeting["message_id"])


def ask_decide_and_keep(tell: Teller) -> None:
    """Ask something, write down the decision in the thread and pin it."""
    project = _channel(tell, "project")
    asked = tell.call("post_message", channel_id=project, text="Ship on Friday?", kind="question")["message_id"]
    decided = tell.call("reply_in_thread", message_id=asked, text="Decided: Friday, noon.")["message_id"]
    tell.call("pin_message", message_id=decided)


def last_word_of_a_channel(tell: Teller) -> None:
    """Ask whether anything is left, say that nothing is, and archive the channel."""
    welcome = _channel(tell, "welcome")
    asked = tell.call("post_message", channel_id=welcome, text="Anything left here?", kind="question")["message_id"]
    tell.call("reply_in_thread", message_id=asked, text="Nothing; thank you all.")
    tell.call("archive_channel", channel_id=welcome)


def call_in_an_expert(tell: Teller) -> None:
    """Invite the guest, refer them to the open question, and archive the channel."""
    project, guest, question = _channel(tell, "project"), _guest(tell, "viktor.guest"), _question(tell)
    tell.call("invite_to_channel", channel_id=project, chat_person_id=guest)
    tell.call("reply_in_thread", message_id=question, text="Our guest signs it.", mentioned_id=guest)
    tell.call("archive_channel", channel_id=project)


def hand_over_and_leave_a_record(tell: Teller) -> None:
    """Invite a colleague, ask them to take over, note that they do, pin the note, and archive the channel."""
    welcome, newcomer = _channel(tell, "welcome"), _newcomer(tell)
    tell.call("invite_to_channel", channel_id=welcome, chat_person_id=newcomer)
    asked = tell.call(
        "post_message", channel_id=welcome, text="Will you take over?", kind="question", mentioned_id=newcomer
    )["message_id"]
    note = tell.call("reply_in_thread", message_id=asked, text="Agreed by phone.")["message_id"]
    tell.call("pin_message", message_id=note)
    tell.call("archive_channel", channel_id=welcome)


CHAINS = [
    say_and_pin, answer_and_archive, greet_the_newcomer, ask_decide_and_keep, last_word_of_a_channel,
    call_in_an_expert, hand_over_and_leave_a_record,
]  # fmt: skip
