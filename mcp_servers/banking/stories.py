"""Scenes at the bank that use every tool and meet every rule."""

from __future__ import annotations

from palaestra.mcp_servers.banking.models import Customer
from palaestra.mcp_servers.framework.stories import Teller

YEAR = {"since": "2025-03-02T00:00:00Z", "until": "2027-03-02T00:00:00Z"}
UNKNOWN = "acc_1"
WRONG = "open sesame"


def pay_a_new_payee(tell: Teller) -> None:
    """A new payee is confirmed by the passphrase; then a large sum can go there."""
    rich, poor, _, locked = tell.items("list_bank_accounts")
    new = tell.call("create_payee", name="Anna Holm", iban="DE02120300000000202051")
    tell.refused("conflict", "create_payee", name="Twin", iban="DE02120300000000202051")
    tell.refused("invalid_arguments", "create_payee", name="Anna Holm", iban="not an account")
    payment = {"payee_id": new["payee_id"], "amount": 150_000}
    tell.refused("payee_is_active", "transfer_money", account_id=rich["account_id"], **payment)
    tell.refused("account_is_active", "transfer_money", account_id=locked["account_id"], **payment)
    tell.refused("not_found", "transfer_money", account_id=UNKNOWN, **payment)
    customer = tell.known(Customer)[0]
    tell.refused("forbidden", "verify_identity", customer_id=customer["customer_id"], passphrase=WRONG)
    friend = tell.items("search_payees", text="sofia")[0]["payee_id"]
    tell.refused(
        "large_payment_is_verified", "transfer_money", account_id=rich["account_id"], payee_id=friend, amount=100_001
    )
    who = {"customer_id": customer["customer_id"], "passphrase": customer["passphrase"]}
    tell.call("verify_identity", **who)
    tell.refused("identity_is_unverified", "verify_identity", **who)
    tell.call("transfer_money", account_id=rich["account_id"], purpose="piano", **payment)
    tell.refused("funds_suffice", "transfer_money", account_id=poor["account_id"], **payment)


def plan_and_cancel(tell: Teller) -> None:
    """A transfer is planned, cancelled, and cannot be cancelled again."""
    rich, _, _, locked = (account["account_id"] for account in tell.items("list_bank_accounts"))
    home, friend = (tell.items("search_payees", text=name)[0]["payee_id"] for name in ("NORDLICHT", "ben"))
    when = {"amount": 5_000, "due_at": "2026-03-05T09:00:00Z"}
    plan = {"account_id": rich, "payee_id": home, **when}
    tell.refused("account_is_active", "schedule_transfer", **{**plan, "account_id": locked})
    tell.refused("payee_is_active", "schedule_transfer", **{**plan, "payee_id": friend})
    tell.refused("due_time_lies_ahead", "schedule_transfer", **{**plan, "due_at": "2026-03-01T09:00:00Z"})
    tell.refused("large_payment_is_verified", "schedule_transfer", **{**plan, "amount": 100_001})
    planned = tell.call("schedule_transfer", **plan)["transfer_id"]
    tell.refused("transfer_is_completed", "dispute_transfer", transfer_id=planned, reason="duplicate")
    tell.call("cancel_transfer", transfer_id=planned)
    tell.refused("transfer_is_scheduled", "cancel_transfer", transfer_id=planned)


def dispute_the_doubled_one(tell: Teller) -> None:
    """One of two equal transfers is disputed; later it is too late for the other, and its payee is blocked."""
    rich = tell.items("list_bank_accounts", kind="checking")[0]["account_id"]
    found = tell.items("find_transfers", account_id=rich, minimum_amount=2_000, **YEAR)
    recent = [transfer for transfer in found if transfer["status"] == "completed"]
    tell.call("dispute_transfer", transfer_id=recent[0]["transfer_id"], reason="unauthorised")
    tell.refused("payee_is_active", "transfer_money", account_id=rich, payee_id=recent[0]["payee_id"], amount=100)
    tell.wait(61 * 86_400)
    tell.refused("transfer_is_recent", "dispute_transfer", transfer_id=recent[1]["transfer_id"], reason="duplicate")
    tell.call("summarize_spending", account_id=rich, **YEAR)
    tell.call("list_transfers", account_id=rich, status="disputed", limit=5)


def lose_and_find_a_card(tell: Teller) -> None:
    """A card is frozen; it takes the passphrase to use it again."""
    card, frozen, _ = (card["card_id"] for card in tell.items("list_bank_cards"))
    tell.call("freeze_card", card_id=card, reason="left it in the café")
    tell.refused("card_is_active", "freeze_card", card_id=frozen, reason="again")
    tell.refused("holder_is_verified", "unfreeze_card", card_id=card)
    customer = tell.known(Customer)[0]
    tell.call("verify_identity", customer_id=customer["customer_id"], passphrase=customer["passphrase"])
    tell.call("unfreeze_card", card_id=card)
    tell.refused("card_is_frozen", "unfreeze_card", card_id=card)


