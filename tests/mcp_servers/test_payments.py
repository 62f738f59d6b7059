"""The provider's books balance and its webhooks keep their order, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.payments import SERVER
from palaestra.mcp_servers.payments.models import (
    Client,
    Invoice,
    Merchant,
    Payment,
    Refund,
    WebhookDelivery,
    WebhookEndpoint,
)

MAY = "2026-05-01T00:00:00Z"


@pytest.fixture
def provider() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(provider: Episode, model: Any) -> list[dict[str, Any]]:
    return provider.state("payments").database.every(model)


def keys(provider: Episode, model: Any, name: str) -> list[str]:
    return [row[name] for row in rows(provider, model)]


def play(provider: Episode, calls: int) -> int:
    """Random drafts, sendings, captures, refunds, voids and retries; how many were refused."""
    rng = stream(5, "invoices")
    clients = keys(provider, Client, "client_id")
    refused = 0
    for _ in range(calls):
        invoice = str(rng.choice(keys(provider, Invoice, "invoice_id")[-30:]))
        payment = {"payment_id": str(rng.choice(keys(provider, Payment, "payment_id")[-12:]))}
        delivery = str(rng.choice(keys(provider, WebhookDelivery, "webhook_delivery_id")))
        amount = int(rng.integers(1, 40_000))
        new = {"client_id": str(rng.choice(clients)), "memo": "play", "amount": amount, "due_at": MAY}
        tool, arguments = (
            ("create_invoice", new), ("send_invoice", {"invoice_id": invoice}), ("capture_payment", payment),
            ("capture_payment", {**payment, "amount": amount}), ("void_invoice", {"invoice_id": invoice}),
            ("refund_payment", {**payment, "amount": amount, "reason": "requested"}),
            ("retry_webhook_delivery", {"webhook_delivery_id": delivery}),
        )[int(rng.integers(7))]  # fmt: skip
        refused += dispatch(provider, tool, arguments).is_error
        if rng.random() < 0.1:
            provider.advance_clock(1_800)
    return refused


def test_the_balance_is_what_was_captured_less_fees_and_refunds(provider: Episode) -> None:
    before = rows(provider, Merchant)[0]
    payments = {row["payment_id"]: row for row in rows(provider, Payment)}
    assert 0 < play(provider, 400) < 400
    after = rows(provider, Merchant)[0]
    captured = refunded = 0
    for row in rows(provider, Payment):
        old = payments.get(row["payment_id"], {"captured": 0, "refunded": 0})
        captured += row["captured"] - old["captured"]
        refunded += row["refunded"] - old["refunded"]
    assert captured > 0 < refunded
    assert after["balance"] - before["balance"] == captured - refunded - (after["fees"] - before["fees"])
    assert 0 < after["fees"] - before["fees"] <= captured * 15 // 1000


def test_invoices_payments_and_refunds_agree(provider: Episode) -> None:
    play(provider, 400)
    paid = dict.fromkeys(keys(provider, Invoice, "invoice_id"), 0)
    given_back = dict.fromkeys(keys(provider, Payment, "payment_id"), 0)
    for row in rows(provider, Refund):
        given_back[row["payment_id"]] += row["amount"]
    for row in rows(provider, Payment):
        assert row["refunded"] == given_back[row["payment_id"]]
        paid[row["invoice_id"]] += row["captured"] - row["refunded"]
    assert {row["invoice_id"]: row["amount_paid"] for row in rows(provider, Invoice)} == paid
    statuses = {row["status"] for row in rows(provider, Invoice)}
    assert statuses == {"draft", "sent", "paid", "void"}


def test_deliveries_overtake_none_that_has_failed(provider: Episode) -> None:
    known = set(keys(provider, WebhookDelivery, "webhook_delivery_id"))
    play(provider, 400)
    deliveries = sorted(rows(provider, WebhookDelivery), key=lambda row: int(row["sequence"]))
    assert any(row["status"] == "delivered" for row in deliveries if row["webhook_delivery_id"] not in known)
    for endpoint in keys(provider, WebhookEndpoint, "webhook_endpoint_id"):
        waiting = [row["status"] == "failed" for row in deliveries if row["webhook_endpoint_id"] == endpoint]
        assert waiting == sorted(waiting)


def test_a_card_on_file_is_authorised_at_sending_and_only_then(provider: Episode) -> None:
    for card in (0, 1):
        client = next(row for row in rows(provider, Client) if row["card_on_file"] == card)["client_id"]
        new = {"client_id": client, "memo": "print", "amount": 700, "due_at": MAY}
        invoice = dispatch(provider, "create_invoice", new).content["invoice_id"]
        assert dispatch(provider, "list_payments", {"invoice_id": invoice}).content["items"] == []
        assert dispatch(provider, "send_invoice", {"invoice_id": invoice}).content["status"] == "sent"
        found = dispatch(provider, "list_payments", {"invoice_id": invoice}).content["items"]
        assert [payment["amount"] for payment in found] == [700] * card


def test_the_world_holds_its_stories(provider: Episode) -> None:
    now = provider.state("payments").sources.now
    assert sorted(row["down_until"] > now for row in rows(provider, WebhookEndpoint)) == [False, False, True]
    assert "abandoned" in {row["status"] for row in rows(provider, WebhookDelivery)}
    assert max(row["captured"] for row in rows(provider, Payment)) > rows(provider, Merchant)[0]["balance"]
    assert any("SYSTEM" in row["memo"] for row in rows(provider, Invoice))
