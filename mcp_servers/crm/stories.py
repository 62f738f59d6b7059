"""Scenes and chains in the CRM that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

NEXT_MONTH = "2026-04-02T12:00:00Z"
LAST_MONTH = "2026-02-02T12:00:00Z"


def _reps(tell: Teller) -> tuple[dict[str, Any], dict[str, Any]]:
    """A rep with some room, and one of the same territory who has none."""
    reps = {rep["max_deals"]: rep for rep in tell.items("list_sales_reps")}
    return reps[9], reps[2]


def _deals(tell: Teller, **filters: Any) -> list[dict[str, Any]]:
    return tell.items("list_deals", **filters)


def _deal(tell: Teller, rep: dict[str, Any], stage: str) -> dict[str, Any]:
    """The deal of a rep in a stage they have one in."""
    return _deals(tell, rep_id=rep["rep_id"], stage=stage)[0]


def _nobodys(tell: Teller) -> str:
    """The deal without a rep and an amount."""
    return str(next(d["deal_id"] for d in _deals(tell, stage="discovery") if d["rep_id"] is d["amount"] is None))


def _budgetless(tell: Teller, territory: str) -> str:
    """A lead that lacks its budget only."""
    leads = tell.items("list_leads", status="open", territory=territory, authority="decider")
    return str(next(lead["lead_id"] for lead in leads if lead["need"] and lead["budget"] is None))


def _twins(tell: Teller, deal: dict[str, Any]) -> tuple[str, str, str]:
    """The decision maker of a deal, their double at the same company, and the namesake at another."""
    kept = _contact(tell, deal, deal["decision_maker_id"])
    found = tell.items("search_contacts", text=_ascii_tail(kept["name"]))
    alike = [c for c in found if c["name"].casefold() == kept["name"].casefold() and c != kept]
    double = next(c["contact_id"] for c in alike if c["company_id"] == deal["company_id"])
    return kept["contact_id"], double, next(c["contact_id"] for c in alike if c["company_id"] != deal["company_id"])


def _contact(tell: Teller, deal: dict[str, Any], contact_id: str) -> dict[str, Any]:
    """A contact who wrote or was talked to about a deal."""
    said = tell.call("inspect_deal", deal_id=deal["deal_id"])["activities"]
    name = next(one["contact_name"] for one in said if one["contact_id"] == contact_id)
    found = tell.items("search_contacts", text=name)
    return next(contact for contact in found if contact["contact_id"] == contact_id)


def _ascii_tail(name: str) -> str:
    """The longest part of a name a search finds in any case: searching ignores the case of ASCII letters only."""
    parts = "".join(letter if letter.isascii() else "\n" for letter in name).split("\n")
    return max(parts, key=len).strip()


def turn_a_lead_into_a_deal(tell: Teller) -> None:
    """A lead is qualified, converted, given to a rep who may have it, and taken to negotiation."""
    rep, full = _reps(tell)
    territory = rep["territory"]
    budgetless = _budgetless(tell, territory)
    tell.refused("lead_is_qualified", "convert_lead", lead_id=budgetless)
    tell.call("update_lead", lead_id=budgetless, budget=99_900)
    tell.refused("lead_is_qualified", "convert_lead", lead_id=budgetless)
    tell.call("update_lead", lead_id=budgetless, budget=2_400_000)
    made = tell.call("convert_lead", lead_id=budgetless)
    tell.refused("lead_is_open", "convert_lead", lead_id=budgetless)
    deal = {"deal_id": made["deal_id"]}
    tell.refused("deal_has_rep", "advance_deal", **deal, stage="proposal")
    away = tell.items("list_sales_reps", status="away")[0]
    stranger = next(r for r in tell.items("list_sales_reps", status="active") if r["territory"] != territory)
    tell.refused("rep_is_active", "assign_deal", **deal, rep_id=away["rep_id"])
    tell.refused("rep_covers_territory", "assign_deal", **deal, rep_id=stranger["rep_id"])
    tell.refused("rep_has_room", "assign_deal", **deal, rep_id=full["rep_id"])
    tell.call("assign_deal", **deal, rep_id=rep["rep_id"])
    tell.refused("rep_is_not_owner", "assign_deal", **deal, rep_id=rep["rep_id"])
    tell.refused("stage_comes_next", "advance_deal", **deal, stage="negotiation")
    tell.call("advance_deal", **deal, stage="proposal")
    tell.refused("not_found", "update_deal", **deal, decision_maker_id="con_1")
    foreign = next(d["contact_id"] for d in _deals(tell, rep_id=stranger["rep_id"]))
    tell.call("update_deal", **deal, decision_maker_id=foreign, expected_close=LAST_MONTH)
    tell.refused("decision_maker_is_at_company", "advance_deal", **deal, stage="negotiation")
    tell.call("update_deal", **deal, decision_maker_id=made["contact_id"])
    tell.refused("close_lies_ahead", "advance_deal", **deal, stage="negotiation")
    tell.call("update_deal", **deal, expected_close=NEXT_MONTH)
    tell.call("advance_deal", **deal, stage="negotiation")
    tell.refused("invalid_arguments", "update_deal", **deal, stage="won")


def convert_someone_known(tell: Teller) -> None:
    """A new lead at a company in the books joins it; an address that belongs elsewhere has to be corrected first."""
    new = {"name": "Zoë Ünal", "company_name": "Ünal & Partner", "territory": "EMEA", "need": "one invoice per month"}
    first = tell.call("create_lead", **new, email="zoe@unal.example", budget=500_000, authority="decider")
    second = tell.call("create_lead", **new, email="Zoe@Unal.example", budget=700_000, authority="influencer")
    third = tell.call(
        "create_lead", **{**new, "company_name": "Other"}, email="ZOE@unal.example", budget=900_000, authority="decider"
    )
    made = tell.call("convert_lead", lead_id=first["lead_id"])
    again = tell.call("convert_lead", lead_id=second["lead_id"])
    assert (made["new_company"], made["new_contact"]) == (True, True)  # noqa: S101 - a story holds its server to its rules
    assert (again["new_company"], again["new_contact"]) == (False, False)  # noqa: S101
    tell.refused("email_is_not_elsewhere", "convert_lead", lead_id=third["lead_id"])
    tell.call("update_lead", lead_id=third["lead_id"], email="zoe@other.example")
    tell.call("convert_lead", lead_id=third["lead_id"])
    disqualified = tell.items("list_leads", status="converted")[0]["lead_id"]
    tell.refused("lead_is_open", "convert_lead", lead_id=disqualified)


def win_after_talking(tell: Teller) -> None:
    """A deal is won once the decision maker was heard, and then it is nobody's to change."""
    rep, _ = _reps(tell)
    deal, proposal = _deal(tell, rep, "negotiation"), _deal(tell, rep, "proposal")["deal_id"]
    tell.refused("deal_is_in_negotiation", "log_deal_won", deal_id=proposal)
    tell.refused("decision_maker_was_heard", "log_deal_won", deal_id=deal["deal_id"])
    decider = deal["decision_maker_id"]
    foreign = _deal(tell, rep, "proposal")["contact_id"]
    tell.call("create_sales_activity", contact_id=decider, deal_id=deal["deal_id"], kind="email", summary="Any news?")
    tell.refused("decision_maker_was_heard", "log_deal_won", deal_id=deal["deal_id"])
    tell.call("create_sales_activity", contact_id=decider, deal_id=deal["deal_id"], kind="call", summary="They sign!")
    tell.call("update_deal", deal_id=deal["deal_id"], decision_maker_id=foreign)
    tell.refused("decision_maker_is_at_company", "log_deal_won", deal_id=deal["deal_id"])
    tell.call("update_deal", deal_id=deal["deal_id"], decision_maker_id=decider)
    before = tell.call("forecast_pipeline", territory=rep["territory"])["expected"]
    won = tell.call("log_deal_won", deal_id=deal["deal_id"])
    after, _ = _reps(tell)
    assert after["booked"] - rep["booked"] == won["booked_amount"] == deal["amount"]  # noqa: S101
    assert tell.call("forecast_pipeline", territory=rep["territory"])["expected"] < before  # noqa: S101
    tell.refused("deal_is_open", "assign_deal", deal_id=deal["deal_id"], rep_id=rep["rep_id"])
    tell.refused("deal_is_in_negotiation", "log_deal_won", deal_id=deal["deal_id"])


