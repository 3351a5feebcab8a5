"""The simulation finds bugs: each mutant takes a safeguard out of the engine, and is caught within so many schedules."""

from __future__ import annotations

import pytest

from .mutants import MUTANTS
from .schedule import run
from .shrinking import shrink
from .world import World

MOST_SCHEDULES = 200


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_and_the_engine_passes_the_same_schedules(
    name: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant = MUTANTS[name]
    with mutant.apply():
        for seed in range(1, MOST_SCHEDULES + 1):
            caught = run(world, seed, mutant.focus)
            if caught.breach is not None:
                break
        assert caught.breach is not None, f"{name} is not caught in {MOST_SCHEDULES} schedules"
        assert " ended with " not in caught.breach, f"{name} is caught by an error, not by a promise: {caught.breach}"
        small = shrink(world, caught)
    for passed in range(1, seed + 1):
        outcome = run(world, passed, mutant.focus)
        assert outcome.breach is None, f"without {name}, schedule {passed} is caught too: {outcome.breach}"
    with capsys.disabled():
        print(
            f"\n{name}: caught by schedule {seed}, {len(caught.moves)} moves, reduced to {len(small.moves)}: {small.breach}"
        )
