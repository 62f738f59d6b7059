"""The rules, command by command, and every text."""

from __future__ import annotations

import pytest

from palaestra.envs.alfworld.problem import Fact
from palaestra.envs.alfworld.world import World

from .build import world


def do(at: World, *commands: str) -> list[str]:
    """The replies; every command must be admissible."""
    replies = []
    for command in commands:
        assert command in at.moves(), command
        replies.append(at.act(command))
    return replies


def refused(at: World, *commands: str) -> None:
    for command in commands:
        before = at.key()
        assert command not in at.moves()
        assert at.act(command) == "Nothing happens."
        assert at.key() == before


def test_the_intro_counts_names_down_and_ends_with_the_task() -> None:
    assert world().intro() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, a fridge 1, "
        "a microwave 1, a sinkbasin 1, and a table 1.\n\nYour task is to: put a hot apple in cabinet."
    )


def test_away_from_everything_one_sees_nothing() -> None:
    at = world()
    assert do(at, "look") == ["You are in the middle of a room. Looking quickly around you, you see nothing."]


def test_doors_hide_and_show() -> None:
    at = world()
    refused(at, "open fridge 1", "take apple 2 from fridge 1")
    assert do(at, "go to fridge 1", "open fridge 1", "examine fridge 1", "close fridge 1", "examine fridge 1") == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 2.",
        "The fridge 1 is open. In it, you see a apple 2.",
        "You close the fridge 1.",
        "The fridge 1 is closed.",
    ]
    refused(at, "close fridge 1", "take apple 2 from fridge 1", "go to fridge 1", "open table 1")


def test_receptacles_that_share_a_place_are_both_here() -> None:
    at = world()
    assert do(at, "go to cabinet 1", "look") == [
        "You arrive at cabinet 1. On the cabinet 1, you see a bowl 1.",
        "You are facing the cabinet 2, and cabinet 1. Next to it, you see nothing.",
    ]
    refused(at, "go to cabinet 1", "go to cabinet 2")
    assert {"examine cabinet 1", "examine cabinet 2", "open cabinet 2"} <= at.moves().keys()


def test_what_was_moved_between_neighbours_lies_on_the_floor_as_in_the_original() -> None:
    at = world()
    do(at, "go to cabinet 1", "take bowl 1 from cabinet 1", "open cabinet 2")
    assert do(at, "look", "move bowl 1 to cabinet 2", "look")[::2] == [
        "You are facing the cabinet 2, and cabinet 1. Next to it, you see nothing.",
        "You are facing the cabinet 2, and cabinet 1. Next to it, you see a bowl 1.",
    ]
    do(at, "take bowl 1 from cabinet 2", "move bowl 1 to cabinet 1")
    assert do(at, "look") == ["You are facing the cabinet 2, and cabinet 1. Next to it, you see a bowl 1."]


def test_one_thing_in_hand_and_only_where_it_fits() -> None:
    at = world()
    assert do(at, "inventory", "go to table 1", "take apple 1 from table 1", "inventory") == [
        "You are not carrying anything.",
        "You arrive at table 1. On the table 1, you see a apple 1, a knife 1, and a lamp 1.",
        "You pick up the apple 1 from the table 1.",
        "You are carrying: a apple 1.",
    ]
    refused(at, "take knife 1 from table 1", "take lamp 1 from table 1", "move apple 1 to sinkbasin 1")
    assert do(at, "move apple 1 to table 1") == ["You move the apple 1 to the table 1."]
    do(at, "take knife 1 from table 1", "go to cabinet 2")
    refused(at, "move knife 1 to cabinet 1", "move knife 1 to cabinet 2")


def test_appliances_work_closed_and_treatments_combine() -> None:
    at = world()
    do(at, "go to table 1", "take apple 1 from table 1")
    assert do(at, "examine apple 1") == ["There's nothing special about apple 1."]
    assert do(at, "clean apple 1 with sinkbasin 1", "examine apple 1") == [
        "You clean the apple 1 using the sinkbasin 1.",
        "This is a clean apple 1.",
    ]
    assert do(at, "go to microwave 1", "heat apple 1 with microwave 1", "examine apple 1")[1:] == [
        "You heat the apple 1 using the microwave 1.",
        "This is a hot and clean apple 1.",
    ]
    assert do(at, "go to fridge 1", "cool apple 1 with fridge 1", "cool apple 1 with fridge 1", "examine apple 1")[
        2:
    ] == [
        "You cool the apple 1 using the fridge 1.",
        "This is a cool and clean apple 1.",
    ]
    refused(at, "heat apple 1 with microwave 1", "clean apple 1 with sinkbasin 1", "cool apple 2 with fridge 1")