def lose_and_try_again(tell: Teller) -> None:
    """A deal is given up with a reason and gets one more try, if its rep has room and it is not too late."""
    rep, full = _reps(tell)
    lost = _deals(tell, rep_id=rep["rep_id"], stage="lost")
    twice = next(deal["deal_id"] for deal in lost if deal["reopened"])
    old = next(deal["deal_id"] for deal in lost if not deal["reopened"])
    theirs = _deal(tell, full, "lost")["deal_id"]
    tell.refused("deal_was_never_reopened", "reopen_deal", deal_id=twice)
    tell.refused("loss_is_recent", "reopen_deal", deal_id=old)
    tell.refused("owner_can_take_it_back", "reopen_deal", deal_id=theirs)
    started = _deal(tell, full, "discovery")["deal_id"]
    tell.refused("deal_is_lost", "reopen_deal", deal_id=started)
    tell.refused("stage_fields_are_filled", "advance_deal", deal_id=started, stage="lost")
    tell.call("update_deal", deal_id=started, lost_reason="the plant closes")
    tell.call("advance_deal", deal_id=started, stage="lost")
    assert tell.call("reopen_deal", deal_id=theirs)["stage"] == "discovery"  # noqa: S101
    tell.refused("owner_can_take_it_back", "reopen_deal", deal_id=started)
    tell.wait(91 * 86_400)
    tell.refused("loss_is_recent", "reopen_deal", deal_id=started)


