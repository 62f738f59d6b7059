"""Paying from a wallet and giving money back to one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition
from palaestra.mcp_servers.framework.sql import Database, Query
from palaestra.mcp_servers.travel_booking.models import Wallet

_CREDIT = Query(
    select(Wallet.wallet_id)
    .where(Wallet.kind == "travel_credit")
    .order_by(Wallet.valid_until.desc(), Wallet.wallet_id)
    .limit(1)
)


@precondition
def wallet_is_valid(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The wallet has not expired."""
    return bool(db.get(Wallet, args.wallet_id)["valid_until"] > sources.now)


def can_pay(db: Database, sources: EpisodeSources, wallet_id: str, amount: int) -> bool:
    """Whether a wallet is valid and covers an amount; nothing to pay is always covered."""
    wallet = db.get(Wallet, wallet_id)
    return bool(amount <= 0 or (wallet["valid_until"] > sources.now and wallet["balance"] >= amount))


def pay(db: Database, wallet_id: str, amount: int) -> None:
    """Take an amount out of a wallet; a negative one goes back into it."""
    if amount:
        db.update(Wallet, wallet_id, balance=db.get(Wallet, wallet_id)["balance"] - amount)


def travel_credit(db: Database) -> str:
    """The wallet that credit is given to: the one that is valid longest."""
    return str(db.scalar(_CREDIT))
