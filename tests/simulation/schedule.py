"""Runs a schedule: chosen from a seed, or replayed from its moves; then lets everything end, without any trouble."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from django_executors.models import Operation

from . import moves
from .choosing import Focus, choose
from .moves import Move
from .world import World

__all__ = ["Outcome", "replay", "run"]

_MOST_ROUNDS = 400
"""So many rounds may pass until everything has ended, once all is well."""


@dataclass
class Outcome:
    """What came of a schedule: its moves, the promise that was broken or None, and how much was done."""

    moves: list[Move]
    breach: str | None
    at_end: bool = False
    """Whether it broke only when all moves were made and everything was left to end."""
    trace: str = ""
    operations: int = 0
    ends: tuple[str, ...] = ()
    requests: int = 0


def run(world: World, seed: int, focus: Focus = Focus()) -> Outcome:
    """Run the schedule of a seed."""
    choice = random.Random(seed)
    length = choice.randint(8, 50)
    following = choose(choice, focus)
    world.restart()
    made: list[Move] = []
    while len(made) < length and world.found is None:
        made.append(following(world))
        moves.make(world, made[-1])
    return _finish(world, made, True)


def replay(world: World, script: Iterable[Move], *, to_the_end: bool = True) -> Outcome:
    """Run the same moves again; the same happens.

    Args:
        to_the_end: Whether to let everything end after the moves, as `run` does.
    """
    world.restart()
    made: list[Move] = []
    for move in script:
        made.append(move)
        moves.make(world, move)
        if world.found is not None:
            break
    return _finish(world, made, to_the_end)


def _finish(world: World, made: list[Move], to_the_end: bool) -> Outcome:
    at_end = world.found is None
    if at_end and to_the_end:
        _let_end(world)
        if world.found is None:
            _check_end(world)
    rows = world.rows()
    return Outcome(
        made,
        world.found,
        at_end,
        world.trace,
        len(rows.operations),
        tuple(sorted(operation.state for operation in rows.operations.values())),
        sum(world.cloud.accepted.values()),
    )


def _let_end(world: World) -> None:
    world.broker.is_down = False
    for process in world.processes:
        process.is_stopped = False
    for _ in range(_MOST_ROUNDS):
        for thread in world.threads.values():
            if not thread.is_idle:
                thread.go("freely")
        while world.broker.messages and world.found is None:
            next(iter(world.threads.values())).take(world.broker.messages.pop(0), "freely")
        if world.found is not None:
            return
        if not world.somebody_died:
            world.invariants.check_rest()
        still_open = world.rows().open
        if any(operation.state == "paused" for operation in still_open):
            for number in range(len(world.operations)):
                moves.make(world, ("unpause", number))
            continue
        following = min(
            (operation.nudge_at for operation in still_open if operation.nudge_at is not None), default=None
        )
        if following is None:
            break
        world.time.advance(max(0.0, world.time.until(following)))
        moves.make(world, ("dispatch",))
    still_open = world.rows().open
    if still_open:
        each = still_open[0]
        text = Operation.objects.get(pk=each.id).why()
        world.breach(
            f"{len(still_open)} operations do not end, though all is well: {each.executor} {each.state}: {text}"
        )


def _check_end(world: World) -> None:
    rows = world.rows()
    if rows.claims:
        world.breach(f"all has ended, and {', '.join(rows.claims)} is still claimed")
    if rows.slots:
        world.breach("all has ended, and a slot is still held")
    for things in world.cloud.things.values():
        if len(things) > 1:
            world.breach("the cloud has two objects for one key")
        for thing in things:
            if str(thing.box) not in rows.boxes:
                world.breach("the cloud has an object without a row")
    for operation in rows.operations.values():
        created = operation.state == "succeeded" and any(
            '"create_box"' in s.kwargs or "create_box" in s.task for s in operation.steps
        )
        if created and operation.box in rows.boxes and not world.cloud.of_box(int(operation.box)):
            world.breach("an operation succeeded and its object is not in the cloud")
