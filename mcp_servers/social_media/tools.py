"""What can be done on the network beyond writing drafts; always as the user's profile.

Rules: nobody follows themselves, a profile that blocked them or one they blocked; a private profile is only asked; a
block ends both follows and hides what the blocked one said under the user's posts; only posts for everyone are
reposted, each once; one own post is pinned at a time; comments follow the author's choice; the same text is not
published twice within a day, and planned posts lie ten minutes apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.orm import aliased

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import FlagOut, Instant, InstantOut, Key, refers_to
from palaestra.mcp_servers.social_media.models import (
    TEXT_LENGTH,
    Comment,
    Follow,
    Post,
    PostDraft,
    Profile,
    ProfileBlock,
)
from palaestra.mcp_servers.social_media.visibility import (
    EITHER_WAY,
    follow_status,
    has_blocked,
    is_public,
    original,
    user_id,
    user_sees,
)

REPEAT_SECONDS: Final = 86_400
GAP_SECONDS: Final = 600
SHOWN_POSTS: Final = 30

PostView = view(Post)

_PINNED = Query(
    select(Post.post_id).where(Post.author_id == bindparam("author"), Post.pinned == 1).order_by(Post.post_id)
)
_REPOST = Query(
    select(Post.post_id).where(Post.author_id == bindparam("author"), Post.repost_of_id == bindparam("original"))
)
_SAME_TEXT = Query(
    select(Post.post_id)
    .where(
        Post.author_id == bindparam("author"), Post.repost_of_id.is_(None), Post.text == bindparam("text"),
        Post.published_at > bindparam("since"),
    )
    .order_by(Post.post_id)
)  # fmt: skip
_PLANNED = Query(
    select(Post.post_id)
    .where(
        Post.author_id == bindparam("author"), Post.scheduled_for > bindparam("after"),
        Post.scheduled_for < bindparam("before"),
    )
    .order_by(Post.post_id)
)  # fmt: skip
_FOLLOWS = Query(select(Follow.follow_id).where(EITHER_WAY).order_by(Follow.follow_id))
_SAID_UNDER = Query(
    select(Comment.comment_id)
    .join_from(Comment, Post, Post.post_id == Comment.post_id)
    .where(Post.author_id == bindparam("host"), Comment.author_id == bindparam("guest"))
    .order_by(Comment.comment_id)
)

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def profile_is_someone_else(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The profile is not the user's own."""
    return not db.get(Profile, args.profile_id)["is_user"]


@precondition
def user_is_not_blocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The profile has not blocked the user."""
    return not has_blocked(db, args.profile_id, user_id(db))


@precondition
def profile_is_unblocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user has not blocked the profile."""
    return not has_blocked(db, user_id(db), args.profile_id)


@precondition
def profile_is_unfollowed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user neither follows the profile nor has asked to."""
    return follow_status(db, user_id(db), args.profile_id) is None


@precondition
def post_is_visible(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user may see the post, and with a repost also what it passes on."""
    return user_sees(db, db.get(Post, args.post_id), sources.now)


