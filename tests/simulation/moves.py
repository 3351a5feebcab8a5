"""The moves of which a schedule consists. A move that makes no sense where it stands does nothing, so any part of a schedule
is a schedule, and a failing one can be made smaller by leaving moves out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import transaction

from django_executors.engine import actions
from django_executors.engine.dispatcher import dispatch_once
from django_executors.exceptions import CommandNotAllowed, OperationConflict, TransitionNotAllowed
from django_executors.nudges import nudge
from tests.testapp.models import Box

from .actors import Thread
from .plans import CREATES, PLANS, fresh_box
from .world import World

__all__ = ["Move", "find_standing", "make"]

Move = tuple[Any, ...]
"""Name and arguments, for example ``("go", "p1.2")``."""

_REFUSED = (CommandNotAllowed, OperationConflict, TransitionNotAllowed)
_MOST_MESSAGES = 12


class _RolledBack(Exception):
    pass


class _DispatcherDied(BaseException):
    pass


# -- workers ---------------------------------------------------------------------------------------------------------------


def find_standing(world: World, name: str) -> Thread | None:
    """Return a thread if it stands somewhere and its process is not stopped."""
    thread = world.threads[name]
    return None if thread.is_idle or thread.process.is_stopped else thread


def take(world: World, name: str, number: int, order: str = "") -> None:
    """An idle thread receives a message, not always the oldest one."""
    thread = world.threads[name]
    messages = world.broker.messages
    if thread.is_idle and messages and not (thread.process.is_stopped or thread.process.is_draining):
        thread.take(messages.pop(number % len(messages)), order)


def go(world: World, name: str) -> None:
    """A thread goes on to the next point."""
    if (thread := find_standing(world, name)) is not None:
        thread.go()


def inch(world: World, name: str) -> None:
    """A thread goes on to the next statement."""
    if (thread := find_standing(world, name)) is not None:
        thread.go("inch")


def fail(world: World, name: str) -> None:
    """The database fails a thread where it stands; behind a commit, the answer to it is lost."""
    thread = find_standing(world, name)
    if thread is not None and thread.at in ("before commit", "after commit", "statement"):
        thread.go("fail")


def roll_back(world: World, name: str) -> None:
    """The database rolls the commit back before which a thread stands."""
    thread = find_standing(world, name)
    if thread is not None and thread.at == "before commit":
        thread.go("roll back")


def die_inside(world: World, name: str) -> None:
    """A process dies inside of the commit before which one of its threads stands."""
    thread = find_standing(world, name)
    if thread is not None and thread.at == "before commit":
        thread.go("die inside")


def kill(world: World, number: int) -> None:
    """A process dies where it stands; another one takes its place."""
    world.processes[number].kill()


def stop(world: World, number: int) -> None:
    """A process is stopped, as by SIGSTOP."""
    world.processes[number].is_stopped = True


def cont(world: World, number: int) -> None:
    """A stopped process goes on, and does not know that time has passed."""
    world.processes[number].is_stopped = False


def beat(world: World, number: int) -> None:
    """A process renews its leases."""
    if not world.processes[number].is_stopped:
        world.processes[number].beat()


def terminate(world: World, number: int) -> None:
    """A process is asked to end at the next step boundary."""
    process = world.processes[number]
    if not process.is_stopped:
        process.is_draining = True
        process.end_when_drained()


# -- time, messages, dispatcher ----------------------------------------------------------------------------------------------


def wait(world: World, seconds: float) -> None:
    """Time passes."""
    world.time.advance(seconds)


def dispatch(world: World, dies_after: int | None = None) -> None:
    """A dispatcher looks once; it may die after so many messages."""
    left = dies_after

    def send(*args: Any, **options: Any) -> bool:
        nonlocal left
        if left is not None:
            if left == 0:
                raise _DispatcherDied
            left -= 1
        return nudge(*args, **options)

    with suppress(_DispatcherDied):
        dispatch_once(send)


def lose(world: World, number: int) -> None:
    """The broker loses a message."""
    if world.broker.messages:
        world.broker.messages.pop(number % len(world.broker.messages))


def double(world: World, number: int) -> None:
    """The broker delivers a message twice."""
    messages = world.broker.messages
    if messages and len(messages) < _MOST_MESSAGES:
        messages.append(messages[number % len(messages)])


def flush(world: World) -> None:
    """The broker loses everything."""
    world.broker.messages.clear()


def broker(world: World, state: str) -> None:
    """The broker goes away, or comes back."""
    world.broker.is_down = state == "down"


def cloud(world: World, fault: str) -> None:
    """The next request meets a fault."""
    world.cloud.faults.append(fault)


# -- people ------------------------------------------------------------------------------------------------------------------


def start(world: World, plan: str, number: int, ends: str = "") -> None:
    """Somebody opens an operation: one that creates makes its box, others take one that is there.

    Args:
        ends: ``"rolled back"``: the caller's transaction does not commit.
    """
    boxes: list[Box] = []
    kwargs: dict[str, Any] = {}
    try:
        with transaction.atomic():
            if plan in CREATES:
                boxes.append(fresh_box("new"))
            else:
                there = list(Box.objects.order_by("pk"))
                if not there:
                    return
                boxes.append(there[number % len(there)])
                kwargs["updated_fields"] = ["name"]
            if plan == "CreateTwo":
                boxes.append(fresh_box("other"))
                kwargs = {"other": boxes[1]}
            if plan == "Delete":
                kwargs = {}
            operation = PLANS[plan].execute(boxes[0], **kwargs)
            if ends == "rolled back":
                raise _RolledBack
    except (_RolledBack, *_REFUSED):
        return
    world.operations.append(operation.pk.hex)
    world.promised |= {str(box.pk) for box in boxes}


def _command(world: World, number: int, command: Callable[[UUID], Any]) -> str | None:
    if not world.operations:
        return None
    pk = world.operations[number % len(world.operations)]
    try:
        command(UUID(pk))
    except _REFUSED:
        return None
    return pk


def cancel(world: World, number: int) -> None:
    """Somebody cancels."""
    _command(world, number, actions.cancel)


def pause(world: World, number: int) -> None:
    """Somebody pauses."""
    _command(world, number, actions.pause)


def unpause(world: World, number: int) -> None:
    """Somebody lets it go on."""
    _command(world, number, actions.unpause)


def wake(world: World, number: int) -> None:
    """A notification ends a wait."""
    _command(world, number, actions.wake)


def resume(world: World, number: int) -> None:
    """Somebody lets a failed operation go on from where it failed."""
    pk = _command(world, number, actions.resume)
    if pk is not None:
        world.invariants.restarted(pk)


def skip(world: World, number: int) -> None:
    """Somebody leaves out the step that failed."""
    pk = _command(world, number, lambda pk: actions.skip(pk, reason="simulated"))
    if pk is not None:
        world.invariants.restarted(pk)


_ALL = (take, go, inch, fail, roll_back, die_inside, kill, stop, cont, beat, terminate, wait, dispatch, lose, double)
_ALL += (flush, broker, cloud, start, cancel, pause, unpause, wake, resume, skip)
_MOVES: dict[str, Callable[..., None]] = {each.__name__: each for each in _ALL}


def make(world: World, move: Move) -> None:
    """Make one move, then check what it left."""
    try:
        _MOVES[move[0]](world, *move[1:])
    except Exception as error:
        world.breach(f"{move[0]} ended with {error!r}", error)
    world.check()
