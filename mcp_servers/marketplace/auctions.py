"""An auction as it stands: what the next bid must reach, who leads, and how tools show it."""

from __future__ import annotations

from pydantic import create_model
from sqlalchemy import Select, bindparam, func, or_, select

from palaestra.mcp_servers.framework.faults import not_found
from palaestra.mcp_servers.framework.spec import view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.marketplace.models import Bid, Listing, Seller, Watch


def least_bid(start_price: int, highest: int | None) -> int:
    """The least next bid: the start price, then a twentieth more than the highest bid, at least 1.00 more.

    >>> least_bid(500, None), least_bid(500, 800), least_bid(500, 10_000)
    (500, 900, 10500)
    """
    return start_price if highest is None else highest + max(100, highest // 20)


AuctionView = create_model(
    "AuctionView", __base__=view(Listing), is_own=(bool, ...), is_watched=(bool, ...), is_running=(bool, ...),
    bids=(int, ...), highest_bid=(int | None, ...), highest_bidder_id=(str | None, ...), least_next_bid=(int, ...),
)  # fmt: skip

_LEADS = or_(Bid.status == "standing", Bid.status == "won")
_USER = Query(select(Seller.seller_id).where(Seller.is_user == 1).order_by(Seller.seller_id))
_STANDING = Query(
    select(Bid.__table__).where(Bid.listing_id == bindparam("listing"), Bid.status == "standing").order_by(Bid.bid_id)
)


def _auctions() -> Select[*tuple[object, ...]]:
    """Listings with what leads them; the conditions are the caller's."""
    of_listing = [
        select(func.count()).where(model.listing_id == Listing.listing_id).correlate(Listing).scalar_subquery()
        for model in (Bid, Watch)
    ]
    return select(
        Listing.__table__, Bid.amount.label("highest_bid"), Bid.bidder_id.label("highest_bidder_id"),
        of_listing[0].label("bids"), of_listing[1].label("is_watched"),
    ).join_from(Listing, Bid, (Bid.listing_id == Listing.listing_id) & _LEADS, isouter=True)  # fmt: skip


_ONE = Query(_auctions().where(Listing.listing_id == bindparam("listing")))
_CATEGORY = bindparam("category", type_=Listing.__table__.c.category.type)
_RUNNING = Query(
    _auctions()
    .where(
        Listing.status == "open",
        Listing.ends_at > bindparam("now"),
        or_(_CATEGORY.is_(None), Listing.category == _CATEGORY),
        func.instr(func.lower(Listing.title), func.lower(bindparam("text"))) > 0,
    )
    .order_by(Listing.ends_at, Listing.listing_id)
)


def user_of(db: Database) -> str:
    """The key of the user."""
    return str(db.scalar(_USER))


def standing_bid(db: Database, listing_id: str) -> Row | None:
    """The bid that leads an auction, if there is one."""
    return db.first(_STANDING, listing=listing_id)


def show_auction(db: Database, listing_id: str, now: int) -> Row:
    """One listing as tools show it. Raises: Refusal "not_found"."""
    found = db.first(_ONE, listing=listing_id)
    if found is None:
        raise not_found("listing", listing_id)
    return _shown(found, user_of(db), now)


def running_auctions(db: Database, now: int, category: str | None, text: str) -> list[Row]:
    """Listings that can be bid on, of a category and with a text in the title, the next to end first."""
    user = user_of(db)
    return [_shown(row, user, now) for row in db.rows(_RUNNING, now=now, category=category, text=text)]


def _shown(row: Row, user: str, now: int) -> Row:
    return {
        **row, "is_own": row["seller_id"] == user, "is_watched": bool(row["is_watched"]),
        "is_running": is_running(row, now), "least_next_bid": least_bid(row["start_price"], row["highest_bid"]),
    }  # fmt: skip


def is_running(listing: Row, now: int) -> bool:
    """Whether the time of an auction is not over and it was not decided before."""
    return bool(listing["status"] == "open" and listing["ends_at"] > now)
