"""Runs many schedules in a process of its own, outside of pytest."""

from __future__ import annotations

import os
from collections import Counter

__all__ = ["simulate"]


def simulate(first: int, number: int) -> tuple[Counter[str], Counter[str], str]:
    """Run schedules in this process; return how operations ended, what moves were made, and a report if one failed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.celeryapp import app

    app.set_current()
    app.finalize()
    from .schedule import run
    from .shrinking import report
    from .world import World

    ends: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    with World.opened() as world:
        for seed in range(first, first + number):
            outcome = run(world, seed)
            ends.update(outcome.ends)
            moves.update(move[0] for move in outcome.moves)
            if outcome.breach is not None:
                return ends, moves, report(world, seed, outcome)
    return ends, moves, ""
