"""Tables of the marketplace: people who sell and bid, their auctions, bids, sales, feedback and the watch list."""

from __future__ import annotations

from typing import Literal, get_args

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
    money,
    reference,
    text,
)

Category = Literal["cameras", "music", "bicycles", "books", "furniture", "toys"]
Verdict = Literal["positive", "neutral", "negative"]


class Base(Entity, DeclarativeBase):
    """Tables of the marketplace server."""


class Seller(Base):
    """Someone who sells and bids. Exactly one of them is the user. The balance is what no bid holds."""

    __tablename__ = "seller"
    seller_id: Mapped[str] = identifier("slr")
    name: Mapped[str] = text(60)
    town: Mapped[str] = text(60)
    is_user: Mapped[int] = flag("the one the agent works for", role=Role.GUARDED)
    balance: Mapped[int] = money("money that is free for bids", role=Role.GUARDED)


class Listing(Base):
    """An item up for auction until `ends_at`; it stays open until somebody concludes it."""

    __tablename__ = "listing"
    listing_id: Mapped[str] = identifier("lst")
    seller_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    title: Mapped[str] = text(100)
    description: Mapped[str] = text(400, default="")
    category: Mapped[str] = choice(*get_args(Category))
    condition: Mapped[str] = choice("new", "good", "worn", "for_parts")
    start_price: Mapped[int] = money("least first bid", minimum=100, role=Role.GUARDED)
    reserve_price: Mapped[int] = money("least price it sells for at the end", default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("open", "sold", "unsold", "relisted", default="open", role=Role.GUARDED)
    ends_at: Mapped[int] = instant(role=Role.GUARDED)
    relisted_from_id: Mapped[str | None] = reference(
        "listing.listing_id", "the listing it was before", role=Role.GUARDED, optional=True
    )


class Bid(Base):
    """An offer for a listing. The one that stands holds its money; of a listing at most one stands."""

    __tablename__ = "bid"
    bid_id: Mapped[str] = identifier("bid")
    listing_id: Mapped[str] = reference("listing.listing_id", role=Role.GUARDED)
    bidder_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=100, role=Role.GUARDED)
    status: Mapped[str] = choice("standing", "outbid", "retracted", "won", "lost", role=Role.GUARDED)
    placed_at: Mapped[int] = instant(fill="create")
    __table_args__ = (Index("bid_by_listing", "listing_id"), STRICT)


class Sale(Base):
    """A listing that found its buyer; it is completed once the item has arrived."""

    __tablename__ = "sale"
    sale_id: Mapped[str] = identifier("sal")
    listing_id: Mapped[str] = reference("listing.listing_id", role=Role.GUARDED)
    seller_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    buyer_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    price: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    sold_at: Mapped[int] = instant(fill="create")
    # Follows from the moment of the sale, so it is no more part of a goal than that moment is.
    arrives_at: Mapped[int] = instant("when the item arrives", role=Role.VOLATILE)
    __table_args__ = (UniqueConstraint("listing_id"), STRICT)


class Feedback(Base):
    """What one side of a sale says about the other, once."""

    __tablename__ = "feedback"
    feedback_id: Mapped[str] = identifier("fbk")
    sale_id: Mapped[str] = reference("sale.sale_id", role=Role.GUARDED)
    author_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    about_id: Mapped[str] = reference("seller.seller_id", role=Role.GUARDED)
    verdict: Mapped[str] = choice(*get_args(Verdict), role=Role.GUARDED)
    text: Mapped[str] = text(300, role=Role.GUARDED)
    written_at: Mapped[int] = instant(fill="create")
    __table_args__ = (UniqueConstraint("sale_id", "author_id"), STRICT)


class Watch(Base):
    """A listing the user keeps an eye on, once."""

    __tablename__ = "watch"
    watch_id: Mapped[str] = identifier("wtc")
    listing_id: Mapped[str] = reference("listing.listing_id")
    note: Mapped[str] = text(140, default="")
    __table_args__ = (UniqueConstraint("listing_id"), STRICT)


MODELS = [Seller, Listing, Bid, Sale, Feedback, Watch]
