"""Leads that become contacts and deals, and contacts that are in the books twice.

Rules: a lead is qualified by a budget, a need and a contact with a say; it joins the company and the contact that are
known already; only contacts that look alike are merged, at one company, and nothing that belonged to either is lost.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.crm.models import Activity, Company, Contact, Deal, Lead
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, verb
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key, refers_to

LEAST_BUDGET: Final = 100_000

_CONTACT_BY_EMAIL = Query(
    select(Contact.__table__)
    .where(func.lower(Contact.email) == func.lower(bindparam("email")))
    .order_by(Contact.contact_id)
)
_COMPANY_BY_NAME = Query(
    select(Company.__table__)
    .where(func.lower(Company.name) == func.lower(bindparam("name")))
    .order_by(Company.company_id)
)
_DEALS_OF_CONTACT = Query(
    select(Deal.deal_id, Deal.contact_id, Deal.decision_maker_id)
    .where((Deal.contact_id == bindparam("contact")) | (Deal.decision_maker_id == bindparam("contact")))
    .order_by(Deal.deal_id)
)
_ACTIVITIES_OF_CONTACT = Query(
    select(Activity.activity_id).where(Activity.contact_id == bindparam("contact")).order_by(Activity.activity_id)
)

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def lead_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The lead is open, neither converted nor disqualified."""
    return bool(db.get(Lead, args.lead_id)["status"] == "open")


@precondition
def lead_is_qualified(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The lead has a budget of at least 1,000.00, a need, and is an influencer or the decider."""
    lead = db.get(Lead, args.lead_id)
    has_budget = (lead["budget"] or 0) >= LEAST_BUDGET
    return bool(has_budget and lead["need"] and lead["authority"] in ("influencer", "decider"))


@precondition
def email_is_not_elsewhere(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No contact of another company has the lead's email address."""
    lead = db.get(Lead, args.lead_id)
    contact, company = _known(db, lead)
    return contact is None or (company is not None and contact["company_id"] == company["company_id"])


@precondition
def contacts_differ(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The duplicate is another contact than the one that is kept."""
    return bool(args.contact_id != args.duplicate_contact_id)


@precondition
def contacts_share_company(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Both contacts are at the same company."""
    kept, duplicate = db.get(Contact, args.contact_id), db.get(Contact, args.duplicate_contact_id)
    return bool(kept["company_id"] == duplicate["company_id"])


@precondition
def contacts_look_alike(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The contacts have the same name, whatever its case, or the same phone number."""
    kept, duplicate = db.get(Contact, args.contact_id), db.get(Contact, args.duplicate_contact_id)
    same_phone = kept["phone"] != "" and kept["phone"] == duplicate["phone"]
    return bool(same_phone or kept["name"].casefold() == duplicate["name"].casefold())


# -- verbs ---------------------------------------------------------------------------------------------------------


class LeadKeyArgs(Args):
    """Arguments that name a lead."""

    lead_id: Key


class Converted(Output):
    """What a lead became."""

    lead_id: str
    company_id: str
    contact_id: str
    deal_id: str
    new_company: bool
    new_contact: bool


@verb(requires=[lead_is_open, lead_is_qualified, email_is_not_elsewhere], returns=Converted)
def convert_lead(db: Database, sources: EpisodeSources, args: LeadKeyArgs) -> Row:
    """Convert an open, qualified lead into a contact and a deal in discovery that no rep has yet.

    Qualified: a budget of at least 1,000.00, a need, and an influencer or decider. The company and the contact are
    made unless they are known. What the lead told is carried over to the deal.
    """
    lead = db.get(Lead, args.lead_id)
    known_contact, known_company = _known(db, lead)
    company = known_company or db.insert(Company, name=lead["company_name"], territory=lead["territory"])
    contact = known_contact or db.insert(
        Contact, company_id=company["company_id"], name=lead["name"], email=lead["email"], phone=lead["phone"]
    )
    deal = db.insert(
        Deal, company_id=company["company_id"], contact_id=contact["contact_id"],
        title=f"{company['name']}: {lead['need']}"[:120], need=lead["need"], amount=lead["budget"],
        decision_maker_id=contact["contact_id"] if lead["authority"] == "decider" else None,
        expected_close=lead["decision_by"],
    )  # fmt: skip
    db.update(Lead, args.lead_id, status="converted", deal_id=deal["deal_id"])
    return {
        "lead_id": args.lead_id,
        **{name: deal[name] for name in ("company_id", "contact_id", "deal_id")},
        "new_company": known_company is None,
        "new_contact": known_contact is None,
    }


def _known(db: Database, lead: Row) -> tuple[Row | None, Row | None]:
    """The contact with a lead's email address and the company with its name, if there are such."""
    contact = db.first(_CONTACT_BY_EMAIL, email=lead["email"])
    return contact, db.first(_COMPANY_BY_NAME, name=lead["company_name"])


class MergeArgs(Args):
    """Arguments of a merge."""

    contact_id: Annotated[Key, Field(description="the contact that is kept")]
    duplicate_contact_id: Annotated[Key, refers_to("contact", "the contact that goes away")]


class Merged(Output):
    """The contact that was kept, and what came to it."""

    contact_id: str
    other_emails: str
    moved_deals: int
    moved_activities: int


@verb(requires=[contacts_differ, contacts_share_company, contacts_look_alike], returns=Merged)
def merge_contacts(db: Database, sources: EpisodeSources, args: MergeArgs) -> Row:
    """Merge a duplicate into another contact at the same company with the same name or phone number.

    Its deals, activities and addresses move to the contact that is kept; then the duplicate is gone.
    """
    kept, duplicate = db.get(Contact, args.contact_id), db.get(Contact, args.duplicate_contact_id)
    deals = db.rows(_DEALS_OF_CONTACT, contact=args.duplicate_contact_id)
    for deal in deals:
        roles = [name for name in ("contact_id", "decision_maker_id") if deal[name] == args.duplicate_contact_id]
        db.update(Deal, deal["deal_id"], **dict.fromkeys(roles, args.contact_id))
    activities = db.rows(_ACTIVITIES_OF_CONTACT, contact=args.duplicate_contact_id)
    for activity in activities:
        db.update(Activity, activity["activity_id"], contact_id=args.contact_id)
    db.delete(Contact, args.duplicate_contact_id)
    emails = ", ".join(filter(None, (kept["other_emails"], duplicate["email"], duplicate["other_emails"])))
    gaps = {name: duplicate[name] for name in ("phone", "job_title") if not kept[name]}
    db.update(Contact, args.contact_id, other_emails=emails, **gaps)
    return {
        "contact_id": args.contact_id,
        "other_emails": emails,
        "moved_deals": len(deals),
        "moved_activities": len(activities),
    }


VERBS = [convert_lead, merge_contacts]
