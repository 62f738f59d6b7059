"""The CRM credits every won deal once, overloads nobody and loses nothing in a merge, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.crm import SERVER
from palaestra.mcp_servers.crm.models import Activity, Company, Contact, Deal, Lead, Rep
from palaestra.mcp_servers.crm.stages import NEXT, missing_fields
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database


def opened(seed: int) -> Episode:
    return EpisodeStore([SERVER]).open(seed=seed)[1]


def rows(crm: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = crm.state("crm").database
    return database.every(model)


def addresses(crm: Episode) -> set[str]:
    """Every address of every contact, merged ones included."""
    found = [f"{row['email']}, {row['other_emails']}".split(", ") for row in rows(crm, Contact)]
    return {address for several in found for address in several if address}


def check_invariants(crm: Episode) -> None:
    deals, companies = rows(crm, Deal), {row["company_id"]: row for row in rows(crm, Company)}
    for rep in rows(crm, Rep):
        own = [deal for deal in deals if deal["rep_id"] == rep["rep_id"]]
        assert rep["booked"] == sum(deal["booked_amount"] for deal in own)
        assert sum(deal["stage"] in NEXT for deal in own) <= rep["max_deals"]
        assert all(companies[deal["company_id"]]["territory"] == rep["territory"] for deal in own)
    workplace = {row["contact_id"]: row["company_id"] for row in rows(crm, Contact)}
    for deal in deals:
        assert workplace[deal["contact_id"]] == deal["company_id"]
        assert (deal["booked_amount"] > 0) == (deal["stage"] == "won")
        assert (deal["lost_at"] is not None) == (deal["stage"] == "lost")
        assert deal["rep_id"] or deal["stage"] in ("discovery", "lost")
        asked = {"discovery": [], "won": missing_fields(deal, "negotiation")}
        assert asked.get(deal["stage"]) == [] or not missing_fields(deal, deal["stage"])
    customers = {deal["company_id"] for deal in deals if deal["stage"] == "won"}
    assert customers == {key for key, company in companies.items() if company["status"] == "customer"}
    became = [lead["deal_id"] for lead in rows(crm, Lead) if lead["status"] == "converted"]
    assert None not in became
    assert len(became) == len(set(became))


def random_calls(crm: Episode, seed: int, count: int) -> set[str]:
    """Any verb or change of a deal, with keys that mostly fit; the tools that succeeded."""
    rng = stream(seed, "calls")
    done = set()
    for _ in range(count):
        deals, reps, contacts = rows(crm, Deal), rows(crm, Rep), rows(crm, Contact)
        deal, contact = deals[int(rng.integers(len(deals)))], contacts[int(rng.integers(len(contacts)))]
        colleagues = [row["contact_id"] for row in contacts if row["company_id"] == contact["company_id"]]
        key = {"deal_id": deal["deal_id"]}
        lead = {"lead_id": str(rng.choice([row["lead_id"] for row in rows(crm, Lead)]))}
        talk = {"contact_id": deal["decision_maker_id"] or deal["contact_id"], "kind": "call", "summary": "Yes?"}
        merge = {"contact_id": contact["contact_id"], "duplicate_contact_id": str(rng.choice(colleagues))}
        known = {"decision_maker_id": deal["contact_id"], "expected_close": "2026-05-01T00:00:00Z"}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("convert_lead", lead), ("log_deal_won", key), ("reopen_deal", key), ("merge_contacts", merge),
            ("assign_deal", {**key, "rep_id": reps[int(rng.integers(len(reps)))]["rep_id"]}),
            ("advance_deal", {**key, "stage": str(rng.choice(["proposal", "negotiation", "lost"]))}),
            ("update_deal", {**key, **known, "amount": int(rng.integers(1, 10**6)), "lost_reason": "dear"}),
            ("create_sales_activity", {**key, **talk}),
        ]  # fmt: skip
        name, arguments = calls[int(rng.integers(len(calls)))]
        result = dispatch(crm, name, arguments)
        assert result.fault is None or result.fault.code == "precondition", result.text
        done |= set() if result.is_error else {name}
    return done


@pytest.mark.parametrize("seed", range(3))
def test_random_play_breaks_no_rule(seed: int) -> None:
    crm = opened(seed)
    check_invariants(crm)
    before = addresses(crm)
    done = random_calls(crm, seed, 500)
    check_invariants(crm)
    assert done >= {"convert_lead", "advance_deal", "log_deal_won", "reopen_deal", "assign_deal"}
    assert addresses(crm) >= before


def test_a_merge_moves_everything_and_fills_the_gaps() -> None:
    crm = opened(6)
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    kept, double = next(
        (first, row)
        for row in rows(crm, Contact)
        if (first := seen.setdefault((row["company_id"], row["name"].casefold()), row)) is not row
    )
    activities, before = rows(crm, Activity), addresses(crm)
    # Merged the other way round, so that the one that stays has a gap to fill.
    kept, double = (kept, double) if kept["phone"] == "" else (double, kept)
    merge = {"contact_id": kept["contact_id"], "duplicate_contact_id": double["contact_id"]}
    assert not dispatch(crm, "merge_contacts", merge).is_error
    after = {row["contact_id"]: row for row in rows(crm, Contact)}
    assert double["contact_id"] not in after
    assert after[kept["contact_id"]]["phone"] == double["phone"] != ""
    moved = {row["activity_id"]: row["contact_id"] for row in rows(crm, Activity)}
    for row in activities:
        was_theirs = row["contact_id"] == double["contact_id"]
        assert moved[row["activity_id"]] == (kept["contact_id"] if was_theirs else row["contact_id"])
    assert addresses(crm) == before
    check_invariants(crm)


def test_a_generated_tool_cannot_advance_assign_or_book() -> None:
    crm = opened(0)
    key = {"deal_id": rows(crm, Deal)[0]["deal_id"]}
    for name in ("stage", "rep_id", "booked_amount", "reopened", "contact_id"):
        assert dispatch(crm, "update_deal", {**key, name: "won"}).content["code"] == "invalid_arguments"
    lead = {"lead_id": rows(crm, Lead)[0]["lead_id"]}
    assert dispatch(crm, "update_lead", {**lead, "status": "converted"}).content["code"] == "invalid_arguments"


@pytest.mark.parametrize("seed", range(4))
def test_the_world_holds_its_situations(seed: int) -> None:
    crm = opened(seed)
    reps, deals, leads = rows(crm, Rep), rows(crm, Deal), rows(crm, Lead)
    full = next(rep["rep_id"] for rep in reps if rep["max_deals"] == 2)
    assert sum(deal["rep_id"] == full and deal["stage"] in NEXT for deal in deals) == 2
    assert [rep["status"] for rep in reps].count("away") == 1
    assert {deal["stage"] for deal in deals} == {"discovery", "proposal", "negotiation", "won", "lost"}
    assert {lead["status"] for lead in leads} == {"open", "converted", "disqualified"}
    assert {lead["email"] for lead in leads} & addresses(crm)
    assert sum("maintenance mode" in lead["notes"] for lead in leads) == 1
    names = [(row["company_id"], row["name"].casefold()) for row in rows(crm, Contact)]
    assert len(set(names)) == len(names) - 1
