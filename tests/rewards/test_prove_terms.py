"""The terms' figures and every case the paper leaves open, one test each."""

from __future__ import annotations

from typing import Any

import pytest
from tool_cases import GARBAGE, call, gold, play, task, terms, words

from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.errors import ConfigError
from palaestra.rewards.compose import Invalid, InvalidReason, RewardBreakdown
from palaestra.rewards.equality import Parameters, casefold
from palaestra.rewards.prove import PALAESTRA, PAPER, best_reward, preset, score
from palaestra.rewards.prove_case import budget

BOTH = pytest.mark.parametrize("settings", [PAPER, PALAESTRA], ids=["paper", "palaestra"])
ONE = task([gold("c0", "pay", to="anna", amount=3)])
PAID = call("pay", to="anna", amount=3, answers="c0")


def test_the_levels_of_validity_are_a_ladder() -> None:
    right_name = call("pay", fits=False, fits_loose=False, fault="invalid_arguments", to="anna")
    refused = call("pay", to="anna", amount=3, fault="precondition")
    hidden = call("pay", to="anna", amount=3, shown=False)
    assert terms(score(ONE, play([right_name])))["validity"] == pytest.approx(1 / 3)
    assert terms(score(ONE, play([refused])))["validity"] == pytest.approx(2 / 3)
    assert terms(score(ONE, play([hidden])))["validity"] == 0.0
    assert terms(score(ONE, play([PAID, refused])))["validity"] == pytest.approx(5 / 6)
    reward = score(ONE, play([refused]))
    assert words(reward, "validity") == "call 0 pay (turn 0): it failed [precondition]"


def test_the_budget_is_counted_in_rationals() -> None:
    assert [budget(n, 0.5) for n in range(1, 7)] == [2, 3, 5, 6, 8, 9]
    assert budget(100, 0.07) == 107
    assert budget(4, 0.0) == 4


@BOTH
def test_only_the_excess_over_the_budget_costs(settings: Any) -> None:
    four = task([gold(f"c{n}", "pay", amount=n) for n in range(4)])
    made = [call("pay", amount=n) for n in range(9)]
    assert terms(score(four, play(made), settings))["efficiency"] == -0.25
    assert terms(score(four, play(made[:6]), settings))["efficiency"] == 0.0


@BOTH
@pytest.mark.parametrize("calls", [[], [PAID], [GARBAGE]])
def test_abstention_is_one_for_calling_nothing(settings: Any, calls: list[Any]) -> None:
    reward = score(task([]), play(calls), settings)
    assert isinstance(reward, RewardBreakdown)
    assert reward.total == best_reward(task([]), settings) * (not calls)
    assert terms(reward)["validity"] == 0.0


def test_honest_play_gets_exactly_the_maximum() -> None:
    cells = (("order", "o_1", "paid", 1),)
    record = task(
        [gold("c0", "find", text="x"), gold("c1", "pay", ["c0"], to="anna", amount=3)], [], changes=[cells, cells]
    )
    found = call("find", text="x", answers="c0")
    steps = play([found, call("pay", to="anna", amount=3, writes=True, changed=True)], [], changes=[cells, cells])
    paper, ours = score(record, steps, PAPER), score(record, steps)
    assert isinstance(paper, RewardBreakdown)
    assert isinstance(ours, RewardBreakdown)
    assert (paper.total, best_reward(record, PAPER)) == (1.3, 1.3)
    assert (ours.total, best_reward(record)) == (2.3, 2.3)


def test_parallel_calls_are_free_in_any_order() -> None:
    record = task([gold("c0", "find", n=0), gold("c1", "find", n=1), gold("c2", "find", n=2)])
    made = [call("find", n=n) for n in (2, 0, 1)]
    for settings in (PALAESTRA, PAPER):
        assert terms(score(record, play(made), settings))["coverage"] == 1.0
        assert terms(score(record, play(made), settings))["efficiency"] == 0.0
    assert terms(score(record, play(made)))["argument"] == 1.0


