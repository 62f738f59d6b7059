"""Replay of what the original shop did: same rewards, same pages, same clickables."""

from __future__ import annotations

from collections import Counter

from palaestra.envs.webshop import pages
from palaestra.envs.webshop.catalogue import Product
from palaestra.envs.webshop.reward import purchase_reward
from palaestra.envs.webshop.session import DONE, ENTRANCE, SEARCH, Shop, State, click, read_action, search

from .original import Okapi, as_goal, catalogue, nouns, original


def test_every_purchase_is_worth_what_the_original_says() -> None:
    rows = original()["rewards"]
    assert len(rows) == 3000
    seen: Counter[object] = Counter()
    for row in rows:
        known = row["product"]
        product = Product(
            known["asin"], known["Title"], "", known["query"], known["product_category"], known["Description"],
            tuple(known["BulletPoints"]), tuple(known["Attributes"]), {}, row["price"], "",
        )  # fmt: skip
        reward, parts = purchase_reward(product, row["price"], row["options"], as_goal(row["goal"]), nouns)
        assert reward == row["reward"], row
        assert parts == row["info"], row
        seen[parts["r_type"]] += 1
        seen["option", parts.get("r_option")] += 1
    assert set(seen) >= {0.0, 0.1, 1.0, ("option", None), ("option", 0.0), ("option", 0.5), ("option", 1.0)}


def test_every_step_of_the_original_is_repeated() -> None:
    shop = Shop(catalogue(), Okapi(catalogue()), nouns)
    steps: Counter[str] = Counter()
    for episode in original()["transcripts"]:
        goal = as_goal(episode["goal"])
        state = ENTRANCE
        assert pages.plain(pages.page_parts(shop, goal.instruction, state)) == episode["start"]
        for number, step in enumerate(episode["steps"]):
            where = f"{goal.asin} step {number}: {step['action']}"
            state = act(shop, goal.instruction, state, step["action"])
            reward = 0.0
            if state.page == DONE:
                product = shop.product(state)
                reward, _ = purchase_reward(product, product.price, dict(state.options), goal, nouns)
            parts = pages.page_parts(shop, goal.instruction, state, reward)
            assert pages.plain(parts) == step["obs"], where
            assert reward == step["reward"], where
            assert (state.page == DONE) == step["done"], where
            if not step["done"]:
                shown = {"has_search_bar": pages.has_search_bar(state), "clickables": pages.clickables(parts)}
                assert shown == step["available"], where
            steps[state.page] += 1
    assert len(original()["transcripts"]) == 60
    assert set(steps) == {"start", "results", "item", "tab", "done"}
    assert sum(steps.values()) > 700


def act(shop: Shop, instruction: str, state: State, action: str) -> State:
    read = read_action(action)
    assert read is not None
    name, target = read
    if name == "search":
        return search(target)
    assert target != SEARCH
    assert target in pages.clickables(pages.page_parts(shop, instruction, state))
    return click(shop, state, target)
