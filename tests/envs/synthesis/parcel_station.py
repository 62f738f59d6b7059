"""A parcel station whose dependency graph is known, because it was planted."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import Entity, Role, choice, flag, identifier, reference, text
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.server import Profile, ToolServer
from palaestra.mcp_servers.framework.spec import NoArgs, Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key


class Base(Entity, DeclarativeBase):
    pass


class Locker(Base):
    __tablename__ = "locker"
    locker_id: Mapped[str] = identifier("loc")
    state: Mapped[str] = choice("locked", "unlocked", role=Role.GUARDED)


class Parcel(Base):
    __tablename__ = "parcel"
    parcel_id: Mapped[str] = identifier("par")
    locker_id: Mapped[str] = reference("locker.locker_id", role=Role.GUARDED)
    status: Mapped[str] = choice("stored", "taken", role=Role.GUARDED)


class Receipt(Base):
    __tablename__ = "receipt"
    receipt_id: Mapped[str] = identifier("rec")
    parcel_id: Mapped[str] = reference("parcel.parcel_id", role=Role.GUARDED)
    stamped: Mapped[int] = flag(role=Role.GUARDED)


class Remark(Base):
    __tablename__ = "remark"
    remark_id: Mapped[str] = identifier("rem")
    words: Mapped[str] = text(60)


class LockerArgs(Args):
    locker_id: Key


class ParcelArgs(Args):
    parcel_id: Key


class ReceiptArgs(Args):
    receipt_id: Key


class Weather(Output):
    sky: str


@precondition
def locker_is_locked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The locker is locked."""
    return bool(db.get(Locker, args.locker_id)["state"] == "locked")


@precondition
def locker_is_unlocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The locker is unlocked."""
    return bool(db.get(Locker, args.locker_id)["state"] == "unlocked")


@precondition
def parcel_is_stored(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The parcel is stored."""
    return bool(db.get(Parcel, args.parcel_id)["status"] == "stored")


@precondition
def its_locker_is_unlocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The parcel's locker is unlocked."""
    return bool(db.get(Locker, db.get(Parcel, args.parcel_id)["locker_id"])["state"] == "unlocked")


@precondition
def receipt_is_unstamped(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The receipt is not stamped yet."""
    return not db.get(Receipt, args.receipt_id)["stamped"]


@verb(requires=[locker_is_locked], returns=view(Locker))
def unlock_locker(db: Database, sources: EpisodeSources, args: LockerArgs) -> Row:
    """Unlock a locker."""
    return db.update(Locker, args.locker_id, state="unlocked")


@verb(requires=[locker_is_unlocked], returns=view(Locker))
def lock_locker(db: Database, sources: EpisodeSources, args: LockerArgs) -> Row:
    """Lock a locker."""
    return db.update(Locker, args.locker_id, state="locked")


@verb(requires=[parcel_is_stored, its_locker_is_unlocked], returns=view(Receipt))
def take_parcel(db: Database, sources: EpisodeSources, args: ParcelArgs) -> Row:
    """Take a parcel out of its unlocked locker; there is a receipt for it."""
    db.update(Parcel, args.parcel_id, status="taken")
    return db.insert(Receipt, parcel_id=args.parcel_id, stamped=0)


@verb(requires=[receipt_is_unstamped], returns=view(Receipt))
def stamp_receipt(db: Database, sources: EpisodeSources, args: ReceiptArgs) -> Row:
    """Stamp a receipt."""
    return db.update(Receipt, args.receipt_id, stamped=1)


@query(returns=Weather)
def tell_weather(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """What the sky looks like."""
    return {"sky": "clear"}


def seed(db: Database, sources: EpisodeSources, rng: np.random.Generator, profile: Profile) -> None:
    for number in range(4):
        locker = db.insert(Locker, state=("locked", "unlocked")[number % 2])
        for _ in range(2):
            db.insert(Parcel, locker_id=locker["locker_id"], status="stored")


STATION = ToolServer(
    "station",
    "Lockers with parcels in them.",
    models=[Locker, Parcel, Receipt, Remark],
    seed=seed,
    tools=[
        *crud(Locker, "list"), *crud(Parcel, "list"), *crud(Remark, "create"),
        unlock_locker, lock_locker, take_parcel, stamp_receipt, tell_weather,
    ],
)  # fmt: skip

PLANTED: Final = {
    ("list_lockers", "unlock_locker", "explicit", "locker_id"),
    ("list_lockers", "lock_locker", "explicit", "locker_id"),
    ("list_parcels", "unlock_locker", "explicit", "locker_id"),
    ("list_parcels", "lock_locker", "explicit", "locker_id"),
    ("list_parcels", "take_parcel", "explicit", "parcel_id"),
    ("take_parcel", "stamp_receipt", "explicit", "receipt_id"),
    ("unlock_locker", "take_parcel", "implicit", "its_locker_is_unlocked"),
    ("unlock_locker", "lock_locker", "implicit", "locker_is_unlocked"),
    ("lock_locker", "unlock_locker", "implicit", "locker_is_locked"),
    ("lock_locker", "take_parcel", "blocks", ""),
}
