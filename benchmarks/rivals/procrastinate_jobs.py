"""Procrastinate: a job per step, which defers the next one in the transaction of its own work, as its Django support allows.

It has no chains. A job row exists for every step that was reached, so it is durable as this engine is, but no row says what
the whole operation is, or what comes next.
"""

from __future__ import annotations

from django.db import transaction
from procrastinate.contrib.django import app

from benchmarks.workload import steps as work
from benchmarks.workload.models import Item

__all__ = ["check", "open_many", "open_operation", "waiting"]


@app.task(name="advance", queue="steps")
def advance(pk: int, number: int, steps: int) -> None:
    """A step, and the job for what follows it."""
    with transaction.atomic():
        work.advance(pk, number)
        if number + 1 < steps:
            advance.defer(pk=pk, number=number + 1, steps=steps)
        else:
            finish.defer(pk=pk)


@app.task(name="finish", queue="steps")
def finish(pk: int) -> None:
    """The end."""
    work.finish(pk)


def open_operation(item: Item, steps: int) -> None:
    """Move the item and defer the first job, in the caller's transaction."""
    work.schedule(item)
    advance.defer(pk=item.pk, number=0, steps=steps)


def open_many(items: list[Item], steps: int) -> None:
    """Do the same for many items, whose jobs are deferred by one statement."""
    for item in items:
        work.schedule(item)
    advance.batch_defer(*({"pk": item.pk, "number": 0, "steps": steps} for item in items))


def waiting() -> int:
    """Return how many jobs wait."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    return int(ProcrastinateJob.objects.filter(status="todo").count())


def check(items: int, steps: int) -> None:
    """Raise unless every job succeeded at its first attempt."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    done = ProcrastinateJob.objects.filter(status="succeeded", attempts=1).count()
    if not done == ProcrastinateJob.objects.count() == items * (steps + 1):
        raise AssertionError(f"{items * (steps + 1)} jobs should have succeeded, {done} did")
