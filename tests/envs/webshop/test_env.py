"""The environment: every form of it, its words, its ends, and the oracle that plays it."""

from __future__ import annotations

import json
import re
from typing import Any

import gymnasium
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs.core.checks import check_agent_env
from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.text.types import ProgressOracle, TextWorld
from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.session import read_action

FORMS: list[dict[str, Any]] = [
    {},
    {"obs": "text_rich", "show_attrs": True, "oracle_info": True},
    {"obs": "text_plus", "instruction": False, "reward": "win10"},
    {"obs": "compact", "catalogue": "corner", "goals": "synthetic", "labels": "number", "page_size": 4},
    {"obs": "html", "products": 200},
    {"obs": "url", "goals": "synthetic", "products": 300},
]


def started(**kwargs: Any) -> WebShopEnv:
    env = WebShopEnv(**{"split": "test", **kwargs})
    env.reset(seed=0, options={"index": 3})
    return env


@pytest.mark.parametrize("kwargs", FORMS, ids=str)
def test_every_form_keeps_every_promise(kwargs: dict[str, Any]) -> None:
    report = check_agent_env("palaestra/WebShop-v0", seeds=(0, 1), **kwargs)
    assert report.remarks == ()
    assert "snapshot" in report.checks


@pytest.mark.parametrize("render_mode", ["ansi", "html"])
def test_gymnasium_finds_nothing_to_complain_about(render_mode: str) -> None:
    env = gymnasium.make("palaestra/WebShop-v0", render_mode=render_mode)
    check_env(env.unwrapped)
    env.reset(seed=0)
    assert ("<!doctype html>" in str(env.render())) == (render_mode == "html")
    assert WebShopEnv().render() is None


def test_it_is_a_text_world() -> None:
    assert isinstance(WebShopEnv(), TextWorld)
    assert isinstance(WebShopEnv(), ProgressOracle)


@pytest.mark.parametrize("kwargs", FORMS, ids=str)
def test_the_oracle_wins_every_goal_in_listed_actions_and_counts_down(kwargs: dict[str, Any]) -> None:
    env = WebShopEnv(**kwargs)
    for index in range(min(500, len(env._source.goals))):
        _, info = env.reset(options={"index": index, "split": "all"})
        plan = env.plan()
        assert plan is not None
        assert len(plan) <= 10
        for left in range(len(plan), 0, -1):
            action = plan[len(plan) - left]
            assert env.distance() == left
            listed = info["admissible_commands"]
            assert action in listed or (action.startswith("search[") and "search[<your query>]" in listed)
            *_, info = env.step(action)
        assert info["won"]
        assert env.distance() == 0
        assert env.plan() == []


def test_the_oracle_finds_back_from_wherever_one_strays() -> None:
    env = WebShopEnv(max_steps=60)
    for seed in range(40):
        _, info = env.reset(seed=seed)
        env.action_space.seed(seed)
        for step in range(12):
            listed = [action for action in info["admissible_commands"] if action != "click[buy now]"]
            action = listed[(seed * 7 + step * 5) % len(listed)]
            action = "search[soft lamp]" if action.startswith("search") else action
            *_, info = env.step(action)
            assert len(env.plan() or ()) == env.distance() > 0
        for action in env.plan() or ():
            *_, info = env.step(action)
        assert info["won"], seed


def test_what_was_bought_wrongly_cannot_be_made_good() -> None:
    env = started()
    env.step("search[garden hose]")
    *_, info = env.step(next(a for a in env.step("click[next >]")[4]["admissible_commands"] if a.startswith("click[p")))
    *_, terminated, _, info = env.step("click[buy now]")
    assert terminated
    assert not info["won"]
    assert env.distance() == float("inf")
    assert env.plan() is None


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("search[shoes]", "ok"),
        ("search[Shoes] now", "ok"),
        ("click[search]", "inadmissible"),
        ("click[buy now]", "inadmissible"),
        ("click[p000000000]", "inadmissible"),
        ("search[]", "not_in_language"),
        ("Search[x]", "not_in_language"),
        (" click[x]", "not_in_language"),
        ("<noop>", "not_in_language"),
        ("", "not_in_language"),
        ("search[" + "x" * 300 + "]", "not_in_language"),
    ],
)
def test_how_actions_are_read(action: str, status: str) -> None:
    env = started()
    before = env._state
    observation, reward, terminated, truncated, info = env.step(action)
    assert (info["action_status"], reward, terminated, truncated) == (status, 0.0, False, False)
    assert info["action_valid"] == (status == "ok")
    assert (env._state == before) == (status != "ok")
    assert env.observation_space.contains(observation)


def test_a_search_works_from_every_page_but_is_listed_on_one() -> None:
    env = started()
    env.step("search[soft blanket]")
    *_, info = env.step("search[glass vase]")
    assert (info["action_status"], info["page"]) == ("inadmissible", "results")
    assert "vase" in info["anchor"].lower()


