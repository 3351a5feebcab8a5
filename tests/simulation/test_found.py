"""Bugs that the simulation has found in the engine, as the short scripts to which it reduced them."""

from __future__ import annotations

from .schedule import replay
from .world import World


def test_a_start_that_was_rolled_back_moves_the_resource_when_it_is_tried_again(world: World) -> None:
    outcome = replay(world, [("start", "CreateInLine", 0), ("take", "p1.1", 0), ("go", "p1.1"), ("roll_back", "p1.1")])
    assert outcome.breach is None
    assert outcome.ends == ("succeeded",)


def test_a_slot_that_was_rolled_back_and_goes_to_another_is_waited_for(world: World) -> None:
    outcome = replay(
        world,
        [
            ("start", "CreateStateInLine", 0),
            ("take", "p1.1", 0),
            ("go", "p1.1"),
            ("roll_back", "p1.1"),
            ("start", "CreateStateInLine", 0),
            ("take", "p2.1", 0),
            ("go", "p2.1"),
            ("go", "p2.1"),
        ],
    )
    assert outcome.breach is None
    assert outcome.ends == ("succeeded", "succeeded")


def test_a_database_that_breaks_behind_a_request_leaves_the_outcome_open(world: World) -> None:
    outcome = replay(
        world,
        [
            ("start", "CreateInLine", 0),
            ("take", "p1.2", 0),
            ("go", "p1.2"),
            ("go", "p1.2"),
            ("inch", "p1.2"),
            ("go", "p1.2"),
            ("go", "p1.2"),
            ("inch", "p1.2"),
            ("fail", "p1.2"),
        ],
    )
    assert outcome.breach is None
    assert outcome.ends == ("succeeded",)


def test_a_heartbeat_does_not_renew_what_another_thread_of_its_process_took_over(world: World) -> None:
    outcome = replay(
        world,
        [
            ("start", "Fire", 0),
            ("take", "p1.2", 0),
            ("go", "p1.2"),
            ("go", "p1.2"),
            ("wait", 31.0),
            ("dispatch",),
            ("take", "p1.1", 0),
            ("beat", 0),
        ],
    )
    assert outcome.breach is None
