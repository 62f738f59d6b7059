"""A small server of the tests' own: boxes on shelves, and tools that misbehave on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Select, bindparam, func, literal, select
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    integer,
    reference,
    text,
)
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import conflict
from palaestra.mcp_servers.framework.server import Profile, Story, ToolServer
from palaestra.mcp_servers.framework.spec import NoArgs, Output, ToolSpec, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key


class Base(Entity, DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelf"
    shelf_id: Mapped[str] = identifier("she")
    name: Mapped[str] = text(40, unique=True)


class Box(Base):
    __tablename__ = "box"
    box_id: Mapped[str] = identifier("box")
    shelf_id: Mapped[str] = reference("shelf.shelf_id")
    label: Mapped[str] = text(60, "what is written on it")
    weight: Mapped[int] = integer("weight", minimum=1, maximum=1000, unit="grams", default=1)
    fragile: Mapped[int] = flag()
    colour: Mapped[str | None] = choice("red", "blue", optional=True)
    code: Mapped[str] = text(10, default="", sensitive=True)
    opened: Mapped[str] = choice("open", "shut", default="shut", role=Role.GUARDED)
    packed_at: Mapped[int | None] = instant(optional=True)
    created_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant(fill="update")


class BoxArgs(Args):
    box_id: Key


@precondition
def box_is_shut(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The box is shut."""
    return bool(db.get(Box, args.box_id)["opened"] == "shut")


@precondition
def always(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing is asked for."""
    return True


@precondition
def meddling(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """It writes although it must only read."""
    db.update(Shelf, db.every(Shelf)[0]["shelf_id"], name="meddled")
    return True


@verb(requires=[box_is_shut], returns=view(Box))
def open_box(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Open a shut box; it takes a minute."""
    sources.advance(60)
    return db.update(Box, args.box_id, opened="open")


@precondition
def box_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The box is open."""
    return bool(db.get(Box, args.box_id)["opened"] == "open")


@verb(requires=[box_is_open], returns=view(Box))
def shut_box(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Shut an open box."""
    return db.update(Box, args.box_id, opened="shut")


@verb(requires=[box_is_open], returns=view(Box))
def empty_box(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Take everything out of an open box."""
    return db.update(Box, args.box_id, weight=1)


@verb(requires=[always], returns=view(Box))
def fail_with_conflict(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Changes a row and then refuses."""
    db.update(Box, args.box_id, label="half done")
    raise conflict("no")


@verb(requires=[always], returns=view(Box))
def write_past_the_log(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Changes a row by SQL of its own."""
    db._execute("UPDATE box SET label = 'unlogged'")
    return db.get(Box, args.box_id)


@query(returns=view(Box))
def lie_about_reading(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Says READ and writes."""
    return db.update(Box, args.box_id, label="changed by a READ")


@query(returns=view(Box))
def burn_an_id(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Says READ and uses an id."""
    sources.new_id("box")
    return db.get(Box, args.box_id)


@verb(requires=[meddling], returns=view(Box))
def trust_a_meddler(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Its precondition writes."""
    return db.get(Box, args.box_id)


@verb(requires=[always], returns=view(Box))
def fail_half_way(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Changes rows, ids, clock and draws, and then breaks."""
    db.update(Box, args.box_id, label="half done")
    db.insert(Shelf, name="half done")
    sources.advance(100)
    sources.draw("dice", 1, 6)
    raise RuntimeError("secret detail /etc/passwd")


@verb(requires=[always], returns=view(Box))
def return_nonsense(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
    """Returns something else than declared."""
    return {"nonsense": 1}


class Number(Output):
    number: int


def _reading(name: str, statement: Select[*tuple[Any, ...]]) -> ToolSpec:
    compiled = Query(statement)

    def handler(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
        return {"number": int(db.scalar(compiled))}

    handler.__doc__ = f"Run the statement of {name}."
    handler.__annotations__["args"] = NoArgs
    return query(returns=Number, name=name)(handler)


_NUMBERS = select(literal(1).label("n")).cte("numbers", recursive=True)
_NUMBERS = _NUMBERS.union_all(select(_NUMBERS.c.n + 1).where(_NUMBERS.c.n < bindparam("top", 10**9)))
FORBIDDEN = [
    _reading("ask_wall_clock", select(func.strftime("%s", "now"))),
    _reading("ask_entropy", select(func.random())),
    _reading("count_for_ever", select(func.count()).select_from(_NUMBERS)),
]


class DrawArgs(Args):
    sides: int


class Drawn(Output):
    drawn: int
    now: int


@verb(requires=[always], returns=Drawn)
def roll_dice(db: Database, sources: EpisodeSources, args: DrawArgs) -> Row:
    """Draw from the episode's own randomness."""
    return {"drawn": sources.draw("dice", 1, args.sides), "now": sources.now}


def seed(db: Database, sources: EpisodeSources, rng: np.random.Generator, profile: Profile) -> None:
    count = {"small": 3, "default": 30, "large": 100}[profile]
    shelves = [db.insert(Shelf, name=f"shelf {index}")["shelf_id"] for index in range(3)]
    for index in range(count):
        shelf = shelves[int(rng.integers(3))]
        db.insert(Box, shelf_id=shelf, label=f"box number {index}", weight=int(rng.integers(1, 100)))


def open_one(tell: Teller) -> None:
    """Every sound tool of the shelf server."""
    shelf = tell.items("list_shelves")[0]["shelf_id"]
    box = tell.call("create_box", shelf_id=shelf, label="new")["box_id"]
    tell.call("get_box", box_id=box)
    tell.items("list_boxes", shelf_id=shelf, limit=2)
    tell.items("search_boxes", text="NUMBER")
    tell.call("update_box", box_id=box, label="newer")
    tell.refused("box_is_open", "empty_box", box_id=box)
    tell.refused("box_is_open", "shut_box", box_id=box)
    tell.call("open_box", box_id=box)
    tell.call("empty_box", box_id=box)
    tell.refused("box_is_shut", "open_box", box_id=box)
    tell.call("shut_box", box_id=box)
    tell.call("delete_box", box_id=box)
    tell.call("count_boxes")


def fill_one(tell: Teller) -> None:
    """A box is made, opened and emptied, in this order only."""
    box = tell.call("create_box", shelf_id=tell.items("list_shelves")[0]["shelf_id"], label="new")["box_id"]
    tell.call("open_box", box_id=box)
    tell.call("empty_box", box_id=box)


TOOLS = [
    *crud(Shelf, "list", plural="shelves"),
    *crud(Box, "get list search create update delete count", plural="boxes"),
    open_box,
    shut_box,
    empty_box,
]
MISBEHAVING = [
    write_past_the_log, lie_about_reading, burn_an_id, trust_a_meddler, fail_half_way, return_nonsense, roll_dice,
    *FORBIDDEN,
]  # fmt: skip


def build_shelf(
    *more: ToolSpec,
    stories: tuple[Story, ...] = (open_one,),
    chains: tuple[Story, ...] = (fill_one,),
    name: str = "shelf",
) -> ToolServer:
    return ToolServer(
        name, "Boxes on shelves.", models=[Shelf, Box], seed=seed, tools=[*TOOLS, *more], stories=stories, chains=chains
    )
