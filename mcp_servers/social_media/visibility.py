"""Who sees what: authors their own posts, others what is published, meant for them and not cut off by a block."""

from __future__ import annotations

from sqlalchemy import bindparam, or_, select

from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.social_media.models import Follow, Post, Profile, ProfileBlock

_USER = Query(select(Profile.profile_id).where(Profile.is_user == 1))
_FOLLOW = Query(
    select(Follow.follow_id, Follow.status).where(
        Follow.follower_id == bindparam("follower"), Follow.followed_id == bindparam("followed")
    )
)
_BLOCK = Query(
    select(ProfileBlock.profile_block_id).where(
        ProfileBlock.blocker_id == bindparam("blocker"), ProfileBlock.blocked_id == bindparam("blocked")
    )
)
EITHER_WAY = or_(
    (Follow.follower_id == bindparam("one")) & (Follow.followed_id == bindparam("other")),
    (Follow.follower_id == bindparam("other")) & (Follow.followed_id == bindparam("one")),
)


def user_id(db: Database) -> str:
    """The profile the agent acts for."""
    return str(db.scalar(_USER))


def follow_status(db: Database, follower_id: str, followed_id: str) -> str | None:
    """Whether a profile follows another: "accepted", "requested" or None."""
    found = db.first(_FOLLOW, follower=follower_id, followed=followed_id)
    return None if found is None else str(found["status"])


def has_blocked(db: Database, blocker_id: str, blocked_id: str) -> bool:
    """Whether a profile has blocked another."""
    return db.first(_BLOCK, blocker=blocker_id, blocked=blocked_id) is not None


def original(db: Database, post: Row) -> Row:
    """The post itself, or the one it passes on."""
    return post if post["repost_of_id"] is None else db.get(Post, post["repost_of_id"])


def user_sees(db: Database, post: Row, now: int) -> bool:
    """Whether the user sees a post, and with a repost what it passes on."""
    return _sees(db, post, now) and (post["repost_of_id"] is None or _sees(db, original(db, post), now))


def _sees(db: Database, post: Row, now: int) -> bool:
    user, author = user_id(db), post["author_id"]
    if user == author:
        return True
    if post["published_at"] > now or has_blocked(db, author, user) or has_blocked(db, user, author):
        return False
    return is_public(db, post) or follow_status(db, user, author) == "accepted"


def is_public(db: Database, post: Row) -> bool:
    """Whether a post is meant for everyone."""
    return post["audience"] == "everyone" and not db.get(Profile, post["author_id"])["is_private"]