pattern = re.compile(r"(.+)\[(.+)\]")
bits = st.lists(st.sampled_from(["search", "click", "[", "]", "[", "]", "a", " ", "\n", "B"]), max_size=10).map("".join)


@given(bits | st.text())
def test_actions_are_split_as_by_the_originals_pattern(action: str) -> None:
    match = pattern.match(action)
    assert read_action(action) == (None if match is None else (match[1], match[2].lower()))


def test_hostile_actions_are_cheap() -> None:
    env = started(max_steps=100)
    for action in ("[" * 5_000_000, "search[" * 1_000_000 + "]", "]" * 5_000_000, "a[\n" * 1_000_000):
        assert env.step(action)[4]["action_status"] == "not_in_language"
        assert read_action(action) is None or len(action) > 256


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_text_is_survived_and_rewards_stay_in_bounds(data: st.DataObject) -> None:
    env = WebShopEnv(max_steps=20)
    observation, info = env.reset(seed=data.draw(st.integers(0, 50)))
    over = False
    while not over:
        free = st.text() | st.sampled_from(["search[soft]", "search[<r>]", "search[<c> x]", "click[</p>]", "click[1]"])
        action = data.draw(free | st.sampled_from(info["admissible_commands"]))
        before = observation
        observation, reward, terminated, truncated, info = env.step(action)
        assert 0.0 <= reward <= 1.0
        assert env.observation_space.contains(observation)
        if info["action_status"] == "not_in_language":
            assert observation == before
        over = terminated or truncated


def test_ends() -> None:
    env = started(max_steps=3)
    for _ in range(3):
        *_, terminated, truncated, info = env.step("<noop>")
    assert (terminated, truncated, info["step"], info["admissible_commands"]) == (False, True, 3, [])
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("<noop>")
    with pytest.raises(ResetNeeded):
        WebShopEnv().step("<noop>")
    with pytest.raises(ResetNeeded):
        WebShopEnv().plan()
    with pytest.raises(ResetNeeded):
        WebShopEnv().snapshot()
    with pytest.raises(InvalidAction, match="takes str"):
        started().step(1)  # type: ignore[arg-type]


def test_buying_at_the_limit_is_no_truncation() -> None:
    env = started()
    plan = env.plan()
    assert plan is not None
    env = started(max_steps=len(plan), reward="win10")
    rewards = [env.step(action)[1:4] for action in plan]
    assert rewards[-1] == (10.0, True, False)
    assert {reward for reward, *_ in rewards[:-1]} == {0.0}


def test_choices_show_where_the_form_says_so() -> None:
    env, rich, plus, compact = (started(obs=form) for form in ("text", "text_rich", "text_plus", "compact"))
    plan = env.plan()
    assert plan is not None
    seen = [[one.step(action)[0] for action in plan] for one in (env, rich, plus, compact)]
    value = plan[2][6:-1]
    assert seen[0][1] == seen[0][2]
    assert f"You have clicked {value}." in seen[1][2]
    assert f"  [clicked button] {value} [clicked button_]" in seen[1][2]
    assert f"[SEP] {value}* [SEP]" in seen[2][2]
    assert f"chosen: {value}" in seen[3][2]
    assert seen[2][-1].endswith("Score: 1.00")
    assert seen[3][-1] == "score 1.00"
    assert "Your score (min 0.0, max 1.0) [SEP] 1.0" in seen[0][-1]


@pytest.mark.parametrize("form", ["text", "text_rich", "text_plus", "compact"])
def test_the_anchor_is_the_observation_without_its_instruction(form: str) -> None:
    env, bare = started(obs=form), started(obs=form, instruction=False)
    for action in ("<noop>", "search[shoes]", "click[next >]"):
        observation, *_, info = env.step(action)
        assert info["task"] in observation
        assert info["task"] not in info["anchor"]
        assert bare.step(action)[0] == info["anchor"]


def test_state_key_follows_the_state_not_the_clock() -> None:
    env = started()
    keys = [env.step(action)[4]["state_key"] for action in ("<noop>", "search[a b]", "search[a b]", "search[c]")]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3
    plan = env.plan()
    assert plan is not None
    rest = [env.step(action)[4]["state_key"] for action in plan]
    assert len(set(rest)) == len(rest)  # options change it although the text stays the same


def test_infos_are_complete_and_json_ready() -> None:
    env = WebShopEnv(oracle_info=True, split="test")
    _, info = env.reset(seed=5)
    for action in env.plan() or ():
        *_, after = env.step(action)
    common = {
        "won", "score", "task_score", "step", "task", "task_id", "split", "admissible_commands", "available_actions",
        "page", "anchor", "state_key", "oracle_distance",
    }  # fmt: skip
    assert set(info) == common
    assert set(after) - common == {"action_status", "action_valid", "action_admissible", "reward_info"}
    assert after["reward_info"]["tagger"] == "rules"
    json.dumps([info, after])