@precondition
def post_is_by_someone_else(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The post, or what it passes on, is not the user's own."""
    return bool(original(db, db.get(Post, args.post_id))["author_id"] != user_id(db))


@precondition
def post_is_public(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The post is for everyone: neither for followers only nor of a private profile."""
    return is_public(db, original(db, db.get(Post, args.post_id)))


@precondition
def post_is_not_reposted(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user has not reposted it yet."""
    wanted = original(db, db.get(Post, args.post_id))["post_id"]
    return db.first(_REPOST, author=user_id(db), original=wanted) is None


@precondition
def post_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The post is the user's own."""
    return bool(db.get(Post, args.post_id)["author_id"] == user_id(db))


@precondition
def post_is_published(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The post is published; a planned one is not yet."""
    return bool(db.get(Post, args.post_id)["published_at"] <= sources.now)


@precondition
def post_is_unpinned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The post is not pinned already."""
    return not db.get(Post, args.post_id)["pinned"]


@precondition
def comments_are_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The author lets the user comment: everyone may, or followers may and the user follows or is the author."""
    post = db.get(Post, args.post_id)
    user = user_id(db)
    close = post["author_id"] == user or follow_status(db, user, post["author_id"]) == "accepted"
    return bool(post["comments_from"] == "everyone" or (post["comments_from"] == "followers" and close))


@precondition
def answered_comment_is_there(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The comment to answer, if any, stands under the same post and is not hidden."""
    if args.answered_comment_id is None:
        return True
    comment = db.get(Comment, args.answered_comment_id)
    return comment["post_id"] == args.post_id and not comment["hidden"]


@precondition
def draft_has_text(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The draft has a text."""
    return bool(db.get(PostDraft, args.post_draft_id)["text"].strip())


@precondition
def text_is_new(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user has neither published the same text in the last 24 hours nor planned it."""
    text = db.get(PostDraft, args.post_draft_id)["text"]
    return db.first(_SAME_TEXT, author=user_id(db), text=text, since=sources.now - REPEAT_SECONDS) is None


@precondition
def publish_time_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The time to publish at lies in the future."""
    return bool(args.publish_at > sources.now)


@precondition
def publish_time_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No other post of the user is planned within ten minutes of that time."""
    after, before = args.publish_at - GAP_SECONDS, args.publish_at + GAP_SECONDS
    return db.first(_PLANNED, author=user_id(db), after=after, before=before) is None


# -- verbs ---------------------------------------------------------------------------------------------------------


class ProfileKeyArgs(Args):
    """Arguments that name a profile."""

    profile_id: Key


@verb(
    requires=[profile_is_someone_else, user_is_not_blocked, profile_is_unblocked, profile_is_unfollowed],
    returns=view(Follow),
)
def follow_profile(db: Database, sources: EpisodeSources, args: ProfileKeyArgs) -> Row:
    """Follow a public profile, or ask a private one to accept the user as a follower."""
    status = "requested" if db.get(Profile, args.profile_id)["is_private"] else "accepted"
    return db.insert(Follow, follower_id=user_id(db), followed_id=args.profile_id, status=status)


class Blocked(Output):
    """What a block changed."""

    profile_id: str
    ended_follows: int
    hidden_comments: int


@verb(requires=[profile_is_someone_else, profile_is_unblocked], returns=Blocked)
def block_profile(db: Database, sources: EpisodeSources, args: ProfileKeyArgs) -> Row:
    """Block a profile for good: both stop following, and its comments under the user's posts are hidden."""
    user = user_id(db)
    db.insert(ProfileBlock, blocker_id=user, blocked_id=args.profile_id)
    follows = db.rows(_FOLLOWS, one=user, other=args.profile_id)
    for follow in follows:
        db.delete(Follow, follow["follow_id"])
    comments = db.rows(_SAID_UNDER, host=user, guest=args.profile_id)
    for comment in comments:
        db.update(Comment, comment["comment_id"], hidden=1)
    return {"profile_id": args.profile_id, "ended_follows": len(follows), "hidden_comments": len(comments)}


class PostKeyArgs(Args):
    """Arguments that name a post."""

    post_id: Key


class RepostArgs(PostKeyArgs):
    """Arguments of a repost."""

    text: Annotated[str, Field(max_length=TEXT_LENGTH, description="what the user says about it")] = ""


@verb(requires=[post_is_visible, post_is_by_someone_else, post_is_public, post_is_not_reposted], returns=PostView)
def repost_post(db: Database, sources: EpisodeSources, args: RepostArgs) -> Row:
    """Pass someone's public post on to the user's followers, once. A repost is passed on as what it was made of."""
    wanted = original(db, db.get(Post, args.post_id))["post_id"]
    return db.insert(Post, author_id=user_id(db), text=args.text, repost_of_id=wanted, published_at=sources.now)


@verb(requires=[post_is_own, post_is_published, post_is_unpinned], returns=PostView)
def pin_post(db: Database, sources: EpisodeSources, args: PostKeyArgs) -> Row:
    """Put one of the user's published posts first on their wall. The one pinned before is no longer."""
    for pinned in db.rows(_PINNED, author=user_id(db)):
        db.update(Post, pinned["post_id"], pinned=0)
    return db.update(Post, args.post_id, pinned=1)


class CommentArgs(PostKeyArgs):
    """Arguments of a comment."""

    text: Annotated[str, Field(min_length=1, max_length=300)]
    answered_comment_id: Annotated[Key, refers_to("comment", "a comment to answer")] | None = None


@verb(requires=[post_is_visible, comments_are_open, answered_comment_is_there], returns=view(Comment))
def comment_on_post(db: Database, sources: EpisodeSources, args: CommentArgs) -> Row:
    """Comment on a post the user may see, or answer a comment under it, if its author lets the user comment."""
    return db.insert(
        Comment, post_id=args.post_id, author_id=user_id(db), answered_comment_id=args.answered_comment_id,
        text=args.text,
    )  # fmt: skip


class PostDraftKeyArgs(Args):
    """Arguments that name a draft."""

    post_draft_id: Key


@verb(requires=[draft_has_text, text_is_new], returns=PostView)
def publish_post(db: Database, sources: EpisodeSources, args: PostDraftKeyArgs) -> Row:
    """Publish a draft now. It must have a text that the user did not publish in the last 24 hours."""
    return _publish(db, args.post_draft_id, sources.now, None)


class SchedulePostArgs(PostDraftKeyArgs):
    """Arguments of a planned publication."""

    publish_at: Instant


@verb(requires=[draft_has_text, text_is_new, publish_time_lies_ahead, publish_time_is_free], returns=PostView)
def schedule_post(db: Database, sources: EpisodeSources, args: SchedulePostArgs) -> Row:
    """Plan a draft to be published at a time in the future, ten minutes or more from other planned posts."""
    return _publish(db, args.post_draft_id, args.publish_at, args.publish_at)


def _publish(db: Database, post_draft_id: str, at: int, scheduled_for: int | None) -> Row:
    """Make a post of a draft; nobody else sees it before its time."""
    draft = db.delete(PostDraft, post_draft_id)
    content = {name: draft[name] for name in ("text", "audience", "comments_from")}
    return db.insert(Post, author_id=user_id(db), **content, scheduled_for=scheduled_for, published_at=at)


# -- queries -------------------------------------------------------------------------------------------------------


class ShownPost(Output):
    """A post as it appears on the screen."""

    post_id: str
    author_id: str
    handle: str
    text: str
    repost_of_id: str | None
    audience: str
    comments_from: str
    pinned: FlagOut
    published_at: InstantOut
    comments: int
    reposts: int


_Repost = aliased(Post)
_COMMENTS = (
    select(func.count())
    .where(Comment.post_id == Post.post_id, Comment.hidden == 0)
    .correlate(Post)
    .scalar_subquery()
    .label("comments")
)
_REPOSTS = (
    select(func.count()).where(_Repost.repost_of_id == Post.post_id).correlate(Post).scalar_subquery().label("reposts")
)
_SHOWN = select(
    Post.post_id, Post.author_id, Profile.handle, Post.text, Post.repost_of_id, Post.audience, Post.comments_from,
    Post.pinned, Post.published_at, _COMMENTS, _REPOSTS,
).join_from(Post, Profile, Profile.profile_id == Post.author_id)  # fmt: skip
_FOLLOWED = select(Follow.followed_id).where(Follow.follower_id == bindparam("user"), Follow.status == "accepted")
_FEED = Query(
    _SHOWN.where(
        or_(Post.author_id == bindparam("user"), Post.author_id.in_(_FOLLOWED)),
        Post.published_at >= bindparam("since"), Post.published_at <= bindparam("now"),
    )
    .order_by(Post.published_at.desc(), Post.post_id)
    .limit(SHOWN_POSTS)
)  # fmt: skip
_WALL = Query(
    _SHOWN.where(Post.author_id == bindparam("author"))
    .order_by(Post.pinned.desc(), Post.published_at.desc(), Post.post_id)
    .limit(SHOWN_POSTS)
)


class HomeFeedArgs(Args):
    """Arguments of the feed."""

    since: Instant


class HomeFeed(Output):
    """Posts for the user, newest first, and whose profile the user has."""

    profile_id: str
    items: list[ShownPost]


@query(returns=HomeFeed)
def show_home_feed(db: Database, sources: EpisodeSources, args: HomeFeedArgs) -> Row:
    """The user's own profile id, and the latest 30 posts since a time by them and by those they follow."""
    user = user_id(db)
    found = db.rows(_FEED, user=user, since=args.since, now=sources.now)
    return {"profile_id": user, "items": [post for post in found if user_sees(db, post, sources.now)]}


class ProfileWall(Output):
    """A profile and those of its posts the user may see."""

    profile_id: str
    handle: str
    name: str
    bio: str
    is_private: FlagOut
    followed: str
    items: list[ShownPost]


@query(returns=ProfileWall)
def show_profile_wall(db: Database, sources: EpisodeSources, args: ProfileKeyArgs) -> Row:
    """A profile, whether the user follows it (no, requested, accepted), and its latest 30 posts, the pinned one first.

    Posts the user may not see are left out; on the user's own wall planned ones are shown, too.
    """
    profile = db.get(Profile, args.profile_id)
    shown = {name: profile[name] for name in ("profile_id", "handle", "name", "bio", "is_private")}
    followed = follow_status(db, user_id(db), args.profile_id) or "no"
    found = db.rows(_WALL, author=args.profile_id)
    return {**shown, "followed": followed, "items": [post for post in found if user_sees(db, post, sources.now)]}


VERBS = [follow_profile, block_profile, repost_post, pin_post, comment_on_post, publish_post, schedule_post]
QUERIES = [show_home_feed, show_profile_wall]
