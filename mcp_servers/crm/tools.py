"""What can be done with deals beyond looking them up and filling in their fields. Leads, contacts: tools_contacts.py.

Rules: a deal is looked after by an active rep of its company's territory who has room; each stage asks for fields to
be filled; a deal is won in negotiation, after talking to the one who decides, and credited to its rep once; a lost one
is reopened at most once, within 90 days.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, create_model
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.crm.models import Activity, Company, Contact, Deal, Rep
from palaestra.mcp_servers.crm.stages import NEXT, PERCENT, missing_fields
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import InstantOut, Key

REOPEN_SECONDS: Final = 90 * 86_400

DealView = view(Deal)

_OPEN_DEALS = Query(
    select(func.count()).where(Deal.rep_id == bindparam("rep"), Deal.stage != "won", Deal.stage != "lost")
)
_TALKS = Query(
    select(func.count()).where(
        Activity.deal_id == bindparam("deal"), Activity.contact_id == bindparam("contact"), Activity.kind != "email"
    )
)


def _is_open(deal: Row) -> bool:
    return deal["stage"] in NEXT


def _has_room(db: Database, rep: Row) -> bool:
    return bool(db.scalar(_OPEN_DEALS, rep=rep["rep_id"]) < rep["max_deals"])


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def deal_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal is open, neither won nor lost."""
    return _is_open(db.get(Deal, args.deal_id))


