"""A chain is held to its order: the same calls, made in any other, must meet a refusal."""

from __future__ import annotations

from palaestra.mcp_servers.framework.chains import tell_chain
from palaestra.mcp_servers.framework.conformance import check_server
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.server import Story
from palaestra.mcp_servers.framework.spec import verb, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.stories import Teller
from tests.mcp_servers.shelf import Box, BoxArgs, box_is_open, build_shelf, fill_one


def problems_of(chain: Story) -> list[str]:
    return check_server(build_shelf(chains=(chain,)), seeds=(0,))


def boxes(tell: Teller) -> list[str]:
    return [box["box_id"] for box in tell.items("list_boxes")]


def test_its_writes_are_the_chain_and_its_reads_are_look_ups() -> None:
    server = build_shelf()
    with EpisodeStore([server]) as store:
        told = tell_chain(store.open(seed=3)[1], fill_one, server)
    assert [call.tool for call in told] == ["create_box", "open_box", "empty_box"]


def test_a_server_without_chains_does_not_conform() -> None:
    found = check_server(build_shelf(chains=()))
    assert found == ["shelf has no chains, so nothing shows that the order of calls matters"]


def test_calls_that_need_no_order_are_no_chain() -> None:
    def open_two(tell: Teller) -> None:
        first, second, *_ = boxes(tell)
        tell.call("open_box", box_id=first)
        tell.call("open_box", box_id=second)

    (problem,) = problems_of(open_two)
    assert "shelf/open_two/seed 0, default: succeeds in the order open_box, open_box as well" in problem


def test_a_call_that_only_follows_another_leaves_two_orders() -> None:
    def empty_and_shut(tell: Teller) -> None:
        first, second, *_ = boxes(tell)
        tell.call("open_box", box_id=first)
        tell.call("shut_box", box_id=first)
        tell.call("update_box", box_id=second, label="bystander")

    (problem,) = problems_of(empty_and_shut)
    assert "open_box, update_box, shut_box as well" in problem


def test_equal_calls_may_change_places() -> None:
    def open_and_empty_twice(tell: Teller) -> None:
        box = boxes(tell)[0]
        tell.call("open_box", box_id=box)
        tell.call("empty_box", box_id=box)
        tell.call("empty_box", box_id=box)

    assert problems_of(open_and_empty_twice) == []


def test_one_call_and_six_are_no_chain() -> None:
    def too_short(tell: Teller) -> None:
        tell.call("open_box", box_id=boxes(tell)[0])

    def too_long(tell: Teller) -> None:
        for _ in range(3):
            tell.call("open_box", box_id=boxes(tell)[0])
            tell.call("shut_box", box_id=boxes(tell)[0])

    assert "has 1 WRITEs; a chain has 2 to 5" in problems_of(too_short)[0]
    assert "has 6 WRITEs; a chain has 2 to 5" in problems_of(too_long)[0]


def test_a_refusal_or_a_wait_does_not_belong_in_a_chain() -> None:
    def refused(tell: Teller) -> None:
        box = boxes(tell)[0]
        tell.call("open_box", box_id=box)
        tell.refused("box_is_shut", "open_box", box_id=box)

    def failing(tell: Teller) -> None:
        tell.call("empty_box", box_id=boxes(tell)[0])

    assert "a WRITE that is refused" in problems_of(refused)[0]
    assert "should succeed" in problems_of(failing)[0]


def test_a_goal_that_depends_on_the_second_is_found() -> None:
    @verb(requires=[box_is_open], returns=view(Box))
    def stamp_box(db: Database, sources: EpisodeSources, args: BoxArgs) -> Row:
        """Note when the box was packed."""
        return db.update(Box, args.box_id, packed_at=sources.now)

    def stamp(tell: Teller) -> None:
        box = boxes(tell)[0]
        tell.call("open_box", box_id=box)
        tell.call("stamp_box", box_id=box)

    found = check_server(build_shelf(stamp_box, chains=(stamp,)), seeds=(0,))
    assert any("reaches another goal when each call is made 3 s later" in problem for problem in found)


def test_a_chain_that_lives_on_what_happens_between_its_calls_is_found() -> None:
    def needed_hand(tell: Teller) -> None:
        box = boxes(tell)[0]
        tell.call("open_box", box_id=box)
        tell.episode.reset()
        tell.call("open_box", box_id=box)

    assert any("what happens between its WRITEs" in problem for problem in problems_of(needed_hand))
