"""Columns that know their business meaning: one declaration gives the SQL type, the CHECK, and the tool's schema.

A column's role says who may write it:

    domain      generated tools and verbs
    guarded     verbs only (status, balance, stock, owner), or a generated tool could write the goal itself
    volatile    the framework (created_at, updated_at) and verbs; not part of the goal digest: times that follow from
                the moment of a call, so that who gets there a second later gets to the same goal
    opaque_id   the id source, once

Money is an integer number of minor units. A time is an integer number of seconds in the database and an ISO 8601 UTC
string at the tool's border. Tables are STRICT, so the database refuses what the schema would not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, Text
from sqlalchemy.orm import MappedColumn, mapped_column

INFO_KEY = "palaestra"
STRICT: Mapping[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""Table options of every model; a model with constraints of its own puts it last: `__table_args__ = (..., STRICT)`."""

MAX_INTEGER = 2**53 - 1


class Role(StrEnum):
    """Who may write a column."""

    DOMAIN = "domain"
    GUARDED = "guarded"
    VOLATILE = "volatile"
    OPAQUE_ID = "opaque_id"


Kind = Literal["key", "text", "integer", "time", "flag", "choice"]


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """The business meaning of a column.

    Attributes:
        prefix: of the ids drawn for a primary key.
        unit: what an integer counts, e.g. "minor units".
        sensitive: the value must come from the user or a tool, never be made up; it is not echoed in faults.
        optional: may be absent.
        has_default: may be left out when a row is created.
        fill: when the framework writes the clock's time into it.
    """

    kind: Kind
    role: Role = Role.DOMAIN
    doc: str = ""
    prefix: str = ""
    minimum: int = -MAX_INTEGER
    maximum: int = MAX_INTEGER
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    unit: str | None = None
    sensitive: bool = False
    optional: bool = False
    has_default: bool = False
    fill: Literal["create", "update"] | None = None


def info_of(column: Column[Any]) -> ColumnInfo:
    """The meaning of a column declared with this module."""
    info: ColumnInfo = column.info[INFO_KEY]
    return info


def identifier(prefix: str) -> MappedColumn[Any]:
    """The primary key: `<prefix>_<number>` from the id source; name it `<entity>_id`."""
    info = ColumnInfo("key", Role.OPAQUE_ID, prefix=prefix, maximum=64)
    return mapped_column(Text, primary_key=True, nullable=False, info={INFO_KEY: info})


def reference(target: str, doc: str = "", *, role: Role = Role.DOMAIN, optional: bool = False) -> MappedColumn[Any]:
    """A foreign key: `target` is "table.column". The database checks it at the end of the call."""
    info = ColumnInfo("key", role, doc, maximum=64, optional=optional)
    # Checked when the call commits, so that a reset can put rows back in any order.
    key = ForeignKey(target, deferrable=True, initially="DEFERRED")
    return mapped_column(Text, key, nullable=optional, info={INFO_KEY: info})


def text(
    max_length: int, doc: str = "", *, pattern: str | None = None, default: str | None = None, unique: bool = False,
    role: Role = Role.DOMAIN, optional: bool = False, sensitive: bool = False,
) -> MappedColumn[Any]:  # fmt: skip
    """A string of at most `max_length` characters, not empty unless it has a default or a pattern allows it."""
    info = ColumnInfo(
        "text", role, doc, minimum=0 if default is not None else 1, maximum=max_length, pattern=pattern,
        sensitive=sensitive, optional=optional, has_default=default is not None,
    )  # fmt: skip
    return mapped_column(Text, default=default, nullable=optional, unique=unique, info={INFO_KEY: info})


def integer(
    doc: str = "", *, minimum: int = 0, maximum: int = 10**9, unit: str | None = None, default: int | None = None,
    role: Role = Role.DOMAIN, optional: bool = False,
) -> MappedColumn[Any]:  # fmt: skip
    """An integer within bounds that the database checks too."""
    info = ColumnInfo(
        "integer", role, doc, minimum=minimum, maximum=maximum, unit=unit, optional=optional,
        has_default=default is not None,
    )  # fmt: skip
    return mapped_column(Integer, default=default, nullable=optional, info={INFO_KEY: info})


def money(
    doc: str = "", *, minimum: int = 0, default: int | None = None, role: Role = Role.DOMAIN, optional: bool = False
) -> MappedColumn[Any]:
    """An amount in minor units (cents)."""
    return integer(
        doc, minimum=minimum, maximum=10**12, unit="minor units", default=default, role=role, optional=optional
    )


def instant(
    doc: str = "", *, role: Role = Role.DOMAIN, optional: bool = False, fill: Literal["create", "update"] | None = None
) -> MappedColumn[Any]:
    """An instant, to the second; with `fill` the framework writes it, and it is volatile."""
    role = Role.VOLATILE if fill else role
    info = ColumnInfo("time", role, doc, minimum=0, optional=optional, has_default=fill is not None, fill=fill)
    return mapped_column(Integer, nullable=optional, info={INFO_KEY: info})


def flag(doc: str = "", *, default: bool = False, role: Role = Role.DOMAIN) -> MappedColumn[Any]:
    """True or false."""
    info = ColumnInfo("flag", role, doc, minimum=0, maximum=1, has_default=True)
    return mapped_column(Integer, default=int(default), nullable=False, info={INFO_KEY: info})


def choice(
    *options: str, doc: str = "", default: str | None = None, role: Role = Role.DOMAIN, optional: bool = False
) -> MappedColumn[Any]:
    """One of a few words."""
    info = ColumnInfo("choice", role, doc, choices=options, optional=optional, has_default=default is not None)
    return mapped_column(Text, default=default, nullable=optional, info={INFO_KEY: info})


class Entity:
    """Mixin of every server's declarative base: STRICT tables whose CHECKs follow from the columns' meaning.

    class Base(Entity, DeclarativeBase): ...
    """

    __table_args__: Any = STRICT

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        table = cls.__dict__.get("__table__")
        if isinstance(table, Table):
            for column in table.columns:
                for rule in _checks(column) if INFO_KEY in column.info else ():
                    table.append_constraint(CheckConstraint(rule))


def _checks(column: Column[Any]) -> list[str]:
    """What the database itself refuses, as SQL; only names and numbers written in our own source get into it."""
    info = info_of(column)
    if info.kind in ("integer", "time", "flag"):
        return [f"{column.name} BETWEEN {info.minimum} AND {info.maximum}"]
    if info.kind == "choice":
        return [f"{column.name} IN ({', '.join(repr(option) for option in info.choices)})"]
    return [f"length({column.name}) <= {info.maximum}"]
