"""Scenes on the network that use every tool and meet every rule, and tasks whose order matters."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

LAST_WEEK = "2026-02-20T09:00:00Z"
IN_MAY = "2026-05-01T08:00:00Z"
YESTERDAY = "2026-03-01T08:00:00Z"
BLOCKER, BLOCKED, ALBUM, TRAINS, FRIEND = "Ceramics", "WIN A PRIZE", "Family album", "Night trains", "Sketches for"
BAKER, MUSEUM, HECKLER = "Sourdough", "harbour museum", "Just asking"


def _profile(tell: Teller, bio: str) -> dict[str, str]:
    return {"profile_id": tell.items("search_profiles", text=bio)[0]["profile_id"]}


def _user(tell: Teller) -> dict[str, str]:
    return {"profile_id": tell.call("show_home_feed", since=LAST_WEEK)["profile_id"]}


def _wall(tell: Teller, bio: str) -> list[dict[str, Any]]:
    return tell.items("show_profile_wall", **_profile(tell, bio))


def _post(tell: Teller, bio: str, comments_from: str = "everyone") -> dict[str, str]:
    """The latest public post of a profile with comments open to these."""
    found = (p for p in _wall(tell, bio) if (p["audience"], p["comments_from"]) == ("everyone", comments_from))
    return {"post_id": next(found)["post_id"]}


def _own_post(tell: Teller, text: str) -> dict[str, str]:
    wall = tell.items("show_profile_wall", **_user(tell))
    return {"post_id": next(post["post_id"] for post in wall if text in post["text"])}


def _draft(tell: Teller, text: str) -> dict[str, str]:
    """The draft that begins like this; "" is the empty one."""
    drafts = tell.items("list_post_drafts")
    found = (draft for draft in drafts if (draft["text"].startswith(text) if text else not draft["text"]))
    return {"post_draft_id": next(found)["post_draft_id"]}


def follow_and_talk(tell: Teller) -> None:
    """The user follows whom they may; then comments for followers are open to them."""
    tell.refused("profile_is_someone_else", "follow_profile", **_user(tell))
    tell.refused("user_is_not_blocked", "follow_profile", **_profile(tell, BLOCKER))
    tell.refused("profile_is_unblocked", "follow_profile", **_profile(tell, BLOCKED))
    tell.refused("profile_is_unfollowed", "follow_profile", **_profile(tell, FRIEND))
    tell.refused("profile_is_unfollowed", "follow_profile", **_profile(tell, TRAINS))
    assert _wall(tell, BLOCKER) == _wall(tell, ALBUM) == []  # noqa: S101 - a story holds its server to its rules
    asked = tell.call("follow_profile", **_profile(tell, ALBUM))
    assert asked["status"] == "requested"  # noqa: S101
    assert len(tell.items("list_follows", status="requested")) == 2  # noqa: S101
    question = {**_post(tell, BAKER, "followers"), "text": "May I freeze it?"}
    tell.refused("comments_are_open", "comment_on_post", **question)
    tell.call("follow_profile", **_profile(tell, BAKER))
    tell.call("comment_on_post", **question)
    tell.refused("comments_are_open", "comment_on_post", **_post(tell, MUSEUM, "nobody"), text="When do you open?")


def publish_and_plan(tell: Teller) -> None:
    """Drafts are published now or later when they have something new to say; one is pinned."""
    empty, said, ready = (_draft(tell, text) for text in ("", "The old bridge", "Looking for"))
    tell.refused("draft_has_text", "publish_post", **empty)
    tell.refused("draft_has_text", "schedule_post", **empty, publish_at=IN_MAY)
    tell.refused("text_is_new", "publish_post", **said)
    tell.refused("text_is_new", "schedule_post", **said, publish_at=IN_MAY)
    tell.refused("publish_time_lies_ahead", "schedule_post", **ready, publish_at=YESTERDAY)
    planned = tell.call("schedule_post", **ready, publish_at=IN_MAY)
    tell.call("update_post_draft", **said, text="Three bridges in one day.")
    tell.refused("publish_time_is_free", "schedule_post", **said, publish_at="2026-05-01T08:09:59Z")
    tell.refused("post_is_published", "pin_post", post_id=planned["post_id"])
    post = tell.call("publish_post", **said)
    tell.call("pin_post", post_id=post["post_id"])
    tell.refused("post_is_unpinned", "pin_post", post_id=post["post_id"])
    tell.refused("post_is_own", "pin_post", **_post(tell, MUSEUM))
    assert [p["pinned"] for p in tell.items("show_profile_wall", **_user(tell))].count(True) == 1  # noqa: S101
    again = tell.call("create_post_draft", text="Three bridges in one day.", audience="followers")["post_draft_id"]
    tell.refused("text_is_new", "publish_post", post_draft_id=again)
    tell.wait(86_400)
    tell.call("publish_post", post_draft_id=again)


def pass_on(tell: Teller) -> None:
    """A public post is reposted once; what is meant for friends is not."""
    recipe = _post(tell, BAKER)
    tell.refused("post_is_public", "repost_post", post_id=_wall(tell, FRIEND)[0]["post_id"])
    tell.refused("post_is_by_someone_else", "repost_post", **_own_post(tell, "Hello!"))
    mine = tell.call("repost_post", **recipe, text="Try this!")
    tell.refused("post_is_not_reposted", "repost_post", **recipe)
    tell.call("comment_on_post", post_id=mine["post_id"], text="I baked it twice.")
    tell.call("block_profile", **_profile(tell, BAKER))
    tell.refused("post_is_visible", "comment_on_post", post_id=mine["post_id"], text="Thrice.")
    tell.refused("post_is_visible", "repost_post", **recipe)
    tell.call("repost_post", **_post(tell, MUSEUM))


def end_a_quarrel(tell: Teller) -> None:
    """The user answers under their own post, then blocks the heckler, whose comment is hidden."""
    bridge, heckler = _own_post(tell, "The old bridge"), _profile(tell, HECKLER)
    kind, rude = sorted(tell.items("list_comments", **bridge), key=lambda comment: comment["text"])
    assert rude["author_id"] == heckler["profile_id"]  # noqa: S101
    tell.call("comment_on_post", **bridge, text="Come along!", answered_comment_id=kind["comment_id"])
    elsewhere = {**_own_post(tell, "Hello!"), "text": "The city.", "answered_comment_id": rude["comment_id"]}
    tell.refused("answered_comment_is_there", "comment_on_post", **elsewhere)
    tell.call("comment_on_post", **{**elsewhere, **bridge})
    ended = tell.call("block_profile", **heckler)
    assert (ended["ended_follows"], ended["hidden_comments"]) == (1, 1)  # noqa: S101
    tell.refused("answered_comment_is_there", "comment_on_post", **{**elsewhere, **bridge})
    tell.refused("profile_is_unblocked", "block_profile", **heckler)
    tell.refused("profile_is_someone_else", "block_profile", **_user(tell))


STORIES = [follow_and_talk, publish_and_plan, pass_on, end_a_quarrel]


# -- chains --------------------------------------------------------------------------------------------------------


def write_publish_and_pin(tell: Teller) -> None:
    """Start a draft, write its text, publish it and pin it."""
    draft = tell.call("create_post_draft", audience="everyone")["post_draft_id"]
    tell.call("update_post_draft", post_draft_id=draft, text="New here? I map every bridge of the valley.")
    post = tell.call("publish_post", post_draft_id=draft)["post_id"]
    tell.call("pin_post", post_id=post)


def write_and_plan(tell: Teller) -> None:
    """Start a draft for followers, write its text and plan it for May."""
    draft = tell.call("create_post_draft", audience="followers")["post_draft_id"]
    tell.call("update_post_draft", post_draft_id=draft, text="Meet me on the towpath on May Day.")
    tell.call("schedule_post", post_draft_id=draft, publish_at=IN_MAY)


def repost_and_pin(tell: Teller) -> None:
    """Repost the baker's recipe and pin the repost."""
    repost = tell.call("repost_post", **_post(tell, BAKER), text="The best rye.")["post_id"]
    tell.call("pin_post", post_id=repost)