@BOTH
def test_o1_without_calls_every_term_is_zero(settings: Any) -> None:
    found = terms(score(ONE, play([]), settings))
    assert {name: found[name] for name in ("validity", "coverage", "name", "argument", "efficiency")} == {
        "validity": 0.0, "coverage": 0.0, "name": 0.0, "argument": 0.0, "efficiency": 0.0,
    }  # fmt: skip


@BOTH
def test_o2_without_a_matched_pair_argument_is_zero(settings: Any) -> None:
    assert terms(score(ONE, play([call("find", text="x")]), settings))["argument"] == 0.0


@BOTH
def test_o3_a_step_without_arguments_agrees_wholly(settings: Any) -> None:
    assert terms(score(task([gold("c0", "list")]), play([call("list")]), settings))["argument"] == 1.0


def test_o4_several_calls_fit() -> None:
    record = task([gold("c0", "pay", n=1), gold("c1", "pay", n=2)])
    crossed = play([call("pay", n=2), call("pay", n=1)])
    assert terms(score(record, crossed))["argument"] == 1.0
    assert terms(score(record, crossed, PAPER))["argument"] == 0.0
    chain = task([gold("c0", "find"), gold("c1", "pay", ["c0"])])
    useless_first = play([call("pay"), call("find"), call("pay")])
    assert terms(score(chain, useless_first))["coverage"] == 1.0
    assert terms(score(chain, useless_first, PAPER))["coverage"] == 0.5
    keys = task([gold("c0", "pay", a=1), gold("c1", "pay", a=1, b=2)])
    only_one_has_both = play([call("pay", a=1, b=2), call("pay", a=1)])
    assert terms(score(keys, only_one_has_both))["coverage"] == 1.0
    assert terms(score(keys, only_one_has_both, PAPER))["coverage"] == 0.5


@BOTH
def test_o5_an_unmatched_direct_predecessor_uncovers(settings: Any) -> None:
    chain = task([gold("c0", "a"), gold("c1", "b", ["c0"]), gold("c2", "c", ["c1"])])
    assert terms(score(chain, play([call("b"), call("c")]), settings))["coverage"] == pytest.approx(1 / 3)


@BOTH
def test_o6_a_failed_call_matches_nothing_but_a_step_that_must_fail(settings: Any) -> None:
    refused = call("pay", to="anna", amount=3, fault="precondition")
    assert terms(score(ONE, play([refused]), settings))["coverage"] == 0.0
    must_fail = task([gold("c0", "pay", to="anna", amount=3, fault="precondition")])
    met = score(must_fail, play([refused]), settings)
    assert (terms(met)["coverage"], terms(met)["validity"]) == (1.0, 1.0)
    assert terms(score(must_fail, play([PAID]), settings))["coverage"] == 0.0
    other = call("pay", to="anna", amount=3, fault="not_found")
    found = terms(score(must_fail, play([other]), settings))
    assert found["coverage"] == 0.0
    assert found["validity"] == pytest.approx(2 / 3)


@BOTH
def test_o7_parallel_calls_count_one_by_one(settings: Any) -> None:
    record = task([gold("c0", "a"), gold("c1", "b", ["c0"]), gold("c2", "c", ["c0"])])
    found = terms(score(record, play([call("a"), call("c"), call("b")]), settings))
    assert (found["coverage"], found["efficiency"]) == (1.0, 0.0)
    assert terms(score(record, play([call("a"), call("b")]), settings))["coverage"] == pytest.approx(2 / 3)


def test_o8_turns_count_in_palaestra_only() -> None:
    record = task([gold("c0", "a")], [gold("c1", "b")])
    at_once = play([call("a"), call("b")], [])
    late = play([], [call("a"), call("b")])
    assert terms(score(record, at_once))["coverage"] == 0.5
    assert terms(score(record, late))["coverage"] == 0.5
    assert terms(score(record, at_once, PAPER))["coverage"] == 1.0
    not_early = preset("palaestra", turn_policy="not_early")
    assert terms(score(record, at_once, not_early))["coverage"] == 0.5
    assert terms(score(record, late, not_early))["coverage"] == 1.0
    assert terms(score(record, at_once, preset("palaestra", turn_policy="any")))["coverage"] == 1.0


