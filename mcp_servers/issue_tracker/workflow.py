"""The two workflows: which status may follow which. The ends have no way out; reopening is a decision of its own."""

from __future__ import annotations

from typing import Final

FINISHED: Final = ("done", "cancelled")
WORKED_ON: Final = ("in_progress", "in_review")

EDGES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "scrum": {
        "open": ("in_progress", "cancelled"),
        "in_progress": ("open", "in_review", "cancelled"),
        "in_review": ("in_progress", "done"),
    },
    "kanban": {
        "open": ("in_progress", "cancelled"),
        "in_progress": ("open", "done", "cancelled"),
    },
}


def next_statuses(workflow: str, status: str) -> tuple[str, ...]:
    """Where an issue may go.

    >>> next_statuses("kanban", "in_progress")
    ('open', 'done', 'cancelled')
    >>> next_statuses("scrum", "done")
    ()
    """
    return EDGES[workflow].get(status, ())
