"""This engine: an executor whose steps run in the commit that records them, or as plain Celery functions."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from celery import chain, shared_task

from benchmarks.workload import steps as work
from benchmarks.workload.models import Item
from django_executors import executors
from django_executors.models import Attempt, Operation, Step

__all__ = ["check", "open_many", "open_operation", "prepare", "waiting"]

PLAIN = bool(os.environ.get("BENCH_PLAIN"))


@shared_task(transactional=True)
def advance_in_commit(pk: int, number: int) -> None:
    """A step that only writes rows."""
    work.advance(pk, number)


@shared_task
def advance(pk: int, number: int) -> None:
    """A step as any project has them: the engine knows nothing about it."""
    work.advance(pk, number)


class ItemUpdateExecutor(executors.UpdateExecutor):
    """Advance an item step by step; the success path makes it OK."""

    @classmethod
    def get_task_signature(cls, instance: Item, serialized_instance: str, **kwargs: Any) -> Any:
        task = advance if PLAIN else advance_in_commit
        return chain(*(task.si(instance.pk, number) for number in range(kwargs["steps"])))


def prepare() -> None:
    """Forget messages of earlier runs."""
    from benchmarks.celeryapp import app

    app.control.purge()


def waiting() -> int:
    """Return how many messages wait; their operations are rows already."""
    from benchmarks.celeryapp import app

    with app.connection_for_read() as connection:
        declared = connection.default_channel.queue_declare("tasks", durable=True, auto_delete=False)
        return int(declared.message_count)


def open_operation(item: Item, steps: int) -> None:
    """Open an operation with so many steps and a success path."""
    ItemUpdateExecutor.execute(item, updated_fields=["value"], steps=steps)


def open_many(items: list[Item], steps: int) -> None:
    """Open operations on many items in a few statements."""
    ItemUpdateExecutor.execute_many(items, updated_fields=["value"], steps=steps)


if not hasattr(ItemUpdateExecutor, "execute_many"):  # an older engine, given by BENCH_SRC
    del open_many


def check(items: int, steps: int) -> None:
    """Raise unless the journal says that every step of every operation ran once and succeeded."""
    operations = Counter(Operation.objects.values_list("state", flat=True))
    if operations != {"succeeded": items}:
        raise AssertionError(f"{items} operations should have succeeded: {dict(operations)}")
    done = Counter(Step.objects.values_list("phase", "state", "attempts"))
    wanted = {
        ("main", "succeeded", 1): items * steps,
        ("success", "succeeded", 1): items,
        ("failure", "pending", 0): items,
    }
    if done != wanted:
        raise AssertionError(f"the steps should be {wanted}, and are {dict(done)}")
    if Attempt.objects.exists():
        raise AssertionError("some attempts failed")
