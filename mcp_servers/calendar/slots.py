"""When events take place: occurrences of recurring events, overlaps and free time. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from palaestra.mcp_servers.framework.sql import Row

PERIOD: Final = {"never": 0, "daily": 86_400, "weekly": 7 * 86_400}


class Span(NamedTuple):
    """A stretch of time, seconds since the epoch; the end is not part of it."""

    start: int
    end: int


def occurrences(event: Row, within: Span, cancelled: Collection[tuple[str, int]] = ()) -> Iterator[Span]:
    """The occurrences of an event that touch a stretch of time, in order, without the cancelled ones.

    Cost: the occurrences inside; those before are skipped by a division.
    """
    length = event["minutes"] * 60
    period = PERIOD[event["repeats"]]
    first = max(0, (within.start - length - event["starts_at"]) // period) if period else 0
    for index in range(first, event["occurrences"] if period else 1):
        start = event["starts_at"] + index * period
        if start >= within.end:
            return
        if start + length > within.start and (event["event_id"], start) not in cancelled:
            yield Span(start, start + length)


def all_occurrences(event: Row) -> Iterator[Span]:
    """Every occurrence of an event."""
    return occurrences(event, Span(0, event["starts_at"] + 60 * PERIOD["weekly"] + 86_400))


def overlapping(wanted: Row, others: Iterable[Row], cancelled: Collection[tuple[str, int]]) -> Row | None:
    """The first other event one of whose occurrences overlaps one of the wanted event's, or None."""
    spans = list(all_occurrences(wanted))
    whole = Span(spans[0].start, spans[-1].end)
    for other in others:
        if other["event_id"] == wanted["event_id"]:
            continue
        for taken in occurrences(other, whole, cancelled):
            if any(taken.start < span.end and span.start < taken.end for span in spans):
                return other
    return None


def free_slots(busy: Iterable[Span], within: Span, length: int) -> Iterator[Span]:
    """The gaps of at least `length` seconds between busy stretches."""
    at = within.start
    for span in sorted(busy):
        if span.start - at >= length:
            yield Span(at, span.start)
        at = max(at, span.end)
    if within.end - at >= length:
        yield Span(at, within.end)
