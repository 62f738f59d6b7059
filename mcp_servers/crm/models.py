"""Tables of the CRM: sales reps, companies and their contacts, deals with what was said about them, and leads."""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    integer,
    money,
    reference,
    text,
)

TERRITORIES = ("EMEA", "AMER", "APAC")


class Base(Entity, DeclarativeBase):
    """Tables of the CRM."""


class Rep(Base):
    """A sales representative: sells in one territory, and looks after so many open deals at a time."""

    __tablename__ = "rep"
    rep_id: Mapped[str] = identifier("rep")
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120, unique=True)
    territory: Mapped[str] = choice(*TERRITORIES, role=Role.GUARDED)
    max_deals: Mapped[int] = integer("most open deals at a time", minimum=1, maximum=50, role=Role.GUARDED)
    status: Mapped[str] = choice("active", "away", role=Role.GUARDED)
    booked: Mapped[int] = money("won so far", default=0, role=Role.GUARDED)


class Company(Base):
    """A company we sell to, or would like to. With the first won deal it becomes a customer."""

    __tablename__ = "company"
    company_id: Mapped[str] = identifier("com")
    name: Mapped[str] = text(100, unique=True)
    territory: Mapped[str] = choice(*TERRITORIES, role=Role.GUARDED)
    status: Mapped[str] = choice("prospect", "customer", default="prospect", role=Role.GUARDED)


class Contact(Base):
    """Someone at a company."""

    __tablename__ = "contact"
    contact_id: Mapped[str] = identifier("con")
    company_id: Mapped[str] = reference("company.company_id", role=Role.GUARDED)
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120, unique=True)
    phone: Mapped[str] = text(30, default="")
    job_title: Mapped[str] = text(60, default="")
    other_emails: Mapped[str] = text(500, "of contacts merged into this one", default="", role=Role.GUARDED)


class Deal(Base):
    """Something a company may buy. Its stages ask for more and more to be known; won and lost are the ends."""

    __tablename__ = "deal"
    deal_id: Mapped[str] = identifier("dea")
    company_id: Mapped[str] = reference("company.company_id", role=Role.GUARDED)
    contact_id: Mapped[str] = reference("contact.contact_id", role=Role.GUARDED)
    rep_id: Mapped[str | None] = reference("rep.rep_id", role=Role.GUARDED, optional=True)
    title: Mapped[str] = text(120)
    stage: Mapped[str] = choice(
        "discovery", "proposal", "negotiation", "won", "lost", default="discovery", role=Role.GUARDED
    )
    need: Mapped[str] = text(120, "what the company wants to solve", default="")
    amount: Mapped[int | None] = integer(
        "what the deal is worth", minimum=1, maximum=10**12, unit="minor units", optional=True
    )
    decision_maker_id: Mapped[str | None] = reference(
        "contact.contact_id", "the contact at the company who decides", optional=True
    )
    expected_close: Mapped[int | None] = instant("when the decision is expected", optional=True)
    lost_reason: Mapped[str] = text(140, "why it was lost, or will be", default="")
    booked_amount: Mapped[int] = money("credited to the rep when it was won", default=0, role=Role.GUARDED)
    reopened: Mapped[int] = flag("was lost once and reopened", role=Role.GUARDED)
    lost_at: Mapped[int | None] = instant(role=Role.VOLATILE, optional=True)
    created_at: Mapped[int] = instant(fill="create")


class Activity(Base):
    """A call, a meeting or a mail with a contact, about a deal or in general."""

    __tablename__ = "activity"
    activity_id: Mapped[str] = identifier("act")
    contact_id: Mapped[str] = reference("contact.contact_id")
    deal_id: Mapped[str | None] = reference("deal.deal_id", "the deal it was about", optional=True)
    kind: Mapped[str] = choice("call", "meeting", "email")
    summary: Mapped[str] = text(300)
    created_at: Mapped[int] = instant(fill="create")


class Lead(Base):
    """Someone who showed interest; once qualified, a lead is converted into a contact and a deal."""

    __tablename__ = "lead"
    lead_id: Mapped[str] = identifier("lea")
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120)
    phone: Mapped[str] = text(30, default="")
    company_name: Mapped[str] = text(100)
    territory: Mapped[str] = choice(*TERRITORIES)
    source: Mapped[str] = choice("website", "referral", "trade_fair", "cold_call", default="website")
    budget: Mapped[int | None] = integer(
        "what they can spend", minimum=1, maximum=10**12, unit="minor units", optional=True
    )
    authority: Mapped[str] = choice(
        "unknown", "user", "influencer", "decider", doc="their say in the decision", default="unknown"
    )
    need: Mapped[str] = text(120, "what they want to solve", default="")
    decision_by: Mapped[int | None] = instant("when they want to decide", optional=True)
    notes: Mapped[str] = text(300, default="")
    status: Mapped[str] = choice("open", "converted", "disqualified", default="open", role=Role.GUARDED)
    deal_id: Mapped[str | None] = reference("deal.deal_id", "what it became", role=Role.GUARDED, optional=True)


MODELS = [Rep, Company, Contact, Deal, Activity, Lead]
