"""The stages of a deal: which follows which, what each asks for, and how likely a deal in it is to be won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NEXT: Final[dict[str, tuple[str, ...]]] = {
    "discovery": ("proposal", "lost"),
    "proposal": ("negotiation", "lost"),
    "negotiation": ("lost",),  # or won, which is a decision of its own
}
REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "proposal": ("need", "amount"),
    "negotiation": ("need", "amount", "decision_maker_id", "expected_close"),
    "lost": ("lost_reason",),
}
PERCENT: Final = {"discovery": 10, "proposal": 40, "negotiation": 70}


def missing_fields(deal: Mapping[str, Any], stage: str) -> list[str]:
    """What a deal still lacks for a stage.

    >>> missing_fields({"need": "tracking", "amount": None}, "proposal")
    ['amount']
    """
    return [name for name in REQUIRED[stage] if deal[name] in (None, "")]
