"""The engine keeps its promises whatever a schedule does, and a schedule can be trusted to be the same each time."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from .schedule import replay, run
from .shrinking import report
from .world import World

SEED = int(os.environ.get("SIMULATION_SEED", "1"))
SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "100"))


@pytest.mark.timeout(120 + SCHEDULES)
def test_no_schedule_breaks_a_promise(world: World) -> None:
    first, number = SEED, SCHEDULES
    ends: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    requests = 0
    for seed in range(first, first + number):
        outcome = run(world, seed)
        assert outcome.breach is None, report(world, seed, outcome)
        ends.update(outcome.ends)
        kinds.update(move[0] for move in outcome.moves)
        requests += outcome.requests
    # A run that passes because nothing happened would be worth nothing.
    assert requests > number, "hardly anything was done in the cloud"
    assert ends["succeeded"] > number / 2
    if number >= 100:
        assert {"succeeded", "cancelled", "failed", "quarantined"} <= set(ends)
        assert {"kill", "die_inside", "fail", "roll_back", "stop", "cont", "lose", "double", "cancel", "resume"} <= set(
            kinds
        )


def test_a_schedule_does_the_same_each_time(world: World) -> None:
    for seed in (3, 8, 21):
        first = run(world, seed)
        rows = world.rows().operations
        assert run(world, seed) == first
        assert replay(world, first.moves) == first
        assert world.rows().operations == rows
