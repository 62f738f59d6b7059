"""What is said can be read back, and nothing else is read into it; wordings say what they are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.envs.tools.synthesis.phrases import wording
from palaestra.envs.tools.synthesis.speaking import says, ways
from palaestra.mcp_servers.framework.values import to_iso

KINDS = st.sampled_from(["money", "raw", "minutes", "instant", "day", "quoted"])
SECONDS = st.integers(0, 2 * 10**9)
VALUES = st.one_of(
    st.integers(0, 10**9), SECONDS.map(to_iso), SECONDS.map(lambda seconds: to_iso(seconds)[:10]),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20), st.booleans(),
    st.sampled_from(["not_received", "in_progress"]),
)  # fmt: skip


@given(KINDS, VALUES)
def test_every_way_of_saying_a_value_says_it(kind: str, value: object) -> None:
    for way in ways(kind, value):
        assert says(f"Please take {way}, and go on.", value), way
        assert says(f"{way}", value)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_no_amount_is_read_into_another(said: int, other: int) -> None:
    text = f"Send {ways('money', said)[-1]} to her."
    taken = {said, *([said // 100] if said % 100 == 0 else [])}
    if other not in taken and str(other) not in text:
        assert not says(text, other)


@pytest.mark.parametrize(
    ("text", "value", "heard"),
    [
        ("pay 12.50 now", 1250, True),
        ("pay 112.50 now", 1250, False),
        ("pay 12.505 now", 1250, False),
        ("pay 1,250.00 now", 125000, True),
        ("1250 steps", 1250, True),
        ("for an hour and a half", 90, True),
        ("on 5 March 2026 at 09:00 UTC", "2026-03-05T09:00:00Z", True),
        ("on 15 March 2026 at 09:00 UTC", "2026-03-25T09:00:00Z", False),
        ("it was not received", "not_received", True),
        ("account acc_1", "acc_1", True),
        ("account", "acc_1", False),
    ],
)
def test_what_is_heard(text: str, value: object, heard: bool) -> None:
    assert says(text, value) is heard


def test_a_wording_suits_exactly_what_it_can_say() -> None:
    one = wording("Send {amount} from {account_id?it}[[ with the note {purpose}]].")
    assert one.suits(["amount", "account_id"])
    assert one.suits(["amount", "account_id", "purpose"])
    assert not one.suits(["amount"])
    assert not one.suits(["amount", "account_id", "due_at"])
    said = {"amount": "12.50", "account_id": "Everyday"}
    assert one.fill(said) == "Send 12.50 from Everyday."
    assert one.fill(said, ["account_id", "amount"]) == "Send 12.50 from it."
    assert one.fill({**said, "purpose": "rent"}) == "Send 12.50 from Everyday with the note rent."
