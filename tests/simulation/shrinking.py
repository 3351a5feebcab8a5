"""Reduces a failing schedule to the moves that matter, by leaving out ever smaller parts of it."""

from __future__ import annotations

from .schedule import Outcome, replay
from .world import World

__all__ = ["report", "shrink"]


def shrink(world: World, outcome: Outcome) -> Outcome:
    """Return the smallest schedule found that still breaks a promise, not always the same one."""
    best = replay(world, outcome.moves)
    if best.breach is None:
        return outcome
    if not best.at_end:
        # What breaks on the way is found sooner by not letting every attempt end.
        best = _leave_out(world, best, to_the_end=False)
    return _leave_out(world, best, to_the_end=True)


def _leave_out(world: World, best: Outcome, *, to_the_end: bool) -> Outcome:
    size = max(1, len(best.moves) // 2)
    while True:
        start, is_smaller = 0, False
        while start < len(best.moves):
            tried = replay(world, best.moves[:start] + best.moves[start + size :], to_the_end=to_the_end)
            if tried.breach is not None:
                best, is_smaller = tried, True
            else:
                start += size
        if size == 1 and not is_smaller:
            return best
        size = max(1, size // 2)


def report(world: World, seed: int, outcome: Outcome) -> str:
    """Return a failing schedule for people: what broke, and a short script that breaks it again."""
    small = shrink(world, outcome)
    lines = "\n".join(f"    {move!r}," for move in small.moves)
    return (
        f"seed {seed}: {outcome.breach}\n{outcome.trace}"
        f"reduced from {len(outcome.moves)} to {len(small.moves)} moves: {small.breach}\n"
        f"replay(world, [\n{lines}\n])"
    )