def merge_the_twins(tell: Teller) -> None:
    """The contact that is there twice becomes one, with all that belonged to either; the namesake is left alone."""
    rep, _ = _reps(tell)
    deal = _deal(tell, rep, "negotiation")
    kept, double, namesake = _twins(tell, deal)
    colleague = next(
        c for c in tell.items("search_contacts", text="@")
        if c["company_id"] == deal["company_id"] and c["contact_id"] not in (kept, double)
    )  # fmt: skip
    tell.refused("contacts_differ", "merge_contacts", contact_id=kept, duplicate_contact_id=kept)
    tell.refused("contacts_share_company", "merge_contacts", contact_id=kept, duplicate_contact_id=namesake)
    tell.refused("contacts_look_alike", "merge_contacts", contact_id=kept, duplicate_contact_id=colleague["contact_id"])
    merged = tell.call("merge_contacts", contact_id=kept, duplicate_contact_id=double)
    assert (merged["moved_deals"], merged["moved_activities"]) == (1, 1)  # noqa: S101
    tell.refused("not_found", "merge_contacts", contact_id=kept, duplicate_contact_id=double)
    assert tell.items("search_contacts", text=merged["other_emails"])[0]["contact_id"] == kept  # noqa: S101


STORIES = [turn_a_lead_into_a_deal, convert_someone_known, win_after_talking, lose_and_try_again, merge_the_twins]


# -- chains --------------------------------------------------------------------------------------------------------


def ask_for_the_budget(tell: Teller) -> None:
    """Note the budget a lead named, convert the lead, give the deal to a rep, and send the proposal."""
    rep, _ = _reps(tell)
    lead = _budgetless(tell, rep["territory"])
    tell.call("update_lead", lead_id=lead, budget=1_250_000)
    deal = tell.call("convert_lead", lead_id=lead)["deal_id"]
    tell.call("assign_deal", deal_id=deal, rep_id=rep["rep_id"])
    tell.call("advance_deal", deal_id=deal, stage="proposal")


