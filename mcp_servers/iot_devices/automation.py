"""Actions and what follows from them: a change of state sets off rules, whose scenes change more.

Each rule runs at most once per call, in the order it was set off, so that every call ends, however rules are knotted.
What a rule cannot do is skipped and reported; it is never a reason for the call to fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.iot_devices.abilities import TARGETS, obstacles
from palaestra.mcp_servers.iot_devices.models import Device, Rule, SceneAction


@dataclass(frozen=True, slots=True)
class Action:
    """What a device is to become, with which other columns, and the rule that wants it, if one does."""

    device_id: str
    becomes: str
    level: int = 0
    rule_id: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


class DeviceChange(Output):
    """A device that changed; the rule that did it, or null if the call itself did."""

    device_id: str
    name: str
    state: str
    level: int
    rule_id: str | None


class SkippedAction(Output):
    """What a rule wanted and could not do."""

    device_id: str
    becomes: str
    rule_id: str
    why: str


class Changes(Output):
    """Everything a call changed, in order, and what rules could not do."""

    changes: list[DeviceChange]
    skipped: list[SkippedAction]


_RULES = Query(
    select(Rule.rule_id, Rule.scene_id)
    .where(Rule.device_id == bindparam("device"), Rule.becomes == bindparam("becomes"), Rule.enabled == 1)
    .order_by(Rule.rule_id)
)
_ACTIONS = Query(
    select(SceneAction.device_id, SceneAction.becomes, SceneAction.level)
    .where(SceneAction.scene_id == bindparam("scene"))
    .order_by(SceneAction.scene_action_id)
)


def scene_actions(db: Database, scene_id: str, rule_id: str | None = None) -> list[Action]:
    """The actions of a scene, in order."""
    return [Action(**row, rule_id=rule_id) for row in db.rows(_ACTIONS, scene=scene_id)]


def act(db: Database, sources: EpisodeSources, actions: Iterable[Action]) -> Row:
    """Do what the caller has found possible, and let the rules do what follows; the fields of `Changes`."""
    pending = deque(actions)
    fired: set[str] = set()
    changes: list[Row] = []
    skipped: list[Row] = []
    while pending:
        action = pending.popleft()
        before = db.get(Device, action.device_id)
        if action.rule_id is not None:
            obstacle = next(obstacles(db, sources, before, action.becomes, action.level), None)
            if obstacle is not None:
                wanted = {"device_id": action.device_id, "becomes": action.becomes, "rule_id": action.rule_id}
                skipped.append({**wanted, "why": obstacle.value})
                continue
        after = _settled(before, action)
        if (before["state"], before["level"]) == after and not action.columns:
            continue
        state, level = after
        db.update(Device, action.device_id, state=state, level=level, **action.columns)
        shown = {"device_id": action.device_id, "name": before["name"], "state": state, "level": level}
        changes.append({**shown, "rule_id": action.rule_id})
        if state != before["state"]:
            for rule in db.rows(_RULES, device=action.device_id, becomes=state):
                if rule["rule_id"] not in fired:
                    fired.add(rule["rule_id"])
                    pending.extend(scene_actions(db, rule["scene_id"], rule["rule_id"]))
    return {"changes": changes, "skipped": skipped}


def _settled(device: Row, action: Action) -> tuple[str, int]:
    """State and level of a device after an action. A locked door that is told to shut stays locked."""
    match action.becomes:
        case "on" | "open":
            return action.becomes, max(1, action.level)
        case "closed" if device["state"] == "locked":
            return "locked", 0
        case becomes if becomes in TARGETS:
            return becomes, action.level
        case becomes if device["kind"] == "thermostat":
            return becomes, device["level"]  # off; it keeps its target
        case becomes:
            return becomes, 0
