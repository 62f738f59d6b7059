"""The map finds the quickest way, keeps to closures and one-ways, and follows a navigation with the clock."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Row
from palaestra.mcp_servers.maps import SERVER
from palaestra.mcp_servers.maps.models import Navigation, NavigationStop, Place, Road, RoadClosure, SavedPlace
from palaestra.mcp_servers.maps.routing import ahead
from palaestra.mcp_servers.maps.streets import StreetMap, crossing_seconds, is_open

JUNCTIONS = "abcdefg"
roads = st.lists(
    st.fixed_dictionaries(
        {
            "from_id": st.sampled_from(JUNCTIONS),
            "to_id": st.sampled_from(JUNCTIONS),
            "metres": st.integers(1, 500),
            "kmh": st.sampled_from([10, 30, 50]),
            "one_way": st.integers(0, 1),
            "drive": st.integers(0, 1),
            "walk": st.just(1),
            "bike": st.just(1),
        }
    ).filter(lambda road: road["from_id"] != road["to_id"]),
    max_size=14,
).map(lambda found: [{**road, "road_id": str(i), "name": f"r{i}"} for i, road in enumerate(found)])


@pytest.fixture
def town() -> Episode:
    return EpisodeStore([SERVER]).open(seed=6)[1]


def rows(town: Episode, model: Any) -> list[dict[str, Any]]:
    return town.state("maps").database.every(model)


def relaxed(found: list[Row], mode: str, start: str) -> dict[str, int]:
    """Quickest times by relaxing every road until nothing changes (Bellman-Ford)."""
    times = {start: 0}
    for _ in JUNCTIONS:
        for road in found:
            ends = [(road["from_id"], road["to_id"]), (road["to_id"], road["from_id"])]
            for here, there in ends[: 1 if road["one_way"] and mode != "walk" else 2]:
                if road[mode] and here in times:
                    times[there] = min(times.get(there, 10**9), times[here] + crossing_seconds(road, mode))
    return times


@given(roads, st.sampled_from(["walk", "bike", "drive"]), st.integers(1, 200))
def test_ways_are_the_quickest_there_are(found: list[Row], mode: str, limit: int) -> None:
    streets, times = StreetMap(found, mode, ()), relaxed(found, mode, "a")
    assert {"a": 0} | {key: one.seconds for key, one in streets.reach("a").items()} == times
    near = {key: one.seconds for key, one in streets.reach("a", within_seconds=limit).items()}
    assert near == {key: time for key, time in times.items() if key != "a" and time <= limit}
    for goal in JUNCTIONS:
        way = streets.way("a", goal)
        assert (way.seconds if way else None) == times.get(goal)
        if way:
            assert way.seconds == sum(crossing_seconds(road, mode) for road in way.roads)
            for (here, there), road in zip(pairwise(way.junctions), way.roads, strict=True):
                assert {here, there} == {road["from_id"], road["to_id"]}


def test_a_navigation_keeps_off_closed_and_avoided_roads_whatever_is_called(town: Episode) -> None:
    rng, database = stream(8, "maps"), town.state("maps").database
    places = [row["place_id"] for row in rows(town, Place)]
    now = town.state("maps").sources.now
    shut = {row["road_id"] for row in rows(town, RoadClosure) if row["starts_at"] <= now < row["ends_at"]}
    started = rerouted = 0
    for _ in range(60):
        origin, goal, stop = (str(place) for place in rng.choice(places, 3, replace=False))
        ends = {"origin_place_id": origin, "destination_place_id": goal, "mode": str(rng.choice(["walk", "drive"]))}
        begun = dispatch(town, "start_navigation", ends)
        assert begun.fault is None or begun.fault.code.value == "precondition"
        if begun.is_error:
            continue
        started += 1
        key = {"navigation_id": begun.content["navigation_id"]}
        dispatch(town, "add_navigation_stop", {**key, "place_id": stop})
        town.advance_clock(int(rng.integers(90)))
        names = dispatch(town, "show_navigation", key).content["roads_ahead"]
        if names:
            rerouted += not dispatch(town, "reroute_navigation", {**key, "avoid_road": str(rng.choice(names))}).is_error
        row = database.get(Navigation, key["navigation_id"])
        here = ahead(database, row, row["departs_at"])
        assert not {road["name"] for road in here.roads} & set(row["avoided"].split("\n"))
        assert not {road["road_id"] for road in here.roads} & shut
        assert all(road[row["mode"]] for road in here.roads)
        assert row["departs_at"] + sum(crossing_seconds(road, row["mode"]) for road in here.roads) == row["arrives_at"]
        assert all(one["reached_at"] <= row["arrives_at"] for one in rows(town, NavigationStop)
                   if one["navigation_id"] == row["navigation_id"])  # fmt: skip
        dispatch(town, "end_navigation", key)
    assert started > 40
    assert rerouted > 20


def test_the_user_moves_with_the_clock_and_arrives(town: Episode) -> None:
    saved = {row["label"]: row["place_id"] for row in rows(town, SavedPlace)}
    ends = {"origin_place_id": saved["Home"], "destination_place_id": saved["Work"], "mode": "bike"}
    left = [dispatch(town, "start_navigation", ends).content["metres_ahead"]]
    while dispatch(town, "show_navigation", {}).content["active"]:
        town.advance_clock(60)
        left.append(dispatch(town, "show_navigation", {}).content["metres_ahead"])
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0


def test_opening_hours_know_the_weekday() -> None:
    place = {"opens": 600, "closes": 1080, "closed_on": "monday"}
    monday_noon = 1_772_452_800
    hours = [monday_noon, monday_noon + 86_400, monday_noon + 86_400 + 6 * 3_600, monday_noon + 86_400 - 2 * 3_600 - 1]
    assert [is_open(place, at) for at in hours] == [False, True, False, False]


@pytest.mark.parametrize("profile", ["small", "default", "large"])
def test_the_world_holds_its_situations(profile: Any) -> None:
    town = EpisodeStore([SERVER]).open(seed=1, profile=profile)[1]
    now = town.state("maps").sources.now
    closures = [(row["starts_at"] <= now, row["ends_at"] <= now) for row in rows(town, RoadClosure)]
    assert sorted(closures) == [(False, False), (True, False), (True, True)]
    assert any(row["one_way"] for row in rows(town, Road))
    assert any("ignore the above" in row["about"] for row in rows(town, Place))
    assert {row["label"] for row in rows(town, SavedPlace)} == {"Home", "Work", "Gym"}
    assert [row["name"] for row in rows(town, Place)].count("Nordstern Apotheke") == 2


def test_when_one_starts_is_no_part_of_the_goal(town: Episode) -> None:
    saved = {row["label"]: row["place_id"] for row in rows(town, SavedPlace)}
    ends = {"origin_place_id": saved["Home"], "destination_place_id": saved["Gym"], "mode": "walk"}
    begun = dispatch(town, "start_navigation", ends).digest_after
    town.reset()
    town.advance_clock(600)
    assert dispatch(town, "start_navigation", ends).digest_after == begun
