"""What can be done at the bank beyond reading and naming payees.

Rules: money leaves active accounts only, never beyond balance plus overdraft, to active payees only; a payment above
1,000.00 needs a verified identity; a completed transfer can be disputed for 60 days.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.banking.models import Account, Bill, Card, Customer, Payee, Transfer
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.spec import Output, page_of, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, Amount, Instant, Key, Line

LARGE_PAYMENT: Final = 100_000
DAY: Final = 86_400
DISPUTE_SECONDS: Final = 60 * DAY

TransferView = view(Transfer)
CardView = view(Card)
Purpose = Annotated[str, Field(max_length=140)]

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def account_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The account is active, neither locked nor closed."""
    return bool(db.get(Account, args.account_id)["status"] == "active")


@precondition
def funds_suffice(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Balance plus overdraft of the account cover the amount."""
    account = db.get(Account, args.account_id)
    return bool(_amount(db, args) <= account["balance"] + account["overdraft"])


@precondition
def payee_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The payee is active: confirmed and not blocked."""
    return bool(db.get(Payee, args.payee_id)["status"] == "active")


@precondition
def large_payment_is_verified(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A payment above 1,000.00 needs the identity of the account's holder to be verified first."""
    holder = db.get(Account, args.account_id)["customer_id"]
    return bool(_amount(db, args) <= LARGE_PAYMENT or db.get(Customer, holder)["verified"])


@precondition
def due_time_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The due time lies in the future."""
    return bool(args.due_at > sources.now)


@precondition
def transfer_is_scheduled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The transfer is scheduled and not carried out yet."""
    return bool(db.get(Transfer, args.transfer_id)["status"] == "scheduled")


@precondition
def transfer_is_completed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The transfer is completed."""
    return bool(db.get(Transfer, args.transfer_id)["status"] == "completed")


@precondition
def transfer_is_recent(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The transfer is at most 60 days old."""
    return bool(sources.now - db.get(Transfer, args.transfer_id)["due_at"] <= DISPUTE_SECONDS)


@precondition
def card_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The card is active."""
    return bool(db.get(Card, args.card_id)["status"] == "active")


@precondition
def card_is_frozen(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The card is frozen."""
    return bool(db.get(Card, args.card_id)["status"] == "frozen")


@precondition
def holder_is_verified(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The identity of the card's holder is verified."""
    account = db.get(Account, db.get(Card, args.card_id)["account_id"])
    return bool(db.get(Customer, account["customer_id"])["verified"])


@precondition
def bill_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The bill is open, not paid yet."""
    return bool(db.get(Bill, args.bill_id)["status"] == "open")


@precondition
def identity_is_unverified(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The customer's identity is not verified yet."""
    return not db.get(Customer, args.customer_id)["verified"]


def _amount(db: Database, args: Any) -> int:
    """What a payment moves: the amount it names, or the bill's."""
    amount: int = args.amount if hasattr(args, "amount") else db.get(Bill, args.bill_id)["amount"]
    return amount


# -- verbs ---------------------------------------------------------------------------------------------------------


class TransferArgs(Args):
    """Arguments of a transfer."""

    account_id: Key
    payee_id: Key
    amount: Amount
    purpose: Purpose = ""


@verb(requires=[account_is_active, payee_is_active, funds_suffice, large_payment_is_verified], returns=TransferView)
def transfer_money(db: Database, sources: EpisodeSources, args: TransferArgs) -> Row:
    """Send money from an account to an active payee now. Above 1,000.00 the identity must be verified first."""
    return _pay(db, sources, args.account_id, args.payee_id, args.amount, args.purpose)


def _pay(db: Database, sources: EpisodeSources, account_id: str, payee_id: str, amount: int, purpose: str) -> Row:
    account = db.get(Account, account_id)
    db.update(Account, account_id, balance=account["balance"] - amount)
    return db.insert(
        Transfer, account_id=account_id, payee_id=payee_id, amount=amount, purpose=purpose, status="completed",
        due_at=sources.now // DAY * DAY,
    )  # fmt: skip


class ScheduleTransferArgs(TransferArgs):
    """Arguments of a transfer to come."""

    due_at: Instant


@verb(
    requires=[account_is_active, payee_is_active, due_time_lies_ahead, large_payment_is_verified], returns=TransferView
)
def schedule_transfer(db: Database, sources: EpisodeSources, args: ScheduleTransferArgs) -> Row:
    """Plan a transfer for a later time. No money moves yet; a planned transfer can be cancelled."""
    return db.insert(
        Transfer, account_id=args.account_id, payee_id=args.payee_id, amount=args.amount, purpose=args.purpose,
        status="scheduled", due_at=args.due_at,
    )  # fmt: skip


class TransferKeyArgs(Args):
    """Arguments that name a transfer."""

    transfer_id: Key


@verb(requires=[transfer_is_scheduled], returns=TransferView)
def cancel_transfer(db: Database, sources: EpisodeSources, args: TransferKeyArgs) -> Row:
    """Cancel a scheduled transfer."""
    return db.update(Transfer, args.transfer_id, status="cancelled")


class DisputeTransferArgs(TransferKeyArgs):
    """Arguments of a dispute."""

    reason: Literal["unauthorised", "duplicate", "not_received", "wrong_amount"]


@verb(requires=[transfer_is_completed, transfer_is_recent], returns=TransferView)
def dispute_transfer(db: Database, sources: EpisodeSources, args: DisputeTransferArgs) -> Row:
    """Dispute a completed transfer of the last 60 days. An unauthorised one also blocks its payee."""
    transfer = db.get(Transfer, args.transfer_id)
    if args.reason == "unauthorised":
        db.update(Payee, transfer["payee_id"], status="blocked")
    return db.update(Transfer, args.transfer_id, status="disputed")


class FreezeCardArgs(Args):
    """Arguments of a freeze."""

    card_id: Key
    reason: Line


@verb(requires=[card_is_active], returns=CardView)
def freeze_card(db: Database, sources: EpisodeSources, args: FreezeCardArgs) -> Row:
    """Freeze an active card, so that it cannot be used."""
    return db.update(Card, args.card_id, status="frozen", frozen_reason=args.reason[:140])


class CardKeyArgs(Args):
    """Arguments that name a card."""

    card_id: Key


@verb(requires=[card_is_frozen, holder_is_verified], returns=CardView)
def unfreeze_card(db: Database, sources: EpisodeSources, args: CardKeyArgs) -> Row:
    """Make a frozen card usable again. The holder's identity must be verified first."""
    return db.update(Card, args.card_id, status="active", frozen_reason="")


class PayBillArgs(Args):
    """Arguments of paying a bill."""

    bill_id: Key
    account_id: Key


@verb(requires=[bill_is_open, account_is_active, funds_suffice, large_payment_is_verified], returns=view(Bill))
def pay_bill(db: Database, sources: EpisodeSources, args: PayBillArgs) -> Row:
    """Pay an open bill in full from an account."""
    bill = db.get(Bill, args.bill_id)
    paid = _pay(db, sources, args.account_id, bill["payee_id"], bill["amount"], f"bill {bill['number']}")
    return db.update(Bill, args.bill_id, status="paid", transfer_id=paid["transfer_id"])


class VerifyIdentityArgs(Args):
    """Arguments of an identity check."""

    customer_id: Key
    passphrase: Annotated[str, Field(min_length=1, max_length=40, json_schema_extra={PRIVATE: {"sensitive": True}})]


class Verified(Output):
    """What an identity check brought."""

    customer_id: str
    verified: bool
    confirmed_payees: int


_UNCONFIRMED = Query(select(Payee.payee_id).where(Payee.status == "unconfirmed").order_by(Payee.payee_id))


@verb(requires=[identity_is_unverified], returns=Verified)
def verify_identity(db: Database, sources: EpisodeSources, args: VerifyIdentityArgs) -> Row:
    """Prove the customer's identity with the passphrase only the customer knows. Confirms every unconfirmed payee."""
    if db.get(Customer, args.customer_id)["passphrase"] != args.passphrase:
        raise forbidden("the passphrase is wrong; ask the customer for it")
    db.update(Customer, args.customer_id, verified=1)
    waiting = db.rows(_UNCONFIRMED)
    for payee in waiting:
        db.update(Payee, payee["payee_id"], status="active")
    return {"customer_id": args.customer_id, "verified": True, "confirmed_payees": len(waiting)}


# -- queries -------------------------------------------------------------------------------------------------------


class FindTransfersArgs(Args):
    """Arguments of a search by amount and time."""

    account_id: Key
    since: Instant
    until: Instant
    minimum_amount: Amount = 1


_IN_PERIOD = (
    Transfer.account_id == bindparam("account"),
    Transfer.due_at >= bindparam("since"),
    Transfer.due_at < bindparam("until"),
)
_FOUND = Query(
    select(Transfer.__table__)
    .where(*_IN_PERIOD, Transfer.amount >= bindparam("minimum"))
    .order_by(Transfer.due_at.desc(), Transfer.transfer_id)
    .limit(100)
)


@query(returns=page_of(TransferView, "FoundTransfers"))
def find_transfers(db: Database, sources: EpisodeSources, args: FindTransfersArgs) -> Row:
    """The latest 100 transfers of an account in a period, newest first, from a least amount upwards."""
    db.get(Account, args.account_id)
    found = db.rows(_FOUND, account=args.account_id, since=args.since, until=args.until, minimum=args.minimum_amount)
    return {"items": found}


class SummarizeSpendingArgs(Args):
    """Arguments of a summary."""

    account_id: Key
    since: Instant
    until: Instant


class CategorySpending(Output):
    """Spending in one category."""

    category: str
    transfers: int
    total: int


class Spending(Output):
    """Spending by category, most first."""

    items: list[CategorySpending]


_TOTAL = func.sum(Transfer.amount).label("total")
_SPENDING = Query(
    select(Payee.category, func.count().label("transfers"), _TOTAL)
    .join_from(Transfer, Payee, Payee.payee_id == Transfer.payee_id)
    .where(*_IN_PERIOD, Transfer.status == "completed")
    .group_by(Payee.category)
    .order_by(_TOTAL.desc(), Payee.category)
)


@query(returns=Spending)
def summarize_spending(db: Database, sources: EpisodeSources, args: SummarizeSpendingArgs) -> Row:
    """Completed transfers of an account in a period, summed by the payees' category."""
    db.get(Account, args.account_id)
    return {"items": db.rows(_SPENDING, account=args.account_id, since=args.since, until=args.until)}


VERBS = [
    transfer_money, schedule_transfer, cancel_transfer, dispute_transfer, freeze_card, unfreeze_card, pay_bill,
    verify_identity,
]  # fmt: skip
QUERIES = [find_transfers, summarize_spending]