def test_numbered_results_are_clicked_by_their_number() -> None:
    env = started(labels="number", page_size=3)
    *_, info = env.step("search[lamp]")
    assert info["available_actions"]["clickables"] == ["back to search", "next >", "1", "2", "3"]
    *_, info = env.step("click[next >]")
    env.step("click[2]")
    assert env._state.product == env._shop.ranker.search("lamp")[4]
    assert env.step("click[2]")[4]["action_status"] == "inadmissible"


def test_pages_go_on_past_the_end() -> None:
    env = started(max_steps=50)
    env.step("search[wall sconce]")
    for number in range(2, 12):
        observation, *_, info = env.step("click[next >]")
        assert f"Page {number} (Total results:" in observation
    assert info["available_actions"]["clickables"] == ["back to search", "< prev", "next >"]
    assert "Page 10 " in env.step("click[< prev]")[0]


def test_leaving_a_product_forgets_its_options_but_a_sub_page_does_not() -> None:
    env = started()
    plan = env.plan()
    assert plan is not None
    for action in plan[:-1]:
        env.step(action)
    chosen = env._state.options
    assert chosen
    env.step("click[description]")
    env.step("click[< prev]")
    assert env._state.options == chosen
    env.step("click[< prev]")
    env.step(plan[1])
    assert env._state.options == ()


def test_reset_options_choose_the_goal() -> None:
    env = WebShopEnv()
    _, info = env.reset(seed=1, options={"index": 17, "split": "test"})
    assert info["split"] == "test"
    assert env.reset(options={"task": info["task_id"]})[1]["task"] == info["task"]
    assert env.reset(options={"split": "dev"})[1]["split"] == "valid"
    one, two = WebShopEnv(), WebShopEnv()
    drawn = [one.reset(seed=9)[1]["task_id"]] + [one.reset()[1]["task_id"] for _ in range(5)]
    assert drawn == [two.reset(seed=9)[1]["task_id"]] + [two.reset()[1]["task_id"] for _ in range(5)]
    assert len(set(drawn)) > 3
    pool = WebShopEnv(pool=2)
    pool.reset(seed=0)
    assert len({pool.reset()[1]["task_id"] for _ in range(30)}) == 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"index": -1}, "bad_index"),
        ({"index": "0"}, "bad_index"),
        ({"index": True}, "bad_index"),
        ({"index": 10**6}, "bad_index"),
        ({"split": "tset"}, "unknown_split"),
        ({"tsk": 1}, "unknown_option"),
        ({"task": "none"}, "unknown_task"),
    ],
)
def test_bad_reset_options_are_named(options: dict[str, Any], code: str) -> None:
    with pytest.raises(TaskError) as caught:
        WebShopEnv().reset(options=options)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"catalog": "x"}, "did you mean 'catalogue'"),
        ({"obs": "pixels"}, "pixels"),
        ({"page_size": 0}, "page_size"),
        ({"render_mode": "human"}, "render_mode='human'"),
        ({"catalogue": "/no/such/folder"}, "no folder /no/such/folder"),
    ],
)
def test_bad_settings_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, TaskError), match=message):
        WebShopEnv(**kwargs)


@pytest.mark.parametrize("snapshot", [b"", b"{}", b"[1]", b"\xff", b'{"config":7}'])
def test_what_is_no_snapshot_is_refused(snapshot: bytes) -> None:
    env = started()
    with pytest.raises(TaskError, match="no WebShop snapshot") as caught:
        env.restore(snapshot)
    assert caught.value.code == "bad_snapshot"
    assert env.step("search[x]")[4]["step"] == 1


def test_snapshots_of_other_settings_are_refused_and_of_an_end_restored() -> None:
    env = started()
    with pytest.raises(TaskError, match="page_size=10"):
        started(page_size=5).restore(env.snapshot())
    for action in env.plan() or ():
        env.step(action)
    other = WebShopEnv(split="test")
    other.restore(env.snapshot())
    assert other.distance() == 0
    with pytest.raises(ResetNeeded):
        other.step("<noop>")


def test_attributes_have_a_page_if_asked_for() -> None:
    env = started(show_attrs=True)
    for action in (env.plan() or [])[:2]:
        env.step(action)
    observation, *_, info = env.step("click[attributes]")
    product = env._shop.product(env._state)
    assert observation.endswith(
        " [SEP] ".join((*product.attributes, product.category, product.query, product.product_category))
    )
    assert info["page"] == "tab"
    assert started().step("click[attributes]")[4]["action_status"] == "inadmissible"
