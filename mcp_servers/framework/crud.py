"""Tools generated from a model: get, list, search, create, update, delete, count.

A generated tool writes domain columns only. `create` fails with not_found if it names a row that does not exist;
`update` is a patch of the fields it is given; `delete` of a row that others refer to is a conflict; `list` and
`search` page by key, at most 100 rows at a time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, Field, create_model
from sqlalchemy import Select, bindparam, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.columns import ColumnInfo, Role
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import Refusal, not_found
from palaestra.mcp_servers.framework.spec import Effect, Handler, Output, ToolSpec, page_of, view
from palaestra.mcp_servers.framework.sql import Database, Model, Query, Row, TableStatements
from palaestra.mcp_servers.framework.validation import Args, refuse
from palaestra.mcp_servers.framework.values import Key, Line, argument_type

PAGE: Final = 20
MAX_PAGE: Final = 100

Limit = Annotated[int, Field(ge=1, le=MAX_PAGE, description="rows per page")]
Cursor = Annotated[str, Field(min_length=1, max_length=400, description="next_cursor of the page before")]


class Count(Output):
    """How many rows there are."""

    count: int


class _Generator(NamedTuple):
    model: Model
    table: TableStatements
    entity: str
    plural: str
    item: type[BaseModel]


def crud(model: Model, ops: str, *, entity: str = "", plural: str = "") -> list[ToolSpec]:
    """The tools of a model.

    Args:
        model: what the tools read and write.
        ops: of "get list search create update delete count", separated by blanks.
        entity: the object in the tools' names; the table's name by default.
        plural: of the entity; with an s by default.

    Raises: ConfigError "bad_tool" naming the nearest operation.
    """
    table = TableStatements(model)
    name = entity or table.entity
    generator = _Generator(model, table, name, plural or f"{name}s", view(model))
    tools = []
    for op in ops.split():
        if op not in _OPERATIONS:
            raise ConfigError("bad_tool", f"no generated tool {op!r} for {name}; {nearest(op, _OPERATIONS)}")
        tools.append(_OPERATIONS[op](generator))
    return tools


def _spec(
    name: str, text: str, effect: Effect, fields: Mapping[str, Any], returns: type[BaseModel],
    handler: Handler,
) -> ToolSpec:  # fmt: skip
    arguments = create_model("".join(map(str.title, name.split("_"))) + "Args", __base__=Args, **fields)
    return ToolSpec(name, text, effect, "generated", arguments, returns, handler)


def _get(made: _Generator) -> ToolSpec:
    model, key = made.model, made.table.key

    def get(db: Database, sources: EpisodeSources, args: Any) -> Row:
        return db.get(model, getattr(args, key))

    text = f"Get one {_words(made.entity)} by its id."
    return _spec(f"get_{made.entity}", text, Effect.READ, {key: (Key, ...)}, made.item, get)


def _filters(table: TableStatements) -> dict[str, ColumnInfo]:
    """Columns that a list can be narrowed by: words out of a few, keys of other rows, flags."""
    wanted = ("choice", "key", "flag")
    return {n: i for n, i in table.infos.items() if i.kind in wanted and n != table.key and not i.sensitive}


def _narrowed(
    table: TableStatements, statement: Select[*tuple[Any, ...]], filters: Iterable[str]
) -> Select[*tuple[Any, ...]]:
    for name in filters:
        given: ColumnElement[Any] = bindparam(name, type_=table.table.c[name].type)
        statement = statement.where(or_(given.is_(None), table.table.c[name] == given))
    return statement


def _page_query(table: TableStatements, statement: Select[*tuple[Any, ...]]) -> Query:
    key = table.table.c[table.key]
    return Query(statement.where(key > bindparam("after")).order_by(key).limit(bindparam("one_more")))


def _run_page(db: Database, found: Query, key: str, args: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    after = "" if args.cursor is None else _read_cursor(args.cursor)
    rows = db.rows(found, after=after, one_more=args.limit + 1, **parameters)
    page = rows[: args.limit]
    return {"items": page, "next_cursor": _write_cursor(page[-1][key]) if len(rows) > args.limit else None}


def _write_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([key]).encode()).decode()


def _read_cursor(cursor: str) -> str:
    try:
        (key,) = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, str) or not key.isprintable():
        fault = refuse(("cursor",), "is not a next_cursor this tool gave; leave it out for the first page")
        raise Refusal(fault.code, fault.message, **fault.details)
    return key


_PAGE_FIELDS: Final[dict[str, Any]] = {"limit": (Limit, PAGE), "cursor": (Cursor | None, None)}


def _list(made: _Generator) -> ToolSpec:
    filters = _filters(made.table)
    found = _page_query(made.table, _narrowed(made.table, select(made.table.table), filters))
    key = made.table.key

    def list_rows(db: Database, sources: EpisodeSources, args: Any) -> dict[str, Any]:
        return _run_page(db, found, key, args, {name: getattr(args, name) for name in filters})

    fields = {name: (_argument(made.table, name) | None, None) for name in filters}
    return _spec(
        f"list_{made.plural}", f"List {_words(made.plural)} by id, a page at a time; filters narrow the list.",
        Effect.READ, {**fields, **_PAGE_FIELDS}, page_of(made.item), list_rows,
    )  # fmt: skip


def _search(made: _Generator) -> ToolSpec:
    names = [n for n, info in made.table.infos.items() if info.kind == "text" and not info.sensitive]
    if not names:
        raise ConfigError("bad_tool", f"{made.entity} has no text column to search")
    wanted = func.lower(bindparam("text"))
    columns = [made.table.table.c[name] for name in names]
    matches = or_(*(func.instr(func.lower(column), wanted) > 0 for column in columns))
    found = _page_query(made.table, select(made.table.table).where(matches))
    key = made.table.key

    def search(db: Database, sources: EpisodeSources, args: Any) -> dict[str, Any]:
        return _run_page(db, found, key, args, {"text": args.text})

    text = f"Search {_words(made.plural)} whose {', '.join(map(_words, names))} contain a text, ignoring ASCII case."
    fields = {"text": (Line, ...), **_PAGE_FIELDS}
    return _spec(f"search_{made.plural}", text, Effect.READ, fields, page_of(made.item), search)


def _count(made: _Generator) -> ToolSpec:
    filters = _filters(made.table)
    found = Query(_narrowed(made.table, select(func.count().label("count")).select_from(made.table.table), filters))

    def count(db: Database, sources: EpisodeSources, args: Any) -> dict[str, Any]:
        return {"count": db.scalar(found, **{name: getattr(args, name) for name in filters})}

    fields = {name: (_argument(made.table, name) | None, None) for name in filters}
    text = f"Count {_words(made.plural)}; filters narrow the count."
    return _spec(f"count_{made.plural}", text, Effect.READ, fields, Count, count)


def _writable(table: TableStatements) -> dict[str, ColumnInfo]:
    return {name: info for name, info in table.infos.items() if info.role is Role.DOMAIN}


def _check_references(db: Database, table: TableStatements, values: Mapping[str, Any]) -> None:
    for name, (entity, _) in table.references.items():
        if values.get(name) is not None and not db.has(entity, values[name]):
            raise not_found(entity, values[name])


def _create(made: _Generator) -> ToolSpec:
    writable = _writable(made.table)
    model, table = made.model, made.table
    stuck = [n for n, i in table.infos.items() if n not in writable and _must_be_given(i)]
    if stuck:
        raise ConfigError(
            "bad_tool", f"create_{made.entity}: {', '.join(stuck)} may be written by verbs only; add a default"
        )

    def create(db: Database, sources: EpisodeSources, args: Any) -> Row:
        values = args.model_dump(exclude_unset=True)
        _check_references(db, table, values)
        return db.insert(model, **values)

    fields = {n: (_argument(table, n), ...) if _must_be_given(i) else (_argument(table, n) | None, None)
              for n, i in writable.items()}  # fmt: skip
    text = f"Create one {_words(made.entity)}."
    return _spec(f"create_{made.entity}", text, Effect.WRITE, fields, made.item, create)


def _argument(table: TableStatements, name: str) -> Any:
    entity, _ = table.references.get(name, (None, None))
    return argument_type(table.infos[name], entity)


def _must_be_given(info: ColumnInfo) -> bool:
    return not (info.optional or info.has_default or info.role is Role.OPAQUE_ID)


def _update(made: _Generator) -> ToolSpec:
    model, table, key = made.model, made.table, made.table.key
    writable = _writable(table)

    def change(db: Database, sources: EpisodeSources, args: Any) -> Row:
        values = args.model_dump(exclude_unset=True)
        row_key = values.pop(key)
        if not values:
            fault = refuse((), f"name at least one field to change: {', '.join(writable)}")
            raise Refusal(fault.code, fault.message, **fault.details)
        _check_references(db, table, values)
        return db.update(model, row_key, **values)

    fields = {key: (Key, ...)} | {name: (_argument(table, name) | None, None) for name in writable}
    text = f"Change fields of one {_words(made.entity)}; fields left out keep their value."
    return _spec(f"update_{made.entity}", text, Effect.WRITE, fields, made.item, change)


def _delete(made: _Generator) -> ToolSpec:
    model, key = made.model, made.table.key

    def remove(db: Database, sources: EpisodeSources, args: Any) -> Row:
        return db.delete(model, getattr(args, key))

    text = f"Delete one {_words(made.entity)} that nothing refers to; returns it as it was."
    return _spec(f"delete_{made.entity}", text, Effect.WRITE, {key: (Key, ...)}, made.item, remove)


def _words(name: str) -> str:
    return name.replace("_", " ")


_OPERATIONS: Final[dict[str, Callable[[_Generator], ToolSpec]]] = {
    "get": _get,
    "list": _list,
    "search": _search,
    "create": _create,
    "update": _update,
    "delete": _delete,
    "count": _count,
}
