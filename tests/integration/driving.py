"""Drives operations by hand, on a clock that jumps over the waits instead of sleeping through them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from django_executors import clock, faults
from django_executors.conf import settings
from django_executors.engine.drive import drive
from django_executors.models import Operation
from django_executors.states import OPEN_OPERATION_STATES
from tests.testapp.executors import BoxUpdateExecutor
from tests.testapp.models import Box, Mark


def due(root: Operation) -> list[Operation]:
    """Return the operations of a tree that a worker could claim now, the longest due first."""
    return list(
        Operation.objects.filter(root_id=root.root_id, state__in=OPEN_OPERATION_STATES, due_at__lte=clock.now())
        .exclude(state="paused")
        .order_by("due_at", "id")
    )


def drive_due(root: Operation, choice: random.Random | None = None) -> int:
    """Drive what is due until nothing is due any more; return how often an operation was driven."""
    driven = 0
    while found := due(root):
        assert driven < 2000, f"the engine goes round in circles: {found[0].why()}"
        drive((choice.choice(found) if choice else found[0]).pk)
        driven += 1
    return driven


def settle(operation: Operation) -> Operation:
    """Drive an operation and its parts to the end, moving the clock over its waits; return it as it ended."""
    for _ in range(500):
        drive_due(operation)
        row = Operation.objects.get(pk=operation.pk)
        if not row.is_open or row.state == "paused":
            return row
        skip_wait(row)
    raise AssertionError(f"it does not end: {row.why()}")


def skip_wait(operation: Operation) -> None:
    """Move the clock to the next timer of a tree."""
    waiting = Operation.objects.filter(root_id=operation.root_id, state__in=OPEN_OPERATION_STATES).exclude(due_at=None)
    next_due = waiting.order_by("due_at").values_list("due_at", flat=True).first()
    assert next_due is not None, "it is open and has no timer: it would never go on"
    clock.advance(max(0.0, (next_due - clock.read()).total_seconds()) + 0.002)


def all_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls in threads of their own that start together; return results and errors, in the order of the calls."""
    outcomes: list[Any] = [None] * len(calls)
    together = threading.Barrier(len(calls))

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            together.wait(timeout=30)
            outcomes[number] = calls[number]()
        except BaseException as error:
            outcomes[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a call did not come back"
    return outcomes


def transcript(operation: Operation) -> list[str]:
    """Return the kinds of an operation's events, in order."""
    return list(operation.events.order_by("id").values_list("kind", flat=True))


class Died(BaseException):
    """The end of a worker: nothing in the engine handles it, as nothing handles a SIGKILL."""


def die(operation: Operation, at: str, times: int = 1, draining: Callable[[], bool] = lambda: False) -> None:
    """Drive an operation by a worker that dies at a named point, and let its lease end; ``times`` one after another."""
    for _ in range(times):

        def handler(point: str) -> None:
            if point == at:
                raise Died

        faults.install(handler)
        try:
            drive(operation.pk, draining=draining)
        except Died:
            pass
        else:
            raise AssertionError(f"the worker did not come to {at!r}")
        finally:
            faults.install(None)
        clock.advance(settings.LEASE_SECONDS + 1)


def script(*outcomes: Any) -> Callable[..., Any]:
    """Return a behaviour of the toy cloud: one outcome a call, in order, the last one for ever; errors are raised."""
    left = list(outcomes)

    def behave(instance: Any, *args: Any) -> Any:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return behave


def make_box(state: str = "ok", name: str = "b") -> Box:
    """Make a resource in a state."""
    return Box.objects.create(name=name, state=state)


def update(box: Box) -> Operation:
    """Open an update of a box."""
    return BoxUpdateExecutor.execute(box, updated_fields=["name"])


def marks() -> list[str]:
    """Return what steps have marked, in order."""
    return list(Mark.objects.order_by("id").values_list("what", flat=True))


def row(operation: Operation) -> Operation:
    """Read an operation from the database."""
    return Operation.objects.get(pk=operation.pk)
