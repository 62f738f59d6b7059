"""What a turn came to: the agent's change set and the answers it has seen, against the gold ones. Pure functions.

Change sets are compared as multisets of cells in which a row that the episode created is named by its content, so
that neither the order of creation nor the ids drawn for it matter.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.records import Cell, GoldCall, TaskRecord
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.columns import Role
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.sql import Row, RowKey

NEW: Final = "new:"
_ROUNDS: Final = 6
"""How far names look along references; fixed, so that names of different episodes can be compared."""
_WORD: Final = re.compile(r"\w+")
_Id = tuple[str, str]
"""(server, primary key)."""


@dataclass(frozen=True, slots=True)
class _Changed:
    """One row of a change set; `created` unless the seed made it."""

    server: str
    table: str
    key: str
    created: bool
    values: Mapping[str, Any] | None

    @property
    def id(self) -> _Id:
        return self.server, self.key


def changes_of(episode: Episode) -> dict[str, tuple[Cell, ...]]:
    """The canonical change set of an episode since its seed; see `canonical_changes`."""
    changes = episode.changes()
    return canonical_changes(changes, episode.servers, {name: episode.state(name).image.seeded for name in changes})


def created_ids(episode: Episode) -> frozenset[str]:
    """Keys of the rows that were made in an episode and are still there."""
    changes = episode.changes()
    return new_keys(changes, {name: episode.state(name).image.seeded for name in changes})


def new_keys(
    changes: Mapping[str, Mapping[RowKey, Row | None]], seeded: Mapping[str, Collection[RowKey]]
) -> frozenset[str]:
    """Keys in a change set that the seed did not make."""
    return frozenset(at[1] for server, rows in changes.items() for at in rows if at not in seeded[server])


def canonical_changes(
    changes: Mapping[str, Mapping[RowKey, Row | None]],
    servers: Mapping[str, ToolServer],
    seeded: Mapping[str, Mapping[RowKey, Sequence[Any]]],
) -> dict[str, tuple[Cell, ...]]:
    """`Episode.changes()` as sorted cells (table, row, column, value) per server; servers without changes left out.

    A row of the seed has one cell per column that differs, or the single cell (table, row, "", None) if it is gone.
    A created row has one per column but its key; it, and every mention of its key, is called "new:" and a hash of its
    content. Volatile columns are left out.

    `seeded` holds the rows of the seed by key, in column order: `Image.seeded` of every server in `changes`.

    Cost: linear in the values changed, with some hashes per created row.
    """
    rows = list(_changed_rows(changes, servers, seeded))
    names = _named([row for row in rows if row.created], rows)
    cells: dict[str, list[Cell]] = {}
    for row in rows:
        shown = names.get(row.id, row.key)
        if row.values is None:
            cells.setdefault(row.server, []).append((row.table, shown, "", None))
        else:
            renamed = _rename(row, names)
            cells.setdefault(row.server, []).extend((row.table, shown, name, value) for name, value in renamed.items())
    return {server: tuple(sorted(found, key=canonical_json)) for server, found in sorted(cells.items())}


def _changed_rows(
    changes: Mapping[str, Mapping[RowKey, Row | None]],
    servers: Mapping[str, ToolServer],
    seeded: Mapping[str, Mapping[RowKey, Sequence[Any]]],
) -> Iterable[_Changed]:
    for server, rows in changes.items():
        for (table, key), row in rows.items():
            statements = servers[server].schema.by_name[table]
            before = seeded[server].get((table, key))
            values: dict[str, Any] | None = None
            if row is not None:
                known = dict(zip(statements.columns, before, strict=True)) if before is not None else None
                values = {
                    name: row[name]
                    for name in (statements.columns[index] for index in statements.goal_indices)
                    if name != statements.key and (known is None or known[name] != row[name])
                }
            yield _Changed(server, table, key, before is None, values)


def _named(created: Sequence[_Changed], rows: Sequence[_Changed]) -> dict[_Id, str]:
    """A name for every created row that depends on its content and on what it refers to.

    Rows of equal content are told apart by what refers to them; those that still cannot be are interchangeable.
    """
    if not created:
        return {}
    names = _refine(created, {})
    counts = Counter(names.values())
    tied = {row_id for row_id, name in names.items() if counts[name] > 1}
    mentions: dict[_Id, list[tuple[str, str, str]]] = {}
    for row in rows if tied else ():
        for column, value in (row.values or {}).items():
            for word in _WORD.findall(value) if isinstance(value, str) else ():
                if (row.server, word) in tied:
                    mention = (row.table, names.get(row.id, row.key), column)
                    mentions.setdefault((row.server, word), []).append(mention)
    return _refine(created, {row_id: sorted(found) for row_id, found in mentions.items()}) if mentions else names


def _refine(created: Sequence[_Changed], marks: Mapping[_Id, Any]) -> dict[_Id, str]:
    """Names by content: in every round a mention is replaced by the name that row had in the round before."""
    names = {row.id: NEW for row in created}
    for _ in range(_ROUNDS):
        names = {
            row.id: NEW + _hash([row.server, row.table, _rename(row, names), marks.get(row.id)]) for row in created
        }
    return names


def _rename(row: _Changed, names: Mapping[_Id, str]) -> dict[str, Any]:
    """The row's values, every word that is the key of a created row replaced; its own server's keys come first."""
    if not names:
        return dict(row.values or {})
    known = {key: name for (_, key), name in names.items()}
    known |= {key: name for (server, key), name in names.items() if server == row.server}
    return {
        column: _WORD.sub(lambda word: known.get(word[0], word[0]), value) if isinstance(value, str) else value
        for column, value in (row.values or {}).items()
    }


def result_rows(
    spec: ToolSpec, value: Mapping[str, Any], created: Collection[str], server: ToolServer | None = None
) -> tuple[str, ...]:
    """Hashes of the rows a READ returned: of each of its `items`, else of the whole object.

    Volatile columns are left out and the ids in `created` masked. A row that shows its key hashes alike whatever tool
    returned it; anything else, a count say, is the tool's own answer. Nothing found is no rows. `created` are the ids
    of rows made in this episode; `server` is only needed for a tool of a server that is not in the catalog.
    """
    volatile, keys = _columns(spec.server) if server is None else _columns_of(server)
    found = value.get("items", [value])
    rows = found if isinstance(found, list) else [value]
    return tuple(_row(spec, row, volatile, keys, created) for row in rows)


def _row(spec: ToolSpec, row: Any, volatile: frozenset[str], keys: frozenset[str], created: Collection[str]) -> str:
    shown = _masked(row, volatile, created)
    of_table = isinstance(row, dict) and not keys.isdisjoint(row)
    return _hash([spec.server if of_table else spec.name, shown])


def _masked(value: Any, volatile: Collection[str], created: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {name: _masked(member, volatile, created) for name, member in value.items() if name not in volatile}
    if isinstance(value, list):
        return [_masked(member, volatile, created) for member in value]
    if created and isinstance(value, str):
        return _WORD.sub(lambda word: NEW if word[0] in created else word[0], value)
    return value


@cache
def _columns(server: str) -> tuple[frozenset[str], frozenset[str]]:
    return _columns_of(load_server(server)) if server in CATALOG else (frozenset(), frozenset())


def _columns_of(server: ToolServer) -> tuple[frozenset[str], frozenset[str]]:
    """(names of volatile columns, names of keys) of a server's tables."""
    volatile = {
        name
        for table in server.schema.by_name.values()
        for name, info in table.infos.items()
        if info.role is Role.VOLATILE
    }
    return frozenset(volatile), frozenset(server.schema.keys())