def from_the_fair_to_negotiation(tell: Teller) -> None:
    """Enter a decider met at a trade fair, convert them, give the deal to a rep, propose, and negotiate."""
    rep, _ = _reps(tell)
    lead = tell.call(
        "create_lead", name="Noémi Szabó", email="noemi@duna.example", company_name="Duna Gép", source="trade_fair",
        territory=rep["territory"], budget=3_000_000, authority="decider", need="fewer stops of the line",
        decision_by=NEXT_MONTH,
    )  # fmt: skip
    deal = tell.call("convert_lead", lead_id=lead["lead_id"])["deal_id"]
    tell.call("assign_deal", deal_id=deal, rep_id=rep["rep_id"])
    tell.call("advance_deal", deal_id=deal, stage="proposal")
    tell.call("advance_deal", deal_id=deal, stage="negotiation")


def win_one_and_retry_another(tell: Teller) -> None:
    """Record the deal the busy rep has won, reopen the one they lost, and propose again."""
    _, full = _reps(tell)
    won, lost = _deal(tell, full, "negotiation")["deal_id"], _deal(tell, full, "lost")["deal_id"]
    tell.call("log_deal_won", deal_id=won)
    tell.call("reopen_deal", deal_id=lost)
    tell.call("advance_deal", deal_id=lost, stage="proposal")


def make_room_for_a_deal(tell: Teller) -> None:
    """Note why a deal is hopeless, give it up, and let its rep have the deal nobody looks after."""
    _, full = _reps(tell)
    hopeless, free = _deal(tell, full, "discovery")["deal_id"], _nobodys(tell)
    tell.call("update_deal", deal_id=hopeless, lost_reason="merged with a competitor")
    tell.call("advance_deal", deal_id=hopeless, stage="lost")
    tell.call("assign_deal", deal_id=free, rep_id=full["rep_id"])


def talk_to_the_double(tell: Teller) -> None:
    """A call went to the decision maker's double; merged with them it counts, and the deal is won."""
    rep, _ = _reps(tell)
    deal = _deal(tell, rep, "negotiation")
    kept, double, _ = _twins(tell, deal)
    tell.call("create_sales_activity", contact_id=double, deal_id=deal["deal_id"], kind="call", summary="It is a yes.")
    tell.call("merge_contacts", contact_id=kept, duplicate_contact_id=double)
    tell.call("log_deal_won", deal_id=deal["deal_id"])


def settle_with_the_decider(tell: Teller) -> None:
    """Name the decision maker and the day, enter negotiation, and record the win that was agreed on before."""
    rep, _ = _reps(tell)
    deal = _deal(tell, rep, "proposal")
    tell.call("update_deal", deal_id=deal["deal_id"], decision_maker_id=deal["contact_id"], expected_close=NEXT_MONTH)
    tell.call("advance_deal", deal_id=deal["deal_id"], stage="negotiation")
    tell.call("log_deal_won", deal_id=deal["deal_id"])


def second_thoughts(tell: Teller) -> None:
    """Note why a proposal failed, give the deal up, reopen it when they call back, and propose anew."""
    rep, _ = _reps(tell)
    deal = _deal(tell, rep, "proposal")["deal_id"]
    tell.call("update_deal", deal_id=deal, lost_reason="too dear")
    tell.call("advance_deal", deal_id=deal, stage="lost")
    tell.call("reopen_deal", deal_id=deal)
    tell.call("advance_deal", deal_id=deal, stage="proposal")


CHAINS = [
    ask_for_the_budget, from_the_fair_to_negotiation, win_one_and_retry_another, make_room_for_a_deal,
    talk_to_the_double, settle_with_the_decider, second_thoughts,
]  # fmt: skip