CLEAN, HOT, COOL, SLICED = "isclean", "ishot", "iscool", "issliced"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((HOT, CLEAN, SLICED), "This is a hot and clean sliced apple 1."),
        ((COOL, CLEAN, SLICED), "This is a cool and clean sliced apple 1."),
        ((CLEAN, SLICED), "This is a clean sliced apple 1."),
        ((HOT, SLICED), "This is a hot sliced apple 1."),
        ((COOL, SLICED), "This is a cool sliced apple 1."),
        ((HOT, CLEAN), "This is a hot and clean apple 1."),
        ((COOL, CLEAN), "This is a cool and clean apple 1."),
        ((HOT,), "This is a hot apple 1."),
        ((CLEAN,), "This is a clean apple 1."),
        ((COOL,), "This is a cold apple 1."),
        ((SLICED,), "This is a sliced apple 1."),
    ],
)
def test_every_state_has_its_words(states: tuple[str, ...], said: str) -> None:
    more: tuple[Fact, ...] = tuple((state, "apple_bar_2") for state in states)
    at = world(more=more)
    do(at, "go to table 1", "take apple 1 from table 1")
    assert do(at, "examine apple 1") == [said]


def test_only_what_is_held_can_be_examined() -> None:
    at = world()
    do(at, "go to table 1")
    refused(at, "examine apple 1", "examine lamp 1")
    do(at, "go to cabinet 1", "take bowl 1 from cabinet 1")
    assert do(at, "examine bowl 1") == ["This is a normal bowl 1. In it, you see nothing."]


def test_lamps_only_go_on_and_hands_may_be_full() -> None:
    at = world()
    do(at, "go to table 1", "take apple 1 from table 1")
    assert do(at, "use lamp 1", "use lamp 1") == ["You turn on the lamp 1."] * 2
    do(at, "go to fridge 1")
    refused(at, "use lamp 1")


def test_a_lamp_in_hand_says_that_it_is_on() -> None:
    at = world(more=(("pickupable", "lamp_bar_1"),))
    do(at, "go to table 1", "use lamp 1", "take lamp 1 from table 1")
    assert do(at, "examine lamp 1") == ["This lamp 1 is on."]
    refused(at, "use lamp 1")


def test_knives_cut_what_lies_here_even_behind_a_door() -> None:
    at = world()
    do(at, "go to table 1", "take knife 1 from table 1")
    assert do(at, "slice apple 1 with knife 1") == ["You sliced the apple 1 with the knife 1."]
    do(at, "go to fridge 1", "slice apple 2 with knife 1", "go to table 1")
    refused(at, "slice apple 2 with knife 1")
    do(at, "move knife 1 to table 1")
    refused(at, "slice apple 1 with knife 1")


def test_commands_are_stripped_and_compared_word_for_word() -> None:
    at = world()
    assert at.act("  go to fridge 1\n") == "You arrive at fridge 1. The fridge 1 is closed."
    refused(at, "GO TO TABLE 1", "Open fridge 1", "open  fridge 1", "", "go to", "put apple 1 in/on table 1")


def test_help_has_no_empty_line_before_it_and_one_behind() -> None:
    (said,) = do(world(), "help")
    assert said.startswith("Available commands:\n  look:")
    assert said.endswith("using a sharp object\n")


def test_the_goal_is_reached_by_a_hot_apple_and_by_no_other() -> None:
    at = world()
    do(at, "go to table 1", "take apple 1 from table 1", "go to cabinet 1")
    do(at, "move apple 1 to cabinet 1")
    assert not at.won()
    do(at, "take apple 1 from cabinet 1", "go to microwave 1", "heat apple 1 with microwave 1", "go to cabinet 2")
    assert not at.won()
    do(at, "open cabinet 2", "move apple 1 to cabinet 2", "close cabinet 2")
    assert at.won()


def test_states_are_saved_told_apart_and_refused() -> None:
    at = world()
    keys = {at.key()}
    for command in ("go to table 1", "take apple 1 from table 1", "clean apple 1 with sinkbasin 1", "use lamp 1"):
        do(at, command)
        twin = at.copy()
        assert twin.key() == at.key()
        assert twin.moves() == at.moves()
        keys.add(at.key())
    assert len(keys) == 5
    do(twin, "go to fridge 1")
    assert twin.key() != at.key()
    with pytest.raises(ValueError, match="does not fit"):
        at.load(at.dump() | {"opened": "00"})
