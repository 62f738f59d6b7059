"""The bank keeps its books: money is moved, never made, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.banking.models import Account, Bill, Customer, Payee, Transfer
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database


@pytest.fixture
def bank() -> Episode:
    return EpisodeStore([load_server("banking")]).open(seed=11)[1]


def rows(bank: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = bank.state("banking").database
    return database.every(model)


def test_every_cent_that_leaves_an_account_is_in_a_transfer(bank: Episode) -> None:
    rng = stream(3, "payments")
    customer = rows(bank, Customer)[0]
    who = {"customer_id": customer["customer_id"], "passphrase": customer["passphrase"]}
    assert not dispatch(bank, "verify_identity", who).is_error
    balances = {row["account_id"]: row["balance"] for row in rows(bank, Account)}
    known = {row["transfer_id"] for row in rows(bank, Transfer)}
    accounts, payees = sorted(balances), [row["payee_id"] for row in rows(bank, Payee)]
    for bill in rows(bank, Bill):
        dispatch(bank, "pay_bill", {"bill_id": bill["bill_id"], "account_id": accounts[2]})
    faults = 0
    for _ in range(120):
        account, payee = str(rng.choice(accounts)), str(rng.choice(payees))
        payment = {"account_id": account, "payee_id": payee, "amount": int(rng.integers(1, 60_000))}
        faults += dispatch(bank, "transfer_money", payment).is_error
    spent = dict.fromkeys(balances, 0)
    for row in rows(bank, Transfer):
        if row["transfer_id"] not in known:
            spent[row["account_id"]] += row["amount"]
    for row in rows(bank, Account):
        assert balances[row["account_id"]] - row["balance"] == spent[row["account_id"]]
        assert row["balance"] >= -row["overdraft"]
    assert 0 < faults < 120
    assert all(bill["transfer_id"] for bill in rows(bank, Bill))


def test_an_unauthorised_transfer_blocks_its_payee_and_a_duplicate_does_not(bank: Episode) -> None:
    done = [row for row in rows(bank, Transfer) if row["purpose"] == "shopping" and row["status"] == "completed"][-2:]
    status = {row["payee_id"]: row["status"] for row in rows(bank, Payee)}
    for transfer, reason in zip(done, ("duplicate", "unauthorised"), strict=True):
        assert status[transfer["payee_id"]] == "active"
        result = dispatch(bank, "dispute_transfer", {"transfer_id": transfer["transfer_id"], "reason": reason})
        assert result.content["status"] == "disputed"
        status = {row["payee_id"]: row["status"] for row in rows(bank, Payee)}
    assert status[done[1]["payee_id"]] == "blocked"


def test_no_tool_shows_the_passphrase(bank: Episode) -> None:
    secret = rows(bank, Customer)[0]["passphrase"]
    account = rows(bank, Account)[0]["account_id"]
    for name, tool in bank.tools.items():
        properties = tool.input_schema()["properties"]
        arguments: dict[str, Any] = {"account_id": account} if "account_id" in properties else {}
        assert secret not in dispatch(bank, name, arguments).text


def test_the_world_holds_its_stories(bank: Episode) -> None:
    accounts, payees = rows(bank, Account), rows(bank, Payee)
    assert [row["status"] for row in accounts].count("locked") == 1
    assert {row["status"] for row in payees} == {"active", "unconfirmed", "blocked"}
    now = bank.state("banking").sources.now
    assert [row["due_at"] < now for row in rows(bank, Bill)] == [True, False, False]
    assert any("SYSTEM" in row["purpose"] for row in rows(bank, Transfer))