@BOTH
def test_o9_values_compare_as_json_values(settings: Any) -> None:
    record = task([gold("c0", "pay", n=1, who="cafe\u0301", flag=True, tags=["a"])])
    made = play([call("pay", n=1.0, who="caf\u00e9", flag=1, tags=["a", "b"])])
    assert terms(score(record, made, settings))["argument"] == 0.5


def test_o9_a_declared_comparator_is_used() -> None:
    record = task([gold("c0", "pay", who="Anna")])
    made = play([call("pay", who="ANNA")])
    declared = {"pay": Parameters(comparators={"who": casefold})}
    assert terms(score(record, made))["argument"] == 0.0
    assert terms(score(record, made, PALAESTRA, declared))["argument"] == 1.0


@BOTH
def test_o10_what_cannot_be_parsed_is_a_call_that_matches_nothing(settings: Any) -> None:
    found = terms(score(ONE, play([PAID, GARBAGE]), settings))
    assert (found["validity"], found["name"], found["coverage"]) == (0.5, 0.5, 1.0)
    named = GARBAGE.model_copy(update={"tool": "pay", "shown": True})
    assert terms(score(ONE, play([named]), settings))["validity"] == 0.0
    assert terms(score(task([]), play([GARBAGE]), settings))["abstention"] == 0.0


def test_o11_unknown_keys_unfit_a_call_in_palaestra_only() -> None:
    extra = call("pay", to="anna", amount=3, why="?", fits=False, fits_loose=True, fault="invalid_arguments")
    assert terms(score(ONE, play([extra])))["validity"] == pytest.approx(1 / 3)
    assert terms(score(ONE, play([extra]), PAPER))["validity"] == pytest.approx(2 / 3)


def test_o12_a_default_left_out_counts_as_given_in_palaestra_only() -> None:
    known = {"find": Parameters(defaults={"limit": 20})}
    record = task([gold("c0", "find", text="x", limit=20)])
    left_out = play([call("find", text="x")])
    assert terms(score(record, left_out, PALAESTRA, known))["argument"] == 1.0
    assert terms(score(record, left_out, PAPER, known))["coverage"] == 0.0
    bare, other = task([gold("c0", "find", text="x")]), play([call("find", text="x", limit=5)])
    assert terms(score(bare, other, PALAESTRA, known))["argument"] == 0.5
    assert terms(score(bare, other, PAPER, known))["argument"] == 1.0


def test_o12_without_its_schema_the_evidence_says_what_the_defaults_are() -> None:
    record = task([gold("c0", "find", text="x", limit=20)])
    made = play([call("find", text="x", defaulted={"text": "x", "limit": 20})])
    assert terms(score(record, made))["argument"] == 1.0


@BOTH
def test_o13_levels_one_and_two_go_by_what_was_shown_level_three_by_the_server(settings: Any) -> None:
    # The list of allowed values was not shown, so the call fits; the server knows better.
    stripped = call("pay", to="nobody", amount=3, fits=True, fault="invalid_arguments")
    assert terms(score(ONE, play([stripped]), settings))["validity"] == pytest.approx(2 / 3)
    # A tool the server has, but that was not shown.
    assert terms(score(ONE, play([call("pay", to="anna", amount=3, shown=False)]), settings))["validity"] == 0.0


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("timeout", InvalidReason.TIMEOUT),
        *[
            (code, InvalidReason.TOOL_SERVER_LOST)
            for code in ("internal", "unavailable", "no_episode", "unknown_episode", "expired_episode")
        ],
    ],
)
def test_o14_an_infrastructure_fault_gives_no_reward(settings: Any, code: str, reason: InvalidReason) -> None:
    for record in (ONE, task([])):
        reward = score(record, play([PAID, call("pay", to="x", amount=1, fault=code)]), settings)
        assert isinstance(reward, Invalid)
        assert reward.reason is reason
        lost = play([PAID])[0].model_copy(update={"lost": code})
        assert isinstance(found := score(record, [lost], settings), Invalid)
        assert found.reason is reason


