"""Drives operations in this thread, on a clock that jumps over the waits instead of sleeping through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .. import clock
from ..engine.drive import drive
from ..models import Operation
from ..states import OPEN_OPERATION_STATES, OperationState

__all__ = ["advance", "fake_clock", "run", "run_due"]

_SLIGHTLY = 0.002
"""Seconds past a timer: databases keep times to the millisecond or better."""


def run(operation: Operation, *, most_turns: int = 2000) -> Operation:
    """Drive an operation and its parts until it ends, whatever their queues, and return its row as it is then.

    Waits (polls, back-off, countdowns, leases of workers that died) are jumped over, so the clock of this process is ahead
    afterwards; `fake_clock` puts it back. A paused operation is returned paused.

    Args:
        most_turns: How often an operation of the tree may be driven.

    Raises:
        AssertionError: It did not end within so many turns, or it is open and nothing will ever wake it.
    """
    for _ in range(most_turns):
        row = Operation.objects.get(pk=operation.pk)
        if not row.is_open or row.state == OperationState.PAUSED:
            return row
        if not run_due(operation, most_turns=most_turns):
            _skip_wait(row)
    raise AssertionError(f"{operation} did not end within {most_turns} turns: {row.why()}")


def run_due(operation: Operation, *, most_turns: int = 2000) -> int:
    """Drive what is due of an operation and its parts, until nothing is due any more.

    Returns:
        How often one of them was driven.

    Raises:
        AssertionError: Something was still due after so many turns.
    """
    tree = Operation.objects.filter(root_id=operation.root_id, state__in=OPEN_OPERATION_STATES)
    for turn in range(most_turns):
        due = tree.filter(due_at__lte=clock.now()).exclude(state=OperationState.PAUSED).order_by("due_at", "id")
        pk = due.values_list("pk", flat=True).first()
        if pk is None:
            return turn
        drive(pk)
    raise AssertionError(f"{operation} goes round in circles: {Operation.objects.get(pk=operation.pk).why()}")


def _skip_wait(operation: Operation) -> None:
    tree = Operation.objects.filter(root_id=operation.root_id, state__in=OPEN_OPERATION_STATES)
    due_at = tree.exclude(due_at=None).order_by("due_at").values_list("due_at", flat=True).first()
    if due_at is None:
        raise AssertionError(f"{operation} is open and has no timer, so it will never go on: {operation.why()}")
    advance(max(0.0, (due_at - clock.read()).total_seconds()) + _SLIGHTLY)


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
