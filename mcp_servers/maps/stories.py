"""Scenes with the map that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

EVENING = "2026-03-02T19:00:00Z"
TOMORROW = "2026-03-03T09:00:00Z"


class _Around:
    """The places of the stories, looked up as an agent would."""

    def __init__(self, tell: Teller) -> None:
        saved = {row["label"]: row for row in tell.items("list_saved_places")}
        self.home, self.work, self.gym = (saved[label]["place_id"] for label in ("Home", "Work", "Gym"))
        self.saved_gym = saved["Gym"]["saved_place_id"]
        self.pavilion, self.pier, self.museum = (
            tell.items("geocode_address", text=name)[0]["place_id"]
            for name in ("park pavilion", "pier café", "museum of clocks")
        )
        self.trusted, self.stranger = (
            tell.items("list_map_contacts", may_see_location=agreed)[0]["map_contact_id"] for agreed in (True, False)
        )


def _start(tell: Teller, origin: str, destination: str, mode: str = "walk") -> dict[str, Any]:
    return tell.call("start_navigation", origin_place_id=origin, destination_place_id=destination, mode=mode)


def _steps(tell: Teller, origin: str, destination: str, *avoid: str) -> set[str]:
    """Names of the roads on the way there on foot; empty if there is none."""
    route = tell.call(
        "plan_route", origin_place_id=origin, destination_place_id=destination, mode="walk", avoid_roads=list(avoid)
    )
    return {step["road"] for step in route["steps"]}


def cross_the_river(tell: Teller) -> None:
    """The quickest way crosses a bridge that is open; in the evening and tomorrow it is another one."""
    around = _Around(tell)
    ends = {"origin_place_id": around.home, "destination_place_id": around.work}
    now = tell.call("plan_route", mode="walk", **ends)
    assert [closure["road"] for closure in now["closed_roads"]] == ["Old Bridge"]  # noqa: S101 - holds it to its rules
    assert "Old Bridge" not in {step["road"] for step in now["steps"]}  # noqa: S101
    assert not tell.call("plan_route", mode="drive", departs_at=EVENING, **ends)["closed_roads"]  # noqa: S101
    later = tell.call("plan_route", mode="bike", departs_at=TOMORROW, **ends)
    assert [closure["road"] for closure in later["closed_roads"]] == ["Station Bridge"]  # noqa: S101
    tell.call("compare_travel_modes", **ends)
    same = {**ends, "destination_place_id": around.home}
    tell.refused("places_differ", "start_navigation", mode="walk", **same)
    inside = {**ends, "destination_place_id": around.pavilion}
    tell.refused("destination_is_reachable", "start_navigation", mode="drive", **inside)
    started = _start(tell, around.home, around.work)
    tell.refused("no_navigation_is_active", "start_navigation", mode="walk", **ends)
    navigation = {"navigation_id": started["navigation_id"]}
    tell.refused("road_lies_ahead", "reroute_navigation", avoid_road="Old Bridge", **navigation)
    tell.call("reroute_navigation", **navigation)
    tell.wait(60)
    moved = tell.call("show_navigation")
    assert moved["metres_ahead"] < started["metres_ahead"]  # noqa: S101
    tell.wait(4 * 3_600)
    assert not tell.call("show_navigation", **navigation)["active"]  # noqa: S101
    tell.refused("navigation_is_active", "end_navigation", **navigation)
    tell.refused("navigation_is_active", "reroute_navigation", **navigation)
    _start(tell, around.work, around.home, "drive")


def errands_on_the_way(tell: Teller) -> None:
    """Three stops fit; a car does not get to the pavilion."""
    around = _Around(tell)
    ride = {"navigation_id": _start(tell, around.home, around.work, "drive")["navigation_id"]}
    tell.refused("stop_is_reachable", "add_navigation_stop", place_id=around.pavilion, **ride)
    tell.refused("stop_is_new", "add_navigation_stop", place_id=around.work, **ride)
    tell.refused("not_found", "add_navigation_stop", place_id="plc_0", **ride)
    shops = tell.items("find_reachable_places", place_id=around.home, mode="drive", minutes=60)
    known = {around.home, around.work, around.pavilion}
    chosen = [shop["place_id"] for shop in shops if shop["place_id"] not in known][:4]
    for place in chosen[:3]:
        tell.call("add_navigation_stop", place_id=place, **ride)
    tell.refused("stop_is_new", "add_navigation_stop", place_id=chosen[0], **ride)
    tell.refused("stops_are_few", "add_navigation_stop", place_id=chosen[3], **ride)
    stops = tell.call("show_navigation", **ride)["stops"]
    assert [stop["place_id"] for stop in stops] == chosen[:3]  # noqa: S101 - a story holds its server to its rules
    tell.call("end_navigation", **ride)
    tell.refused("navigation_is_active", "add_navigation_stop", place_id=chosen[3], **ride)


def out_on_the_pier(tell: Teller) -> None:
    """Only one road leads to the pier; friends may watch if the user agreed to it."""
    around = _Around(tell)
    walk = {"navigation_id": _start(tell, around.home, around.pier)["navigation_id"]}
    tell.refused("detour_exists", "reroute_navigation", avoid_road="Harbour Pier", **walk)
    tell.refused("contact_may_see_location", "share_location", map_contact_id=around.stranger, **walk)
    tell.call("share_location", map_contact_id=around.trusted, **walk)
    tell.refused("location_is_not_shared_yet", "share_location", map_contact_id=around.trusted, **walk)
    assert len(tell.call("show_navigation")["seen_by"]) == 1  # noqa: S101 - a story holds its server to its rules
    ended = tell.call("end_navigation", **walk)
    assert ended["seen_by"] == []  # noqa: S101
    tell.refused("navigation_is_active", "share_location", map_contact_id=around.trusted, **walk)


def look_around(tell: Teller) -> None:
    """The museum is closed on Mondays; of two pharmacies of one name, the nearer is saved."""
    around = _Around(tell)
    assert not tell.call("check_opening_hours", place_id=around.museum)["open"]  # noqa: S101 - holds it to its rules
    assert tell.call("check_opening_hours", place_id=around.museum, at="2026-03-03T12:00:00Z")["open"]  # noqa: S101
    assert len(tell.items("geocode_address", text="nordstern")) == 2  # noqa: S101
    near = tell.items("find_nearby_places", place_id=around.home, within_metres=5_000, category="pharmacy")
    pharmacy = next(place["place_id"] for place in near if place["name"] == "Nordstern Apotheke")
    saved = tell.call("create_saved_place", label="Pharmacy", place_id=pharmacy, note="ask for Zoë")
    tell.refused("conflict", "create_saved_place", label="Pharmacy", place_id=around.home)
    tell.refused("not_found", "create_saved_place", label="Nowhere", place_id="plc_0")
    tell.call("delete_saved_place", saved_place_id=saved["saved_place_id"])


STORIES = [cross_the_river, errands_on_the_way, out_on_the_pier, look_around]


def a_stop_and_a_detour(tell: Teller) -> None:
    """Walk to work past a place, then avoid a road on the way there, and end the navigation."""
    around = _Around(tell)
    started = _start(tell, around.home, around.work)
    walk = {"navigation_id": started["navigation_id"]}
    for place in tell.items("find_nearby_places", place_id=around.museum, within_metres=5_000):
        legs = ((around.home, place["place_id"]), (place["place_id"], around.work))
        extra = {name for leg in legs for name in _steps(tell, *leg)} - set(started["roads_ahead"])
        open_ways = [name for name in sorted(extra) if all(_steps(tell, *leg, name) for leg in legs)]
        if open_ways:
            break
    ahead = tell.call("add_navigation_stop", place_id=place["place_id"], **walk)["roads_ahead"]
    road = next(name for name in open_ways if name in ahead)
    tell.call("reroute_navigation", avoid_road=road, **walk)
    tell.call("end_navigation", **walk)


def over_the_other_bridge(tell: Teller) -> None:
    """Walk to work, take another bridge than the one on the way, and end the navigation."""
    around = _Around(tell)
    started = _start(tell, around.home, around.work)
    walk = {"navigation_id": started["navigation_id"]}
    bridge = next(name for name in started["roads_ahead"] if name.endswith("Bridge"))
    tell.call("reroute_navigation", avoid_road=bridge, **walk)
    tell.call("end_navigation", **walk)


def leave_the_car(tell: Teller) -> None:
    """Give up driving to work, walk to the pavilion instead by the other path, and end that too."""
    around = _Around(tell)
    ride = _start(tell, around.home, around.work, "drive")
    tell.call("end_navigation", navigation_id=ride["navigation_id"])
    walk = _start(tell, around.home, around.pavilion)
    path = next(name for name in walk["roads_ahead"] if name.endswith("Path"))
    tell.call("reroute_navigation", navigation_id=walk["navigation_id"], avoid_road=path)
    tell.call("end_navigation", navigation_id=walk["navigation_id"])


def walk_home_watched(tell: Teller) -> None:
    """Walk home, let a friend see where the user is, and end it."""
    around = _Around(tell)
    walk = {"navigation_id": _start(tell, around.work, around.home)["navigation_id"]}
    tell.call("share_location", map_contact_id=around.trusted, **walk)
    tell.call("end_navigation", **walk)


def a_coffee_on_the_pier(tell: Teller) -> None:
    """Cycle to the gym by way of the pier's café."""
    around = _Around(tell)
    ride = _start(tell, around.home, around.gym, "bike")
    tell.call("add_navigation_stop", navigation_id=ride["navigation_id"], place_id=around.pier)


def a_new_gym(tell: Teller) -> None:
    """Let the label Gym name another place."""
    around = _Around(tell)
    tell.call("delete_saved_place", saved_place_id=around.saved_gym)
    tell.call("create_saved_place", label="Gym", place_id=around.pavilion, note="outdoors")


CHAINS = [
    a_stop_and_a_detour, over_the_other_bridge, leave_the_car, walk_home_watched, a_coffee_on_the_pier, a_new_gym,
]  # fmt: skip