@BOTH
def test_o15_nothing_is_clipped_but_the_call_limit_bounds_it(settings: Any) -> None:
    worst = score(ONE, play([call("find", text="x", fault="not_found", shown=False)] * 64), settings)
    assert isinstance(worst, RewardBreakdown)
    bound = -(0.15 * 0.5 * (64 - 2) / 2 + 0.05)
    assert worst.total >= bound
    assert worst.total == pytest.approx(bound, abs=0.06)


@BOTH
def test_o16_abstention_is_left_at_one(settings: Any) -> None:
    assert best_reward(task([]), settings) == 1.0
    assert best_reward(task([gold("c0", "a")], digests=True), settings) in (1.3, 2.3)


CLARIFY = task([], [gold("c0", "pay", to="anna", amount=3)])


@pytest.mark.parametrize(
    ("made", "gate"),
    [
        ([], 1.0),
        ([call("find", text="x")], 1.0),
        ([call("pay", to="x", amount=1, writes=True)], 0.0),
        ([call("find", text="x", fault="not_found")], 0.0),
        ([GARBAGE], 0.0),
        ([call("find", text="x", writes=None)], 0.0),
    ],
)
def test_o17_acting_in_a_turn_that_needs_no_call_closes_the_gate(made: list[Any], gate: float) -> None:
    found = terms(score(CLARIFY, play(made, [PAID])))
    assert (found["coverage"], found["argument"]) == (gate, gate)
    assert terms(score(CLARIFY, play(made, [PAID]), PAPER))["coverage"] == 1.0


def test_o17_the_gate_is_the_share_of_quiet_turns() -> None:
    record = task([], [gold("c0", "pay", to="anna", amount=3)], [])
    reward = score(record, play([GARBAGE, GARBAGE], [PAID], []))
    assert terms(reward)["coverage"] == 0.5
    assert "gate 0.5: acted in turn 0" in words(reward, "coverage")
    assert terms(reward)["efficiency"] == -0.25
    no_idle_turn = score(ONE, play([PAID, GARBAGE]))
    assert terms(no_idle_turn)["coverage"] == 1.0


CELL = ("order", "o_1", "paid", 1)


def test_o18_the_final_state_is_a_term_of_palaestra_only() -> None:
    record = task([gold("c0", "pay", to="anna", amount=3)], changes=[(CELL,)])
    assert terms(score(record, play([PAID], changes=[(CELL,)])))["state"] == 1.0
    assert terms(score(record, play([PAID])))["state"] == 0.0
    assert "state" not in terms(score(record, play([PAID]), PAPER))


def test_o19_is_the_environments_and_is_taken_as_it_says() -> None:
    # Whether 1.0 is an integer is decided by the schema shown; the value itself equals 1.
    strict = call("pay", to="anna", amount=3.0, fits=False, fits_loose=False, fault="invalid_arguments")
    found = terms(score(ONE, play([strict])))
    assert found["validity"] == pytest.approx(1 / 3)
    assert found["argument"] == 0.0


@BOTH
def test_o20_pairs_out_of_order_count_for_argument_not_for_coverage(settings: Any) -> None:
    chain = task([gold("c0", "find", text="x"), gold("c1", "pay", ["c0"], n=1)])
    swapped = score(chain, play([call("pay", n=1), call("find", text="y")]), settings)
    assert (terms(swapped)["coverage"], terms(swapped)["argument"]) == (0.5, 0.5)
    assert words(swapped, "coverage") == "c0 by call 1; c1 by call 0, before what it depends on"


def test_collateral_damage_and_missing_writes_cost_state() -> None:
    record = task([gold("c0", "pay", n=1)], changes=[(CELL,)])
    other = ("order", "o_2", "paid", 1)
    assert terms(score(record, play([call("pay", n=1)], changes=[(CELL, other)])))["state"] == 0.25
    assert terms(score(record, play([call("pay", n=1)], changes=[(other,)])))["state"] == 0.0


