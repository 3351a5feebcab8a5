"""Chooses the moves of a schedule from its seed, among those that make sense where it stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from .cloud import FAULTS
from .moves import Move, find_standing
from .plans import PLANS
from .world import World

__all__ = ["Focus", "choose"]

_WAITS = (0.25, 2.0, 6.0, 31.0)
_TROUBLES = {
    "kill": 3, "die_inside": 2, "fail": 3, "roll_back": 2, "stop": 3, "terminate": 2, "messages": 4, "broker": 1,
    "cloud": 7, "people": 5, "dispatcher": 1, "rolled back": 1, "inch": 14, "stall": 4,
}  # fmt: skip
"""How often each kind of trouble comes in a schedule that has it."""


class Focus(NamedTuple):
    """What the schedules of a search are about; empty: each chooses for itself."""

    plans: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


def choose(choice: random.Random, focus: Focus = Focus()) -> Callable[[World], Move]:
    """Return a function that chooses the next move, among those that make sense now.

    A schedule has some kinds of trouble and not others: all of them at once would hide what a few can do.
    """
    names = focus.troubles or [name for name in _TROUBLES if choice.random() < 0.4]
    troubles = {name: _TROUBLES[name] for name in names}
    plans = focus.plans or choice.sample(sorted(PLANS), choice.randint(1, 3))
    most = choice.choice((1, 1, 2, 2, 3))
    weights = list(troubles.values())
    total = sum(weights)
    planned: list[Move] = []

    def following(world: World) -> Move:
        if planned:
            return planned.pop(0)
        if len(world.operations) < most and choice.random() < (1.0 if not world.operations else 0.15):
            ends = ("rolled back",) if "rolled back" in troubles and choice.random() < 0.2 else ()
            return ("start", choice.choice(plans), choice.randrange(3), *ends)
        if names and choice.random() * 45 < total:
            kind = choice.choices(names, weights)[0]
            if kind == "stall":
                planned.extend(_stall(world, choice))
            move = planned.pop(0) if planned else _trouble(world, choice, kind)
            if move is not None:
                return move
        return _progress(world, choice)

    return following


def _progress(world: World, choice: random.Random) -> Move:
    standing = [name for name, thread in world.threads.items() if find_standing(world, name)]
    idle = [
        name for name, thread in world.threads.items()
        if thread.is_idle and not thread.process.is_stopped and not thread.process.is_draining
    ]  # fmt: skip
    options: list[Move] = [("go", name) for name in standing for _ in range(8)]
    if world.broker.messages:
        options += [("take", name, choice.randrange(4)) for name in idle for _ in range(4)]
    options += [("dispatch",), ("wait", choice.choice(_WAITS)), ("beat", choice.randrange(2))]
    options += [("cont", number) for number, process in enumerate(world.processes) if process.is_stopped]
    if not standing and not world.broker.messages:
        options += [("wait", choice.choice(_WAITS)), ("dispatch",)] * 2
    return choice.choice(options)


def _stall(world: World, choice: random.Random) -> list[Move]:
    """A thread stands still until its lease has ended and another one has taken over, then both go on."""
    standing = [name for name in world.threads if find_standing(world, name)]
    idle = [name for name in world.threads if world.threads[name].is_idle]
    if not standing or not idle:
        return []
    stalled, other = choice.choice(standing), choice.choice(idle)
    after: list[Move] = [("go", other), ("go", stalled), ("beat", 0), ("beat", 1)]
    return [
        ("wait", 31.0),
        ("dispatch",),
        ("take", other, choice.randrange(4)),
        *(choice.choice(after) for _ in range(choice.randint(1, 4))),
    ]


def _trouble(world: World, choice: random.Random, kind: str) -> Move | None:
    standing = [name for name in world.threads if find_standing(world, name)]
    if kind in ("kill", "stop", "terminate"):
        busy = [n for n, process in enumerate(world.processes) if not all(t.is_idle for t in process.threads)]
        return (kind, choice.choice(busy)) if busy else None
    if kind in ("die_inside", "roll_back", "fail", "inch"):
        at = {"fail": ("before commit", "after commit", "statement")}.get(kind, ("before commit",))
        fitting = [name for name in standing if kind == "inch" or world.threads[name].at in at]
        if kind == "inch" and world.broker.messages and choice.random() < 0.3:
            return ("take", choice.choice(list(world.threads)), choice.randrange(4), "inch")
        return (kind, choice.choice(fitting)) if fitting else None
    if kind == "messages":
        if not world.broker.messages:
            return None
        return choice.choice([("lose", choice.randrange(4)), *[("double", choice.randrange(4))] * 3, ("flush",)])
    if kind == "broker":
        return ("broker", "up" if world.broker.is_down else "down")
    if kind == "cloud":
        return ("cloud", choice.choice((*FAULTS, "rejected")))
    if kind == "dispatcher":
        return ("dispatch", choice.randrange(2))
    if kind == "people":
        name = choice.choice(["cancel", "cancel", "pause", "unpause", "wake", "resume", "resume", "skip"])
        return (name, choice.randrange(4))
    return None