def pay_the_bills(tell: Teller) -> None:
    """The overdue bill is paid once, from the account that can; the large one needs the passphrase."""
    rich, poor, _, locked = (account["account_id"] for account in tell.items("list_bank_accounts"))
    overdue, _, large = (bill["bill_id"] for bill in tell.items("list_bills", status="open"))
    tell.refused("funds_suffice", "pay_bill", bill_id=overdue, account_id=poor)
    tell.refused("account_is_active", "pay_bill", bill_id=overdue, account_id=locked)
    tell.refused("large_payment_is_verified", "pay_bill", bill_id=large, account_id=rich)
    before = tell.call("get_bank_account", account_id=rich)["balance"]
    paid = tell.call("pay_bill", bill_id=overdue, account_id=rich)
    assert paid["status"] == "paid"  # noqa: S101 - a story holds its server to its rules
    tell.refused("bill_is_open", "pay_bill", bill_id=overdue, account_id=rich)
    after = tell.call("get_bank_account", account_id=rich)["balance"]
    assert before - after == paid["amount"]  # noqa: S101


STORIES = [pay_a_new_payee, plan_and_cancel, dispute_the_doubled_one, lose_and_find_a_card, pay_the_bills]


# -- chains --------------------------------------------------------------------------------------------------------


def _verify(tell: Teller) -> None:
    customer = tell.known(Customer)[0]
    tell.call("verify_identity", customer_id=customer["customer_id"], passphrase=customer["passphrase"])


def pay_someone_new_and_regret_it(tell: Teller) -> None:
    """Name a payee, have it confirmed by the passphrase, pay, and dispute the payment."""
    rich = tell.items("list_bank_accounts")[0]["account_id"]
    payee = tell.call("create_payee", name="Anna Holm", iban="DE02120300000000202051")["payee_id"]
    _verify(tell)
    paid = tell.call("transfer_money", account_id=rich, payee_id=payee, amount=150_000, purpose="piano")
    tell.call("dispute_transfer", transfer_id=paid["transfer_id"], reason="not_received")


def plan_for_someone_new_and_call_it_off(tell: Teller) -> None:
    """Name a payee, have it confirmed, plan a transfer to it, and cancel the plan."""
    rich = tell.items("list_bank_accounts")[0]["account_id"]
    payee = tell.call("create_payee", name="Lars Bergström", iban="SE4550000000058398257466")["payee_id"]
    _verify(tell)
    plan = {"account_id": rich, "payee_id": payee, "amount": 5_000, "due_at": "2026-03-05T09:00:00Z"}
    planned = tell.call("schedule_transfer", **plan)
    tell.call("cancel_transfer", transfer_id=planned["transfer_id"])


def use_a_frozen_card_and_freeze_it_again(tell: Teller) -> None:
    """A frozen card works again after the identity check, and is frozen again."""
    frozen = tell.items("list_bank_cards", status="frozen")[0]["card_id"]
    _verify(tell)
    tell.call("unfreeze_card", card_id=frozen)
    tell.call("freeze_card", card_id=frozen, reason="lost again")


def settle_the_large_bill(tell: Teller) -> None:
    """The large bill is paid once the identity is verified, and turns out to be wrong."""
    rich = tell.items("list_bank_accounts")[0]["account_id"]
    large = max(tell.items("list_bills", status="open"), key=lambda bill: int(bill["amount"]))
    _verify(tell)
    paid = tell.call("pay_bill", bill_id=large["bill_id"], account_id=rich)
    tell.call("dispute_transfer", transfer_id=paid["transfer_id"], reason="wrong_amount")


def pay_the_rent_twice(tell: Teller) -> None:
    """A payment sent by mistake is disputed as a duplicate."""
    rich = tell.items("list_bank_accounts")[0]["account_id"]
    home = tell.items("search_payees", text="Nordlicht")[0]["payee_id"]
    paid = tell.call("transfer_money", account_id=rich, payee_id=home, amount=70_000, purpose="rent")
    tell.call("dispute_transfer", transfer_id=paid["transfer_id"], reason="duplicate")


CHAINS = [
    pay_someone_new_and_regret_it, plan_for_someone_new_and_call_it_off, use_a_frozen_card_and_freeze_it_again,
    settle_the_large_bill, pay_the_rent_twice,
]  # fmt: skip
