"""Statements compiled once, run on the raw connection; and the view of an open transaction a handler gets.

An ORM read costs some 250 us and a compiled statement some 2 us, so SQLAlchemy describes tables and builds statements
at import, and SQLite runs them. Every value is a bound parameter; every name comes from a declared model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Executable, Select, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.columns import INFO_KEY, Role, info_of
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import not_found

Row = dict[str, Any]
RowKey = tuple[str, str]
"""(table, primary key)."""
Model = type[DeclarativeBase]

_DIALECT: Final = sqlite.dialect(paramstyle="named")


class Query:
    """A SELECT compiled once: `QUERY = Query(select(Card.card_id).where(Card.account_id == bindparam("account_id")))`.

    Order by something that ends in a primary key; without it the order of rows is not defined.
    """

    __slots__ = ("columns", "defaults", "sql")

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.sql, self.defaults = compile_statement(statement)
        self.columns = tuple(str(column.name) for column in statement.selected_columns)


def compile_statement(statement: Executable) -> tuple[str, dict[str, Any]]:
    """SQL text with named parameters, and the values of those that are already known.

    Raises: ConfigError "bad_query" for a list whose length only a call knows.
    """
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    known = {name: value for name, value in compiled.params.items() if value is not None}
    if "POSTCOMPILE" in (text := str(compiled)):
        raise ConfigError("bad_query", f"in_() takes a list that is known now, or a SELECT: {text[:200]}")
    return text, known


class TableStatements:
    """What can be done with one table: its columns and the statements on a single row."""

    def __init__(self, model: Model) -> None:
        table = model.__table__
        if not isinstance(table, Table):
            raise ConfigError("bad_model", f"{model.__name__} is not mapped to a table; declare __tablename__")
        self.table = table
        self.entity = str(table.name)  # SQLAlchemy's own kind of string is slow to hash and to write
        keys = list(table.primary_key.columns)
        undeclared = [column.name for column in table.columns if INFO_KEY not in column.info]
        if len(keys) != 1 or undeclared or info_of(keys[0]).role is not Role.OPAQUE_ID:
            raise ConfigError(
                "bad_model",
                f"table {table.name!r} needs exactly one identifier() and columns from framework/columns.py"
                + (f"; not from there: {', '.join(undeclared)}" if undeclared else ""),
            )
        self.key = str(keys[0].name)
        self.prefix = info_of(keys[0]).prefix
        self.columns = tuple(str(column.name) for column in table.columns)
        self.infos = {column.name: info_of(column) for column in table.columns}
        self.goal_indices = tuple(i for i, c in enumerate(table.columns) if info_of(c).role is not Role.VOLATILE)
        self.defaults = {c.name: c.default.arg for c in table.columns if c.default is not None}
        self.filled_on_create = tuple(name for name, info in self.infos.items() if info.fill)
        self.filled_on_update = tuple(name for name, info in self.infos.items() if info.fill == "update")
        self.references = {c.name: _target(c) for c in table.columns if c.foreign_keys}
        at_key = table.c[self.key] == bindparam("the_key")
        self.get_sql = compile_statement(select(table).where(at_key))[0]
        self.insert_sql = compile_statement(insert(table).values({n: bindparam(n) for n in self.columns}))[0]
        self.delete_sql = compile_statement(delete(table).where(at_key))[0]
        self.all_sql = compile_statement(select(table).order_by(table.c[self.key]))[0]
        self._updates: dict[tuple[str, ...], str] = {}

    def update_sql(self, names: Iterable[str]) -> str:
        """The UPDATE of these columns of one row; compiled once per set of columns."""
        wanted = tuple(names)
        if wanted not in self._updates:
            self.check_names(wanted)
            if self.key in wanted:
                raise ConfigError("bad_update", f"{self.entity}.{self.key} is a key and never changes")
            statement = update(self.table).where(self.table.c[self.key] == bindparam("the_key"))
            self._updates[wanted] = compile_statement(statement.values({n: bindparam(n) for n in wanted}))[0]
        return self._updates[wanted]

    def check_names(self, names: Iterable[str]) -> None:
        """Raises: ConfigError "unknown_column" naming the nearest."""
        for name in names:
            if name not in self.infos:
                raise ConfigError(
                    "unknown_column", f"{self.entity} has no column {name!r}; {nearest(name, self.infos)}"
                )


def _target(column: Column[Any]) -> tuple[str, str]:
    (key,) = column.foreign_keys
    table, _, name = key.target_fullname.rpartition(".")
    return table, name


class Schema:
    """The tables of one server, in the order they can be created in."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.by_model: Mapping[Model, TableStatements] = {model: TableStatements(model) for model in models}
        self.by_name: Mapping[str, TableStatements] = {table.entity: table for table in self.by_model.values()}

    def keys(self) -> dict[str, str]:
        """Column name -> entity, for every primary key."""
        return {table.key: table.entity for table in self.by_name.values()}


