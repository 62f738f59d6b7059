"""The calendar's arithmetic against counting every minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.calendar.slots import PERIOD, Span, all_occurrences, free_slots, occurrences, overlapping

HOUR = 3600
events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["evt_a", "evt_b"]),
        "starts_at": st.integers(0, 100).map(lambda n: n * 5400),
        "minutes": st.integers(5, 1440),
        "repeats": st.sampled_from(["never", "daily", "weekly"]),
        "occurrences": st.integers(1, 6),
    }
)


def spans_of(event: dict[str, int | str]) -> list[Span]:
    """Occurrences without any shortcut."""
    repeats = str(event["repeats"])
    count = int(event["occurrences"]) if repeats != "never" else 1
    starts = [int(event["starts_at"]) + index * PERIOD[repeats] for index in range(count)]
    return [Span(start, start + int(event["minutes"]) * 60) for start in starts]


@given(events, st.integers(0, 200), st.integers(1, 200))
def test_occurrences_are_those_that_touch_the_stretch(event: dict[str, int | str], start: int, length: int) -> None:
    within = Span(start * HOUR, (start + length) * HOUR)
    expected = [span for span in spans_of(event) if span.end > within.start and span.start < within.end]
    assert list(occurrences(event, within)) == expected
    assert list(all_occurrences(event)) == spans_of(event)
    if expected:
        assert list(occurrences(event, within, {(str(event["event_id"]), expected[0].start)})) == expected[1:]


@given(events, events)
def test_overlap_is_symmetric_and_right(first: dict[str, int | str], second: dict[str, int | str]) -> None:
    first, second = {**first, "event_id": "evt_1"}, {**second, "event_id": "evt_2"}
    overlap = any(a.start < b.end and b.start < a.end for a in spans_of(first) for b in spans_of(second))
    assert (overlapping(first, [first, second], ()) is not None) is overlap
    assert (overlapping(second, [first], ()) is not None) is overlap


@given(st.lists(st.tuples(st.integers(0, 48), st.integers(1, 8))), st.integers(1, 6))
def test_free_slots_are_the_gaps(busy: list[tuple[int, int]], length: int) -> None:
    within = Span(0, 48)
    taken = {hour for start, hours in busy for hour in range(start, start + hours)}
    slots = list(free_slots([Span(start, start + hours) for start, hours in busy], within, length))
    free = {hour for slot in slots for hour in range(slot.start, slot.end)}
    assert not free & taken
    assert all(slot.end - slot.start >= length for slot in slots)
    for start in range(48 - length + 1):
        if not taken & set(range(start, start + length)):
            assert set(range(start, start + length)) <= free
