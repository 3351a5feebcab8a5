"""DBOS Transact: a workflow of steps; a row is written before the workflow and after each step.

Run as ``python -m benchmarks.rivals.dbos_workflow``, it is a worker: one process that takes workflows from the queue.
"""

from __future__ import annotations

import os
import signal
import threading

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
if not apps.ready:
    django.setup()

from dbos import DBOS, DBOSClient, DBOSConfig
from django.db import connection, transaction

from benchmarks import place
from benchmarks.workload import steps as work
from benchmarks.workload.models import Item

__all__ = ["check", "migrate", "open_operation", "waiting"]

QUEUE = "operations"
VERSION = "benchmark"
# Workflows at once in one process, in threads. With one, as the others have, it does half as much: it waits for commits.
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))
POLLING = 0.05
"""Seconds between two looks at the queue. DBOS looks once a second by default, which a lone operation would wait for."""


def _url() -> str:
    url = os.environ.get("BENCH_DATABASE_URL", place.database_url())
    return url.replace("postgres://", "postgresql+psycopg://", 1)


@DBOS.step()
def advance(pk: int, number: int) -> None:
    """A step."""
    work.advance(pk, number)


@DBOS.step()
def finish(pk: int) -> None:
    """The end."""
    work.finish(pk)


@DBOS.workflow()
def operation(pk: int, steps: int) -> None:
    """An operation."""
    for number in range(steps):
        advance(pk, number)
    finish(pk)


def _start() -> None:
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": _url(),
        "application_version": VERSION,
        "executor_id": f"worker-{os.getpid()}",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLLING)


_client: DBOSClient | None = None


def client() -> DBOSClient:
    """Return this process's client."""
    global _client
    if _client is None:
        _client = DBOSClient(system_database_url=_url())
    return _client


def migrate() -> None:
    """Make its tables and the queue."""
    _start()
    DBOS.destroy()


def open_operation(item: Item, steps: int) -> None:
    """Move the item and put the workflow into the queue after the commit: DBOS has a connection of its own."""
    work.schedule(item)
    pk = item.pk

    def enqueue() -> None:
        client().enqueue(
            {"queue_name": QUEUE, "workflow_name": operation.__qualname__, "app_version": VERSION}, pk, steps
        )

    transaction.on_commit(enqueue)


def waiting() -> int:
    """Return how many workflows wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dbos.workflow_status WHERE status = 'ENQUEUED'")
        return int(cursor.fetchone()[0])


def check(items: int, steps: int) -> None:
    """Raise unless every workflow succeeded and every step was recorded once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'")
        workflows = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM dbos.operation_outputs WHERE error IS NULL")
        outputs = cursor.fetchone()[0]
    if (workflows, outputs) != (items, items * (steps + 1)):
        raise AssertionError(f"{items} workflows of {steps + 1} steps should have succeeded: {workflows}, {outputs}")


def main() -> None:
    """Work until a signal."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    _start()
    ended.wait()
    DBOS.destroy()


if __name__ == "__main__":
    from benchmarks.rivals import dbos_workflow

    dbos_workflow.main()
