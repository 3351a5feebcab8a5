"""Drives operations in this thread, on a clock that jumps over the waits instead of sleeping through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.models import QuerySet

from .. import clock, nudges
from ..engine.drive import drive
from ..models import Operation
from ..states import OPEN_OPERATION_STATES, OperationState

__all__ = ["advance", "fake_clock", "messages_stay_here", "run", "run_due", "still_open"]

_SLIGHTLY = 0.002
"""Seconds past a timer: databases keep times to the millisecond or better."""

_to_celery = nudges.publish


def run(operation: Operation, *, most_turns: int = 2000) -> Operation:
    """Drive an operation, its parts and what its steps open to their ends, whatever their queues; return its row then.

    No message leaves the process meanwhile, unless the test has put a `fake_broker` there.

    Waits (polls, back-off, countdowns, leases of workers that died) are jumped over, so the clock of this process is ahead
    afterwards; `fake_clock` puts it back. A paused operation is returned paused.

    Args:
        most_turns: How often an operation of the tree may be driven.

    Raises:
        AssertionError: It did not end within so many turns, or it is open and nothing will ever wake it.
    """
    for _ in range(most_turns):
        row = Operation.objects.get(pk=operation.pk)
        if row.state == OperationState.PAUSED or not still_open(operation).exists():
            return row
        if not run_due(operation, most_turns=most_turns):
            _skip_wait(row)
    raise AssertionError(f"{operation} did not end within {most_turns} turns: {row.why()}")


def run_due(operation: Operation, *, most_turns: int = 2000) -> int:
    """Drive what is due of an operation, its parts and what its steps open, until nothing is due any more.

    Returns:
        How often one of them was driven.

    Raises:
        AssertionError: Something was still due after so many turns.
    """
    for turn in range(most_turns):
        due = still_open(operation).filter(due_at__lte=clock.now())
        pk = due.order_by("due_at", "id").values_list("pk", flat=True).first()
        if pk is None:
            return turn
        with messages_stay_here():
            drive(pk)
    raise AssertionError(f"{operation} goes round in circles: {Operation.objects.get(pk=operation.pk).why()}")


def still_open(operation: Operation) -> QuerySet[Operation]:
    """Return what has not ended, and is not paused, of an operation's tree and of the trees that its steps have opened."""
    roots = {operation.root_id}
    while True:
        opened = Operation.objects.filter(parent__root_id__in=roots, parent_step=None).exclude(root_id__in=roots)
        more = set(opened.values_list("root_id", flat=True))
        if not more:
            rows = Operation.objects.filter(root_id__in=roots, state__in=OPEN_OPERATION_STATES)
            return rows.exclude(state=OperationState.PAUSED)
        roots |= more


@contextmanager
def messages_stay_here() -> Iterator[None]:
    """Send no message to Celery's broker during the block; one that a test has put in its place gets them as ever."""
    if nudges.publish is not _to_celery:
        yield
        return
    with mock.patch.object(nudges, "publish", _forget):
        yield


def _forget(*message: Any, **options: Any) -> None:
    return None


def _skip_wait(operation: Operation) -> None:
    waiting = still_open(operation).exclude(due_at=None)
    following: Any = waiting.order_by("due_at").values_list("due_at", flat=True).first()
    if following is None:
        raise AssertionError(f"{operation} is open and has no timer, so it will never go on: {operation.why()}")
    advance(max(0.0, (following - clock.read()).total_seconds()) + _SLIGHTLY)


def advance(seconds: float) -> None:
    """Move this process's view of the database's clock forward.

    Raises:
        ValueError: ``seconds`` is negative: leases and timers only ever see time go on.
    """
    if seconds < 0:
        raise ValueError(f"the clock only goes forward, not by {seconds:g} s")
    clock.advance(seconds)


@contextmanager
def fake_clock() -> Iterator[None]:
    """Put the clock right at the end of the block, however far `advance` and `run` have moved it."""
    try:
        yield
    finally:
        clock.reset()