class Database:
    """The open transaction of the calling episode on one server's database; all a handler can reach.

    Rows are dictionaries in column order, with times in seconds and flags as 0 or 1. `touched` is the change log of
    the open transaction: one key per row written, in order; `stored` is what the database holds for some of them.
    """

    def __init__(self, connection: sqlite3.Connection, schema: Schema, sources: EpisodeSources) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._tables = schema.by_model
        self._named = schema.by_name
        self._sources = sources
        self.touched: list[RowKey] = []
        self.stored: dict[RowKey, tuple[Any, ...]] = {}

    def find(self, model: Model, key: str) -> Row | None:
        """The row with this key, or None. One point read."""
        table = self._tables[model]
        found = self._execute(table.get_sql, {"the_key": key}).fetchone()
        return None if found is None else dict(zip(table.columns, found, strict=True))

    def get(self, model: Model, key: str) -> Row:
        """The row with this key. Raises: Refusal "not_found"."""
        found = self.find(model, key)
        if found is None:
            raise not_found(self._tables[model].entity, key)
        return found

    def has(self, entity: str, key: str) -> bool:
        """Whether the table has a row with this key."""
        return self._execute(self._named[entity].get_sql, {"the_key": key}).fetchone() is not None

    def every(self, model: Model) -> list[Row]:
        """Every row, by key."""
        table = self._tables[model]
        return [dict(zip(table.columns, row, strict=True)) for row in self._execute(table.all_sql).fetchall()]

    def rows(self, query: Query, **parameters: Any) -> list[Row]:
        """Every row of a query."""
        found = self._execute(query.sql, {**query.defaults, **parameters}).fetchall()
        return [dict(zip(query.columns, row, strict=True)) for row in found]

    def first(self, query: Query, **parameters: Any) -> Row | None:
        """The first row of a query, or None."""
        found: Sequence[Any] | None = self._execute(query.sql, {**query.defaults, **parameters}).fetchone()
        return None if found is None else dict(zip(query.columns, found, strict=True))

    def scalar(self, query: Query, **parameters: Any) -> Any:
        """The first column of the first row, or None."""
        found = self._execute(query.sql, {**query.defaults, **parameters}).fetchone()
        return None if found is None else found[0]

    def insert(self, model: Model, **values: Any) -> Row:
        """A new row: its key from the id source, its filled times from the clock, the rest from values and defaults.

        Raises: Refusal "conflict" (by the door) if a rule of the table is broken.
        """
        table = self._tables[model]
        table.check_names(values)
        row = dict.fromkeys(table.columns) | table.defaults
        row.update(dict.fromkeys(table.filled_on_create, self._sources.now))
        row.update(values)
        if row[table.key] is None:
            row[table.key] = self._sources.new_id(table.prefix)
        self._execute(table.insert_sql, row)
        self._touch((table.entity, str(row[table.key])))
        return row

    def update(self, model: Model, key: str, **values: Any) -> Row:
        """The row with this key after setting the named columns. Raises: Refusal "not_found"."""
        table = self._tables[model]
        filled = dict.fromkeys(table.filled_on_update, self._sources.now)
        changed = {**filled, **values}
        if not changed:
            return self.get(model, key)
        if not self._execute(table.update_sql(changed), {**changed, "the_key": key}).rowcount:
            raise not_found(table.entity, key)
        stored = self._execute(table.get_sql, {"the_key": key}).fetchone()
        self.touched.append((table.entity, key))
        self.stored[table.entity, key] = stored
        return dict(zip(table.columns, stored, strict=True))

    def delete(self, model: Model, key: str) -> Row:
        """Remove the row with this key and return it. Raises: Refusal "not_found"; "conflict" if referenced."""
        row = self.get(model, key)
        table = self._tables[model]
        self._execute(table.delete_sql, {"the_key": key})
        self._touch((table.entity, key))
        return row

    def _touch(self, key: RowKey) -> None:
        self.touched.append(key)
        self.stored.pop(key, None)

    def forget(self) -> None:
        """Start the change log anew: the transaction is over."""
        self.touched.clear()
        self.stored.clear()
