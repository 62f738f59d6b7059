"""The network keeps those apart who blocked each other, and says to nobody what is not meant for them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.social_media import SERVER
from palaestra.mcp_servers.social_media.models import Comment, Follow, Post, PostDraft, Profile, ProfileBlock

Rows = list[dict[str, Any]]


@pytest.fixture
def network() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(network: Episode, model: Any) -> Rows:
    return network.state("social_media").database.every(model)


def me(network: Episode) -> str:
    return str(next(row["profile_id"] for row in rows(network, Profile) if row["is_user"]))


def play(network: Episode, calls: int) -> int:
    """Call verbs at random; how many were refused."""
    rng = stream(7, "posting")
    refused = 0
    for turn in range(calls):
        profiles, posts, drafts = (rows(network, model) for model in (Profile, Post, PostDraft))
        profile = {"profile_id": profiles[int(rng.integers(len(profiles)))]["profile_id"]}
        closed = [row for row in posts if row["comments_from"] == "nobody"]
        posts = posts if rng.random() < 0.9 else closed
        post = {"post_id": posts[int(rng.integers(len(posts)))]["post_id"]}
        draft = {"post_draft_id": drafts[int(rng.integers(len(drafts)))]["post_draft_id"]} if drafts else {}
        tool, arguments = (
            ("follow_profile", profile), ("repost_post", post), ("comment_on_post", post | {"text": "Oh!"}),
            ("pin_post", post), ("publish_post", draft), ("create_post_draft", {"text": f"Number {turn % 9}"}),
            ("schedule_post", draft | {"publish_at": f"2026-03-03T08:{turn % 60:02}:00Z"}),
            ("block_profile", profile if turn % 10 == 0 else {"profile_id": "prf_1"}),
        )[int(rng.integers(8))]  # fmt: skip
        refused += dispatch(network, tool, arguments).is_error
    return refused


def test_whatever_is_called_the_rules_hold(network: Episode) -> None:
    user = me(network)
    assert 0 < play(network, 500) < 500
    posts = {row["post_id"]: row for row in rows(network, Post)}
    private = {row["profile_id"] for row in rows(network, Profile) if row["is_private"]}
    blocks = {(row["blocker_id"], row["blocked_id"]) for row in rows(network, ProfileBlock)}
    follows = {(row["follower_id"], row["followed_id"]): row["status"] for row in rows(network, Follow)}
    assert len(blocks) > 3
    assert not [pair for pair in blocks if pair in follows or pair[::-1] in follows]
    assert (user, user) not in blocks | follows.keys()
    assert all(blocker == user or (user, blocker) not in follows for blocker, _ in blocks)
    own = [row for row in posts.values() if row["author_id"] == user]
    assert [row["author_id"] for row in posts.values() if row["pinned"]] == [user]
    said = [row["text"] for row in own if row["text"].startswith("Number")]
    assert len(said) == len(set(said)) > 3
    reposts = [posts[row["repost_of_id"]] for row in own if row["repost_of_id"]]
    assert len(reposts) == len({row["post_id"] for row in reposts}) > 3
    for row in reposts:
        assert (row["audience"], row["repost_of_id"]) == ("everyone", None)
        assert row["author_id"] not in private | {user}
    for comment in rows(network, Comment):
        post = posts[comment["post_id"]]
        if comment["author_id"] == user:
            assert post["comments_from"] != "nobody"
            assert (post["author_id"], user) not in blocks
            ended = (user, post["author_id"]) in blocks
            assert ended or post["author_id"] not in private or follows[user, post["author_id"]] == "accepted"
        assert comment["hidden"] == int(
            (post["author_id"], comment["author_id"]) in blocks and post["author_id"] == user
        )
    planned = sorted(row["scheduled_for"] for row in own if row["scheduled_for"])
    assert len(planned) > 2
    assert all(later - earlier >= 600 for earlier, later in pairwise(planned))


def test_feed_and_walls_show_only_what_is_meant_for_the_user(network: Episode) -> None:
    play(network, 150)
    user, now = me(network), network.state("social_media").sources.now
    private = {row["profile_id"] for row in rows(network, Profile) if row["is_private"]}
    blocks = {(row["blocker_id"], row["blocked_id"]) for row in rows(network, ProfileBlock)}
    follows = {(row["follower_id"], row["followed_id"]): row["status"] for row in rows(network, Follow)}
    posts = {row["post_id"]: row for row in rows(network, Post)}
    shown: dict[str, set[str]] = {}
    for profile in rows(network, Profile):
        wall = dispatch(network, "show_profile_wall", {"profile_id": profile["profile_id"]}).content
        shown[profile["profile_id"]] = {item["post_id"] for item in wall["items"]}

    def visible(post: dict[str, Any]) -> bool:
        author = post["author_id"]
        if author != user:
            if post["published_at"] > now or {(user, author), (author, user)} & blocks:
                return False
            closed = author in private or post["audience"] == "followers"
            if closed and follows.get((user, author)) != "accepted":
                return False
        return post["repost_of_id"] is None or visible(posts[post["repost_of_id"]])

    for author, found in shown.items():
        latest = [row for row in posts.values() if row["author_id"] == author]
        assert len(latest) <= 30
        assert found == {row["post_id"] for row in latest if visible(row)}
    feed = dispatch(network, "show_home_feed", {"since": "2025-01-01T00:00:00Z"}).content["items"]
    assert {follows.get((user, item["author_id"]), user) for item in feed} == {"accepted", user}
    assert [item["published_at"] for item in feed] == sorted((item["published_at"] for item in feed), reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_world_holds_its_stories(seed: int) -> None:
    network = EpisodeStore([SERVER]).open(seed=seed, profile="small")[1]
    user, now = me(network), network.state("social_media").sources.now
    assert {user in (row["blocker_id"], row["blocked_id"]) for row in rows(network, ProfileBlock)} == {True}
    follows = [row["status"] for row in rows(network, Follow) if row["follower_id"] == user]
    assert follows.count("requested") == 1 < follows.count("accepted")
    posts = rows(network, Post)
    assert {row["comments_from"] for row in posts} == {"everyone", "followers", "nobody"}
    assert [row["author_id"] for row in posts if row["published_at"] > now] == [user]
    assert [row["text"] == "" for row in rows(network, PostDraft)].count(True) == 1
    assert any("SYSTEM" in row["text"] for row in posts)
