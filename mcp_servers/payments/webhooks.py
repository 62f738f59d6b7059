"""Webhook deliveries: each endpoint gets its events in order, so a failed one keeps the later ones waiting.

A delivery that failed may be tried again: the first time at once, then after 10, 20 and 40 minutes. The fifth failure
gives it up and lets the later ones pass.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.payments.models import WebhookDelivery, WebhookEndpoint

ATTEMPTS: Final = 5
PAUSE: Final = 600
QUEUED: Final = "waits for an older delivery"
UNREACHABLE: Final = "503 Service Unavailable"

_ENDPOINT = Query(select(WebhookEndpoint.__table__).where(WebhookEndpoint.topic == bindparam("topic")))
_LATEST = Query(
    select(func.coalesce(func.max(WebhookDelivery.sequence), 0).label("sequence")).where(
        WebhookDelivery.webhook_endpoint_id == bindparam("endpoint")
    )
)
_OLDEST_FAILED = Query(
    select(WebhookDelivery.__table__)
    .where(WebhookDelivery.webhook_endpoint_id == bindparam("endpoint"), WebhookDelivery.status == "failed")
    .order_by(WebhookDelivery.sequence, WebhookDelivery.webhook_delivery_id)
    .limit(1)
)


def announce(db: Database, sources: EpisodeSources, event: str, subject: str) -> None:
    """Tell an event to the endpoint of its topic, or queue it behind those that failed."""
    endpoint = db.first(_ENDPOINT, topic=event.partition(".")[0])
    if endpoint is None:
        return
    key = endpoint["webhook_endpoint_id"]
    queued = oldest_failed(db, key) is not None
    delivery = db.insert(
        WebhookDelivery, webhook_endpoint_id=key, sequence=db.scalar(_LATEST, endpoint=key) + 1, event=event,
        subject=subject, status="failed", last_error=QUEUED, last_attempt_at=sources.now,
    )  # fmt: skip
    if not queued:
        attempt(db, sources, delivery)


def oldest_failed(db: Database, endpoint_id: str) -> Row | None:
    """The delivery that an endpoint must get next."""
    return db.first(_OLDEST_FAILED, endpoint=endpoint_id)


def attempt(db: Database, sources: EpisodeSources, delivery: Row) -> Row:
    """Try a delivery: it succeeds unless its endpoint is down."""
    endpoint = db.get(WebhookEndpoint, delivery["webhook_endpoint_id"])
    attempts = delivery["attempts"] + 1
    reached = endpoint["down_until"] <= sources.now
    unreached = "abandoned" if attempts == ATTEMPTS else "failed"
    return db.update(
        WebhookDelivery, delivery["webhook_delivery_id"], status="delivered" if reached else unreached,
        attempts=attempts, last_error="" if reached else UNREACHABLE, last_attempt_at=sources.now,
    )  # fmt: skip


def due_at(delivery: Row) -> int:
    """From when on a failed delivery may be tried again.

    >>> [due_at({"attempts": attempts, "last_attempt_at": 0}) // 60 for attempts in range(5)]
    [0, 0, 10, 20, 40]
    """
    pause = PAUSE * 2 ** (delivery["attempts"] - 2) if delivery["attempts"] > 1 else 0
    return int(delivery["last_attempt_at"] + pause)
