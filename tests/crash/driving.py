"""Drives operations by hand, without worker and broker, on a clock that is moved instead of waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from django.db import connections

from django_executors import clock, faults
from django_executors.engine.drive import drive
from django_executors.models import Operation
from django_executors.states import OPEN_OPERATION_STATES

KILL_POINTS = frozenset({"after claim", "after commit", "after step", "after request"})
"""Where a process is killed: after everything that the database or the cloud can see.

A kill before a commit, or inside of one, leaves the same world as the kill after what came before it.
"""


def drive_to_end(operation: Operation, most_turns: int = 2000) -> Operation:
    """Drive an operation and its parts until it ends, moving the clock to whatever is due next.

    Raises:
        AssertionError: It did not end within so many turns, or nothing is due any more.
    """
    tree = Operation.objects.filter(root_id=operation.root_id, state__in=OPEN_OPERATION_STATES)
    for _ in range(most_turns):
        row = Operation.objects.get(pk=operation.pk)
        if not row.is_open:
            return row
        due = tree.filter(due_at__lte=clock.now()).order_by("due_at", "id").values_list("pk", flat=True)
        for pk in list(due):
            drive(pk)
        if not due:
            following = tree.exclude(due_at=None).order_by("due_at").values_list("due_at", flat=True).first()
            assert following is not None, [(each.title, each.state, each.why()) for each in tree]
            clock.advance(max(0.001, (following - clock.read()).total_seconds()))
    raise AssertionError([(each.title, each.state, each.why()) for each in tree])


def count_points(run: Callable[[], None]) -> list[str]:
    """Return the points that a run passes, in order, without killing anything."""
    passed: list[str] = []
    faults.install(lambda point: passed.append(point) if point in KILL_POINTS else None)
    try:
        run()
    finally:
        faults.install(None)
    return passed


def run_and_kill(run: Callable[[], None], at: int) -> bool:
    """Run in a forked process that is killed with SIGKILL at its n-th point, from 0.

    Returns:
        Whether it was killed; False when the run ended before it came to that point.
    """
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        seen = -1

        def kill(point: str) -> None:
            nonlocal seen
            seen += point in KILL_POINTS
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            faults.install(kill)
            run()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    assert os.WEXITSTATUS(status) == 0, "the run failed by itself"
    return False