def test_doing_nothing_on_a_task_that_only_reads_earns_no_state() -> None:
    record = task([gold("c0", "find", text="x")], digests=True)
    assert terms(score(record, play([])))["state"] == 0.0
    assert terms(score(record, play([call("find", text="x", answers="c0")])))["state"] == 1.0


def test_state_says_where_it_does_not_apply() -> None:
    reward = score(ONE, play([PAID]))
    assert isinstance(reward, RewardBreakdown)
    assert words(reward, "state").startswith("not applicable")
    assert (reward.total, best_reward(ONE)) == (1.3, 1.3)


@pytest.mark.parametrize(
    ("extra", "repeats"),
    [
        ([PAID], 1),
        ([call("find", text="y")], 0),
        ([call("find", text="x")], 0),
        ([call("find", text="x"), call("find", text="x")], 1),
        ([call("pay", to="anna", amount=3.0)], 1),
        ([call("go", changed=True), PAID], 1),
        ([call("go", writes=True)], 1),
        ([call("go", writes=True, fault="not_found")], 0),
        ([call("find", text="x"), call("go", changed=True), call("find", text="x")], 1),
        ([GARBAGE, GARBAGE], 0),
        ([call("pay", fault="not_found", to="x", amount=1)] * 3, 2),
    ],
)
def test_repeat_counts_what_was_said_before_and_needless_changes(extra: list[Any], repeats: int) -> None:
    calls = [PAID, *extra]
    assert terms(score(ONE, play(calls)))["repeat"] == -repeats / len(calls)


def test_repeat_lets_gold_calls_repeat() -> None:
    twice = task([gold("c0", "list"), gold("c1", "list", ["c0"])])
    assert terms(score(twice, play([call("list"), call("list")])))["repeat"] == 0.0
    assert terms(score(twice, play([call("list")] * 3)))["repeat"] == pytest.approx(-1 / 3)


def test_repeat_counts_a_needless_call_before_the_one_that_counts() -> None:
    chain = task([gold("c0", "find"), gold("c1", "look", ["c0"])])
    assert terms(score(chain, play([call("look"), call("find"), call("look")])))["repeat"] == pytest.approx(-1 / 3)


def test_defaults_left_out_and_given_are_the_same_call() -> None:
    known = {"pay": Parameters(defaults={"fast": False})}
    calls = [PAID, call("pay", to="anna", amount=3, fast=False)]
    assert terms(score(ONE, play(calls), PALAESTRA, known))["repeat"] == -0.5


def test_a_preset_can_be_changed_and_says_what_is_wrong() -> None:
    quiet = preset("palaestra", weights={"state": 0.0}, alpha=1)
    assert (quiet.weights["state"], quiet.weights["validity"], quiet.alpha) == (0.0, 0.5, 1.0)
    with pytest.raises(ConfigError, match="did you mean 'palaestra'"):
        preset("palestra")
    with pytest.raises(ConfigError, match="did you mean 'turn_policy'"):
        preset("paper", turn_polic="any")
    with pytest.raises(ConfigError, match="did you mean 'state'"):
        preset("paper", weights={"stat": 1.0})
    with pytest.raises(ConfigError, match="weights must be finite"):
        preset("paper", weights={"state": float("inf")})
    for wrong in ({"alpha": -1}, {"beta": float("nan")}, {"beam": 0}, {"matching": "best"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            preset("paper", **wrong)


def test_an_agent_that_never_replied_has_no_reward() -> None:
    reward = score(ONE, [])
    assert isinstance(reward, Invalid)
    assert reward.reason is InvalidReason.EPISODE_INCOMPLETE


def test_the_names_of_gold_calls_are_no_part_of_the_reward() -> None:
    renamed: TaskRecord = task([gold("x9", "pay", to="anna", amount=3)])
    assert terms(score(renamed, play([PAID]))) == terms(score(ONE, play([PAID])))
