"""Tables of the social network: profiles, who follows or blocks whom, drafts, posts and comments."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    reference,
    text,
)

TEXT_LENGTH = 500


class Base(Entity, DeclarativeBase):
    """Tables of the social media server."""


class Profile(Base):
    """A person or a club on the network. Exactly one is the user's; who follows a private one must be accepted."""

    __tablename__ = "profile"
    profile_id: Mapped[str] = identifier("prf")
    handle: Mapped[str] = text(40, unique=True, role=Role.GUARDED)
    name: Mapped[str] = text(80, role=Role.GUARDED)
    bio: Mapped[str] = text(200, default="", role=Role.GUARDED)
    is_private: Mapped[int] = flag("posts are for accepted followers only", role=Role.GUARDED)
    is_user: Mapped[int] = flag("the one the agent works for", role=Role.GUARDED)


class Follow(Base):
    """One profile follows another, or asks to."""

    __tablename__ = "follow"
    follow_id: Mapped[str] = identifier("flw")
    follower_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    followed_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    status: Mapped[str] = choice("accepted", "requested", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("follower_id", "followed_id"), STRICT)


class ProfileBlock(Base):
    """One profile wants nothing to do with another: neither sees the other's posts."""

    __tablename__ = "profile_block"
    profile_block_id: Mapped[str] = identifier("blk")
    blocker_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    blocked_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("blocker_id", "blocked_id"), STRICT)


class PostDraft(Base):
    """A post the user is writing; it is gone once published or planned."""

    __tablename__ = "post_draft"
    post_draft_id: Mapped[str] = identifier("pdr")
    text: Mapped[str] = text(TEXT_LENGTH, default="")
    audience: Mapped[str] = choice("everyone", "followers", doc="who may see it", default="everyone")
    comments_from: Mapped[str] = choice("everyone", "followers", "nobody", doc="who may comment", default="everyone")
    created_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant(fill="update")


class Post(Base):
    """Something said to all or to followers; a repost passes another one on. Unseen until `published_at`."""

    __tablename__ = "post"
    post_id: Mapped[str] = identifier("pst")
    author_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    text: Mapped[str] = text(TEXT_LENGTH, default="", role=Role.GUARDED)
    audience: Mapped[str] = choice("everyone", "followers", default="everyone", role=Role.GUARDED)
    comments_from: Mapped[str] = choice("everyone", "followers", "nobody", default="everyone", role=Role.GUARDED)
    repost_of_id: Mapped[str | None] = reference(
        "post.post_id", "the post it passes on", role=Role.GUARDED, optional=True
    )
    pinned: Mapped[int] = flag("first on its author's wall", role=Role.GUARDED)
    scheduled_for: Mapped[int | None] = instant(
        "when it is to be published, if planned", role=Role.GUARDED, optional=True
    )
    published_at: Mapped[int] = instant("when it was or will be published", role=Role.VOLATILE)
    __table_args__ = (
        Index("post_author", "author_id"),
        Index("post_repost_of", "repost_of_id"),
        UniqueConstraint("author_id", "repost_of_id"),
        STRICT,
    )


class Comment(Base):
    """What someone says under a post, or in answer to another comment there."""

    __tablename__ = "comment"
    comment_id: Mapped[str] = identifier("com")
    post_id: Mapped[str] = reference("post.post_id", role=Role.GUARDED)
    author_id: Mapped[str] = reference("profile.profile_id", role=Role.GUARDED)
    answered_comment_id: Mapped[str | None] = reference(
        "comment.comment_id", "the comment it answers", role=Role.GUARDED, optional=True
    )
    text: Mapped[str] = text(300, role=Role.GUARDED)
    hidden: Mapped[int] = flag("its author was blocked by the post's", role=Role.GUARDED)
    created_at: Mapped[int] = instant(fill="create")
    __table_args__ = (Index("comment_post", "post_id"), STRICT)


MODELS = [Profile, Follow, ProfileBlock, PostDraft, Post, Comment]