@precondition
def stage_comes_next(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal is open, and the stage is the one after its own, or lost."""
    return args.stage in NEXT.get(db.get(Deal, args.deal_id)["stage"], ())


@precondition
def deal_has_rep(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A deal that goes forward has a rep."""
    return args.stage == "lost" or db.get(Deal, args.deal_id)["rep_id"] is not None


@precondition
def stage_fields_are_filled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Proposal asks for need and amount, negotiation also for decision maker and expected close, lost for a reason."""
    return not missing_fields(db.get(Deal, args.deal_id), args.stage)


@precondition
def decision_maker_is_at_company(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal's decision maker, if it has one, is a contact at its company."""
    deal = db.get(Deal, args.deal_id)
    decider = deal["decision_maker_id"]
    return bool(decider is None or db.get(Contact, decider)["company_id"] == deal["company_id"])


@precondition
def close_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The expected close of a deal that enters negotiation lies in the future."""
    return bool(args.stage != "negotiation" or db.get(Deal, args.deal_id)["expected_close"] > sources.now)


@precondition
def deal_is_in_negotiation(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal is in negotiation."""
    return bool(db.get(Deal, args.deal_id)["stage"] == "negotiation")


@precondition
def decision_maker_was_heard(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A call or a meeting about the deal with its decision maker is on record."""
    decider = db.get(Deal, args.deal_id)["decision_maker_id"]
    return bool(db.scalar(_TALKS, deal=args.deal_id, contact=decider))


@precondition
def deal_is_lost(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal is lost."""
    return bool(db.get(Deal, args.deal_id)["stage"] == "lost")


@precondition
def loss_is_recent(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal was lost at most 90 days ago."""
    return bool(sources.now - db.get(Deal, args.deal_id)["lost_at"] <= REOPEN_SECONDS)


@precondition
def deal_was_never_reopened(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal was not reopened before; there is no third try."""
    return not db.get(Deal, args.deal_id)["reopened"]


@precondition
def owner_can_take_it_back(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal's rep, if it has one, is active and has room for one more open deal."""
    rep_id = db.get(Deal, args.deal_id)["rep_id"]
    if rep_id is None:
        return True
    rep = db.get(Rep, rep_id)
    return bool(rep["status"] == "active" and _has_room(db, rep))


@precondition
def rep_is_not_owner(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The deal is not the rep's already."""
    return bool(db.get(Deal, args.deal_id)["rep_id"] != args.rep_id)


@precondition
def rep_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The rep is active, not away."""
    return bool(db.get(Rep, args.rep_id)["status"] == "active")


@precondition
def rep_covers_territory(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The rep sells in the territory of the deal's company."""
    company = db.get(Company, db.get(Deal, args.deal_id)["company_id"])
    return bool(db.get(Rep, args.rep_id)["territory"] == company["territory"])


@precondition
def rep_has_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The rep has fewer open deals than the most they look after at a time."""
    return _has_room(db, db.get(Rep, args.rep_id))


# -- verbs ---------------------------------------------------------------------------------------------------------


class DealKeyArgs(Args):
    """Arguments that name a deal."""

    deal_id: Key


class AdvanceArgs(DealKeyArgs):
    """Arguments of a step through the stages."""

    stage: Annotated[Literal["proposal", "negotiation", "lost"], Field(description="the stage to move to")]


@verb(
    requires=[stage_comes_next, deal_has_rep, stage_fields_are_filled, decision_maker_is_at_company, close_lies_ahead],
    returns=DealView,
)
def advance_deal(db: Database, sources: EpisodeSources, args: AdvanceArgs) -> Row:
    """Move an open deal to its next stage (discovery, proposal, negotiation), or give it up as lost.

    Proposal asks for a rep, a need and an amount; negotiation also for a decision maker at the company and an
    expected close in the future; lost for a reason.
    """
    lost_at = sources.now if args.stage == "lost" else None
    return db.update(Deal, args.deal_id, stage=args.stage, lost_at=lost_at)


@verb(requires=[deal_is_in_negotiation, decision_maker_is_at_company, decision_maker_was_heard], returns=DealView)
def log_deal_won(db: Database, sources: EpisodeSources, args: DealKeyArgs) -> Row:
    """Record that a deal in negotiation was won, after a call or meeting with its decision maker was recorded.

    Its amount is credited to its rep, and the company becomes a customer.
    """
    deal = db.get(Deal, args.deal_id)
    rep = db.get(Rep, deal["rep_id"])
    db.update(Rep, rep["rep_id"], booked=rep["booked"] + deal["amount"])
    db.update(Company, deal["company_id"], status="customer")
    return db.update(Deal, args.deal_id, stage="won", booked_amount=deal["amount"])


@verb(requires=[deal_is_lost, loss_is_recent, deal_was_never_reopened, owner_can_take_it_back], returns=DealView)
def reopen_deal(db: Database, sources: EpisodeSources, args: DealKeyArgs) -> Row:
    """Give a deal lost in the last 90 days its second and last try: it is in discovery again, with its rep."""
    return db.update(Deal, args.deal_id, stage="discovery", lost_reason="", lost_at=None, reopened=1)


class AssignArgs(DealKeyArgs):
    """Arguments of an assignment."""

    rep_id: Key


@verb(requires=[deal_is_open, rep_is_not_owner, rep_is_active, rep_covers_territory, rep_has_room], returns=DealView)
def assign_deal(db: Database, sources: EpisodeSources, args: AssignArgs) -> Row:
    """Give an open deal to an active rep who sells in its company's territory and has room for one more."""
    return db.update(Deal, args.deal_id, rep_id=args.rep_id)


# -- queries -------------------------------------------------------------------------------------------------------


class NextStage(Output):
    """A stage a deal may move to, and what it lacks for it."""

    stage: str
    missing_fields: list[str]


class Said(Output):
    """One activity about a deal."""

    activity_id: str
    contact_id: str
    contact_name: str
    kind: str
    summary: str
    created_at: InstantOut


DealDetails = create_model(
    "DealDetails", __base__=DealView, company_name=(str, ...), company_status=(str, ...), territory=(str, ...),
    next_stages=(list[NextStage], ...), activities=(list[Said], ...),
)  # fmt: skip

_SAID = Query(
    select(
        Activity.activity_id, Activity.contact_id, Contact.name.label("contact_name"), Activity.kind, Activity.summary,
        Activity.created_at,
    )
    .join_from(Activity, Contact, Contact.contact_id == Activity.contact_id)
    .where(Activity.deal_id == bindparam("deal"))
    .order_by(Activity.created_at.desc(), Activity.activity_id)
    .limit(20)
)  # fmt: skip


@query(returns=DealDetails)
def inspect_deal(db: Database, sources: EpisodeSources, args: DealKeyArgs) -> Row:
    """One deal with its company, what each next stage still asks for, and the latest 20 activities about it."""
    deal = db.get(Deal, args.deal_id)
    company = db.get(Company, deal["company_id"])
    return {
        **deal,
        "company_name": company["name"],
        "company_status": company["status"],
        "territory": company["territory"],
        "next_stages": [
            {"stage": stage, "missing_fields": missing_fields(deal, stage)} for stage in NEXT.get(deal["stage"], ())
        ],
        "activities": db.rows(_SAID, deal=args.deal_id),
    }


class ForecastArgs(Args):
    """Arguments of a forecast."""

    territory: Annotated[Literal["EMEA", "AMER", "APAC"] | None, Field(description="all territories if left out")] = (
        None
    )


class StageForecast(Output):
    """Open deals of one stage; amounts in minor units, expected = amount times the stage's chance in percent."""

    stage: str
    deals: int
    without_rep: int
    amount: int
    percent: int
    expected: int


class Forecast(Output):
    """Open deals by stage."""

    items: list[StageForecast]
    expected: int


_PIPELINE = Query(
    select(
        Deal.stage, func.count().label("deals"), (func.count() - func.count(Deal.rep_id)).label("without_rep"),
        func.coalesce(func.sum(Deal.amount), 0).label("amount"),
    )
    .join_from(Deal, Company, Company.company_id == Deal.company_id)
    .where(
        Company.territory == func.coalesce(bindparam("territory"), Company.territory),
        Deal.stage != "won", Deal.stage != "lost",
    )
    .group_by(Deal.stage)
)  # fmt: skip


@query(returns=Forecast)
def forecast_pipeline(db: Database, sources: EpisodeSources, args: ForecastArgs) -> Row:
    """What the open deals, of one territory or of all, are worth by stage and weighted by the chance to win them."""
    found = {row["stage"]: row for row in db.rows(_PIPELINE, territory=args.territory)}
    items = [
        {**found[stage], "percent": percent, "expected": found[stage]["amount"] * percent // 100}
        for stage, percent in PERCENT.items()
        if stage in found
    ]
    return {"items": items, "expected": sum(item["expected"] for item in items)}


VERBS = [advance_deal, log_deal_won, reopen_deal, assign_deal]
QUERIES = [inspect_deal, forecast_pipeline]