def state_score(agent: Mapping[str, Iterable[Cell]], gold: Mapping[str, Iterable[Cell]]) -> float:
    """S_t: half for equal change sets, half for the share of cells they have in common; 1 if both are empty.

    >>> state_score({"bank": [("card", "c_1", "frozen", 1)]}, {"bank": [("card", "c_1", "frozen", 0)]})
    0.0
    """
    mine, theirs = _bag(agent), _bag(gold)
    union = sum((mine | theirs).values())
    common = 1.0 if not union else sum((mine & theirs).values()) / union
    return 0.5 * (mine == theirs) + 0.5 * common


def _bag(cells: Mapping[str, Iterable[Cell]]) -> Counter[str]:
    return Counter(canonical_json([server, *cell]) for server, found in cells.items() for cell in found)


def turn_outcomes(record: TaskRecord, steps: Sequence[StepEvidence]) -> tuple[float, ...]:
    """State_t per gold turn: S_t, or S_t * P_t where the gold calls change nothing; 0 for a turn that did not end.

    P_t is the share of the turn's gold calls whose outcome the agent has met by the end of the turn.
    """
    outcomes = []
    before: Mapping[str, tuple[Cell, ...]] = {}
    for number, turn in enumerate(record.turns):
        ends = [index for index, step in enumerate(steps) if step.turn == number and step.turn_over]
        score = 0.0
        if ends:
            score = state_score(steps[ends[-1]].changes, turn.changes)
            if turn.gold and state_score(turn.changes, before) == 1.0:
                made = [call for step in steps[: ends[-1] + 1] for call in step.calls]
                score *= sum(_met(call, made) for call in turn.gold) / len(turn.gold)
        outcomes.append(score)
        before = turn.changes
    return tuple(outcomes)


def _met(gold: GoldCall, made: Sequence[CallEvidence]) -> bool:
    """Whether the agent has seen this call's answer: the same result, or all of its rows, wherever they came from."""
    if any(_same_answer(gold, call) for call in made):
        return True
    seen = {row for call in made for row in call.rows}
    return bool(gold.rows) and gold.expects_fault is None and seen.issuperset(gold.rows)


def _same_answer(gold: GoldCall, call: CallEvidence) -> bool:
    if call.tool != gold.tool or call.fault != gold.expects_fault:
        return False
    return gold.expects_fault is not None or not gold.reads or call.result_digest == gold.result_digest


def _hash(value: Any) -> str:
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=8).hexdigest()
