"""Declaring columns, tools and servers: what is derived, and what is refused with a reason."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import Integer, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.columns import Entity, Role, identifier, integer, text
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episode_sources import CLOCK, EpisodeSources
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import NoArgs, Output, ToolSpec, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row, TableStatements
from palaestra.mcp_servers.framework.values import parse_day, parse_instant, to_iso
from tests.mcp_servers.shelf import TOOLS, Box, always, build_shelf, open_box, seed


class Base(Entity, DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"
    plain_id: Mapped[str] = identifier("pla")
    undeclared: Mapped[int] = mapped_column(Integer)


class Bare(Base):
    __tablename__ = "bare"
    bare_id: Mapped[str] = identifier("bar")
    owed: Mapped[int] = integer(role=Role.GUARDED)


class Done(Output):
    done: bool


def test_models_need_declared_columns_and_one_identifier() -> None:
    class Selected(Base):
        __table__ = select(Bare.__table__).subquery()

    with pytest.raises(ConfigError, match="not from there: undeclared"):
        TableStatements(Plain)
    with pytest.raises(ConfigError, match="not mapped to a table"):
        TableStatements(Selected)


def test_the_database_refuses_what_the_schema_would_not_show(episode: Episode, box_id: str) -> None:
    state = episode.state("shelf")
    wrong: list[dict[str, Any]] = [{"weight": 0}, {"weight": 1001}, {"weight": "1x"}, {"opened": "ajar"}]
    for bad in [*wrong, {"fragile": 2}, {"label": "x" * 61}]:
        state.begin()
        with pytest.raises(sqlite3.IntegrityError):
            state.database.update(Box, box_id, **bad)
        state.rollback()


def test_unknown_columns_and_operations_name_the_nearest(episode: Episode, box_id: str) -> None:
    database = episode.state("shelf").database
    with pytest.raises(ConfigError, match="did you mean 'weight'"):
        database.update(Box, box_id, wieght=1)
    with pytest.raises(ConfigError, match="did you mean 'weight'"):
        database.insert(Box, wieght=1)
    with pytest.raises(ConfigError, match="never changes"):
        database.update(Box, box_id, box_id="box_1")
    with pytest.raises(ConfigError, match="did you mean 'list'"):
        crud(Box, "lst")
    with pytest.raises(ConfigError, match="no text column"):
        crud(Bare, "search")
    with pytest.raises(ConfigError, match="owed may be written by verbs only"):
        crud(Bare, "create")


def test_private_tables_and_the_schema_are_out_of_a_handlers_reach(episode: Episode) -> None:
    connection = episode.state("shelf")._connection
    for statement in (
        "SELECT * FROM palaestra_position", "UPDATE palaestra_position SET value = 0", "DELETE FROM palaestra_position",
        "SELECT * FROM sqlite_master", "DROP TABLE box", "ATTACH ':memory:' AS x", "PRAGMA foreign_keys = OFF",
        "SELECT datetime('now')", "SELECT CURRENT_TIMESTAMP", "SELECT hex(randomblob(4))", "SELECT load_extension('x')",
    ):  # fmt: skip
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
            connection.execute(statement)


def test_declarations_without_their_parts_are_refused() -> None:
    def undocumented(db: Database, sources: EpisodeSources, args: Any) -> bool:
        return True

    def untyped(db: Database, sources: EpisodeSources, args: Any) -> Row:
        """Has no Args."""
        return {}

    def silent(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
        return {}

    def fine(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
        """Does nothing."""
        return {"done": True}

    with pytest.raises(ConfigError, match="needs a docstring: the rule"):
        precondition(undocumented)
    with pytest.raises(ConfigError, match="subclass of Args"):
        query(returns=Done)(untyped)
    with pytest.raises(ConfigError, match="needs a docstring: what"):
        query(returns=Done)(silent)
    with pytest.raises(ConfigError, match="needs a precondition"):
        verb(requires=[], returns=Done)(fine)
    for name in ("Bad", "reset", "x" * 65, "trailing_", "ünïcode"):
        with pytest.raises(ConfigError, match="tool name"):
            query(returns=Done, name=name)(fine)
    found = query(returns=Done)(fine)
    with pytest.raises(ConfigError, match="without preconditions"):
        ToolSpec(**{**_fields(found), "requires": (always,)})


def _fields(spec: ToolSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in ToolSpec.__dataclass_fields__}


def test_servers_need_tools_with_names_of_their_own() -> None:
    with pytest.raises(ConfigError, match="two tools named open_box"):
        build_shelf(open_box)
    with pytest.raises(ConfigError, match="has no tools"):
        ToolServer("empty", "", models=[], seed=seed, tools=[])
    assert build_shelf().tool("open_box").server == "shelf"
    assert len(build_shelf().tools) == len(TOOLS)


def test_views_and_queries_keep_the_declared_order() -> None:
    assert list(view(Box).model_fields) == [column.name for column in Box.__table__.columns]
    assert Query(select(Box.label, Box.box_id)).columns == ("label", "box_id")


def test_times_are_iso_at_the_border_and_seconds_inside(episode: Episode, box_id: str) -> None:
    result = dispatch(episode, "update_box", {"box_id": box_id, "packed_at": "2026-02-28T23:59:59Z"})
    assert result.content["packed_at"] == "2026-02-28T23:59:59Z"
    row = episode.state("shelf").database.get(Box, box_id)
    assert to_iso(row["packed_at"]) == "2026-02-28T23:59:59Z"
    for bad in ("2026-02-30T00:00:00Z", "2026-02-28 23:59:59", "2026-02-28T23:59:59+01:00", 5, "1969-12-31T23:59:59Z"):
        with pytest.raises(ValueError, match=r".+"):
            parse_instant(bad)
    assert parse_day("2024-02-29") == "2024-02-29"
    for bad in ("2023-02-29", "20240229", 5):
        with pytest.raises(ValueError, match=r".+"):
            parse_day(bad)


def test_pages_follow_each_other_without_gaps(episode: Episode) -> None:
    everything = [box["box_id"] for box in dispatch(episode, "list_boxes", {"limit": 100}).content["items"]]
    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = dispatch(episode, "list_boxes", {"limit": 7, **cursor}).content
        paged += [box["box_id"] for box in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == everything == sorted(everything)
    assert len(paged) == 30


def test_filters_and_search_narrow(episode: Episode, box_id: str) -> None:
    dispatch(episode, "update_box", {"box_id": box_id, "fragile": True, "colour": "red", "label": "100%_'x"})
    for arguments in ({"fragile": True}, {"colour": "red"}, {"colour": "red", "fragile": True}):
        assert dispatch(episode, "count_boxes", arguments).value == {"count": 1}
    assert dispatch(episode, "count_boxes", {"colour": "blue"}).value == {"count": 0}
    for wanted, count in (("100%_'", 1), ("%", 1), ("_", 1), ("BOX NUMBER", 29), ("'; DROP TABLE box; --", 0)):
        assert len(dispatch(episode, "search_boxes", {"text": wanted, "limit": 100}).content["items"]) == count


def test_sources_repeat_and_roll_back() -> None:
    first, again = (EpisodeSources(7, {CLOCK: 100}) for _ in range(2))
    assert [first.new_id("a"), first.new_id("a"), first.draw("d", 1, 6)] == [
        again.new_id("a"), again.new_id("a"), again.draw("d", 1, 6),
    ]  # fmt: skip
    first.advance(5)
    assert first.now == 105
    first.rollback()
    assert (first.now, first.positions()) == (100, {CLOCK: 100})
    kept = again.new_id("a")
    again.rollback()
    assert again.new_id("a") != kept  # the earlier two were rolled back as well
    draws = {again.draw("d", 1, 6) for _ in range(200)}
    assert draws == {1, 2, 3, 4, 5, 6}
    with pytest.raises(ValueError, match="cannot draw"):
        again.draw("d", 2, 1)


def test_an_optional_text_can_be_left_out() -> None:
    assert text(5, optional=True).column.nullable
