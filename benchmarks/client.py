"""The process that opens a rival's operations: the web server, so to say. Commands and answers are lines of JSON.

A process of its own for each rival, since one process has one Celery configuration; it starts before the clock does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any, TextIO

import django

__all__ = ["Client", "main", "prepare_django", "serve"]


class Client:
    """What a client can do; each method is a command."""

    def __init__(self, module: Any) -> None:
        self.rival = module

    def migrate(self) -> None:
        """Make all tables."""
        from django.core.management import call_command

        call_command("migrate", run_syncdb=True, verbosity=0)
        if hasattr(self.rival, "migrate"):
            self.rival.migrate()

    def prepare(self) -> None:
        """Forget what earlier runs left in the broker."""
        if hasattr(self.rival, "prepare"):
            self.rival.prepare()

    def items(self, first: int, count: int) -> None:
        """Make the rows to work on."""
        from benchmarks.workload.models import Item

        numbers = range(first, first + count)
        Item.objects.bulk_create([Item(pk=pk, name=f"item {pk}", state=Item.States.OK) for pk in numbers])

    def open(self, first: int, count: int, steps: int, together: bool = False) -> dict[str, float]:
        """Open operations, each in a request of its own or all in one; returns seconds and CPU seconds of this process."""
        from django.db import transaction

        from benchmarks.workload.models import Item

        rows = list(Item.objects.filter(pk__gte=first, pk__lt=first + count).order_by("pk"))
        began, cpu = time.perf_counter(), time.process_time()
        if together:
            with transaction.atomic():
                for row in rows:
                    self.rival.open_operation(row, steps)
        else:
            for row in rows:
                with transaction.atomic():
                    self.rival.open_operation(row, steps)
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}

    def open_at_once(self, first: int, count: int, steps: int) -> dict[str, float]:
        """Open operations in one request, by the rival's own way to open many where it has one."""
        from django.db import transaction

        from benchmarks.workload.models import Item

        if not hasattr(self.rival, "open_many"):
            return self.open(first, count, steps, together=True)
        rows = list(Item.objects.filter(pk__gte=first, pk__lt=first + count).order_by("pk"))
        began, cpu = time.perf_counter(), time.process_time()
        with transaction.atomic():
            self.rival.open_many(rows, steps)
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}

    def waiting(self) -> int:
        """Return how many operations wait to be begun, by the rival's own count."""
        return int(self.rival.waiting())

    def lone(self, pk: int, steps: int, unfinished: str) -> dict[str, float]:
        """Open one operation and wait for its end, looking every millisecond.

        Returns:
            Milliseconds from the commit of the request to the begin of the first step, and to the end.
        """
        from django.db import connection, transaction

        from benchmarks.workload.models import Item

        row = Item.objects.get(pk=pk)
        committed = 0.0

        def note() -> None:
            nonlocal committed
            committed = time.time()

        with transaction.atomic():
            transaction.on_commit(note)  # before the rival's own: its message comes after the commit
            self.rival.open_operation(row, steps)
        deadline = committed + 30.0
        with connection.cursor() as cursor:
            while True:
                cursor.execute(unfinished)
                if cursor.fetchone()[0] == 0:
                    break
                if time.time() > deadline:
                    raise AssertionError(f"operation {pk} has not ended within 30 s")
                time.sleep(0.001)
        ended = time.time()
        row.refresh_from_db()
        return {"first": (row.first_step_at - committed) * 1000, "end": (ended - committed) * 1000}

    def check(self, items: int, steps: int) -> None:
        """Raise unless all the work was done, and none of it twice."""
        from benchmarks.workload.models import Item

        done = Item.objects.filter(value=steps, state=Item.States.OK).count()
        assert done == Item.objects.count() == items, f"{done} of {items} items are as they should be"
        if hasattr(self.rival, "check"):
            self.rival.check(items, steps)


def prepare_django() -> TextIO:
    """Set Django and Celery up, and return where answers go; whatever libraries print goes to the log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    if os.environ.get("BENCH_BROKER"):
        from benchmarks import celeryapp

        celeryapp.app.set_default()
    django.setup()
    return answers


def serve(commands: Any, answers: TextIO) -> int:
    """Run commands, which are methods of an object, until the input ends."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"answer": getattr(commands, command.pop("do"))(**command)}
        except Exception:  # noqa: BLE001 - the other process raises it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def main() -> int:
    """Serve commands until the input ends."""
    answers = prepare_django()
    return serve(Client(importlib.import_module(sys.argv[1])), answers)


if __name__ == "__main__":
    sys.exit(main())
