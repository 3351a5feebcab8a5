"""A plain Celery chain with ``link`` and ``link_error``, as the classic executors start it."""

from __future__ import annotations

from functools import partial

from celery import chain, shared_task
from django.db import transaction

from benchmarks.workload import steps as work
from benchmarks.workload.models import Item

__all__ = ["open_operation", "prepare", "waiting"]


@shared_task
def advance(pk: int, number: int) -> None:
    """A step."""
    work.advance(pk, number)


@shared_task
def finish(pk: int) -> None:
    """The end."""
    work.finish(pk)


@shared_task
def erred(pk: int) -> None:
    """The other end."""
    work.erred(pk)


def prepare() -> None:
    """Forget messages of earlier runs."""
    from benchmarks.celeryapp import app

    app.control.purge()


def waiting() -> int:
    """Return how many messages wait."""
    from benchmarks.celeryapp import app

    with app.connection_for_read() as connection:
        declared = connection.default_channel.queue_declare("tasks", durable=True, auto_delete=False)
        return int(declared.message_count)


def open_operation(item: Item, steps: int) -> None:
    """Move the item, and publish the chain after the commit."""
    work.schedule(item)
    # What a project writes: the messages wait for the commit, or a fast worker finds the row as it was.
    plan = chain(*(advance.si(item.pk, number) for number in range(steps)))
    transaction.on_commit(partial(plan.apply_async, link=finish.si(item.pk), link_error=erred.si(item.pk)))