def ask_the_baker(tell: Teller) -> None:
    """Follow the baker, whose followers alone may comment, and ask a question."""
    baker, post = _profile(tell, BAKER), _post(tell, BAKER, "followers")
    tell.call("follow_profile", **baker)
    tell.call("comment_on_post", **post, text="Which flour do you use?")


def quarrel_with_the_baker(tell: Teller) -> None:
    """Follow the baker, comment, answer oneself, and block the baker in the end."""
    baker, post = _profile(tell, BAKER), _post(tell, BAKER, "followers")
    tell.call("follow_profile", **baker)
    first = tell.call("comment_on_post", **post, text="Ten years? Never.")["comment_id"]
    tell.call("comment_on_post", **post, text="Five at most.", answered_comment_id=first)
    tell.call("block_profile", **baker)


def repost_and_regret(tell: Teller) -> None:
    """Repost the heckler, say something about it, and block them after all."""
    heckler, post = _profile(tell, HECKLER), _post(tell, HECKLER)
    repost = tell.call("repost_post", **post)["post_id"]
    tell.call("comment_on_post", post_id=repost, text="Fair point, for once.")
    tell.call("block_profile", **heckler)


def open_a_discussion(tell: Teller) -> None:
    """Start a draft, write a question, publish it, add a first comment and an answer to it."""
    draft = tell.call("create_post_draft", comments_from="followers")["post_draft_id"]
    tell.call("update_post_draft", post_draft_id=draft, text="Which bridge should I draw next?")
    post = tell.call("publish_post", post_draft_id=draft)["post_id"]
    first = tell.call("comment_on_post", post_id=post, text="The iron one is on my list.")["comment_id"]
    tell.call("comment_on_post", post_id=post, text="So is the ford.", answered_comment_id=first)


CHAINS = [
    write_publish_and_pin, write_and_plan, repost_and_pin, ask_the_baker, quarrel_with_the_baker, repost_and_regret,
    open_a_discussion,
]  # fmt: skip
