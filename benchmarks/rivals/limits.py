"""What the database allows: a bare loop of the smallest transaction that is durable as this engine is, on its own tables.

Begin; advance the operation's row where the lease is still ours (guarded UPDATE); load the resource; change a column; mark
the step done; commit. Through Django's ORM, through psycopg alone, and by pgbench. No queue, no claim, no dispatcher.

Run as ``python -m benchmarks.rivals.limits orm|orm-shared|psycopg INDEX`` or ``… pgbench``, it is a worker; the loops come
in two processes that divide the operations between them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
if not apps.ready:
    django.setup()

import psycopg
from django.db import connection, transaction
from django.db.models import F

from benchmarks import place
from benchmarks.rivals.ours import ItemUpdateExecutor
from benchmarks.workload import steps as work
from benchmarks.workload.models import Item
from django_executors import clock
from django_executors.models import Operation, Step

__all__ = ["open_operation"]

SHARES = 2
LEASE = 30.0

ADVANCE = (
    "UPDATE django_executors_operation SET version = version + 1, position = %(next)s, nudges = 0, takeovers = 0,"
    " due_at = now() + interval '30 s', nudge_at = now() + interval '30 s'"
    " WHERE id = %(operation)s AND lease_owner = '' AND lease_token = 0 AND version = %(number)s AND signals = 0"
)
LOAD = "SELECT id, state, name, value, first_step_at FROM workload_item WHERE id = %(item)s"
CHANGE = "UPDATE workload_item SET value = %(next)s WHERE id = %(item)s"
MARK = (
    "UPDATE django_executors_step SET state = 'succeeded', attempts = 1, started_at = now(), finished_at = now()"
    " WHERE id = %(step)s"
)
OPEN = (
    "SELECT o.id, i.id, (SELECT array_agg(s.id ORDER BY s.position) FROM django_executors_step s"
    " WHERE s.operation_id = o.id AND s.phase = 'main')"
    " FROM django_executors_operation o JOIN workload_item i ON i.id = o.resource_pk::bigint"
    " WHERE i.state <> 'ok' AND i.id %% {shares} = {share} ORDER BY i.id"
)
END = "UPDATE workload_item SET state = 'ok' WHERE id = %(item)s"


def open_operation(item: Item, steps: int) -> None:
    """Open an operation as this engine does, with a countdown instead of a message: nobody but the loop shall come."""
    ItemUpdateExecutor.execute(item, updated_fields=["value"], steps=steps, countdown=3600)


def _todo(share: int, shares: int = SHARES) -> list[tuple[str, int, list[int]]]:
    """Wait for operations and return ours: their keys, their items' keys and their steps' keys."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(OPEN.format(shares=shares, share=share).replace("%%", "%"))
            found = cursor.fetchall()
        if found:
            return found
        time.sleep(0.05)


def orm(share: int, *, together: bool = False) -> None:
    """Loop through Django's ORM, with the function that all rivals call.

    Args:
        together: Commit all steps of an operation at once, as this engine does with steps that only write rows.
    """
    while True:
        for operation, item, steps in _todo(share):
            with transaction.atomic() if together else nullcontext():
                _orm_steps(operation, item, steps)
            work.finish(item)


def _orm_steps(operation: str, item: int, steps: list[int]) -> None:
    for number, step in enumerate(steps):
        with transaction.atomic(savepoint=False):
            held = Operation.objects.filter(pk=operation, lease_owner="", lease_token=0)
            assert held.filter(version=number, signals=0).update(
                version=F("version") + 1,
                position=number + 1,
                nudges=0,
                takeovers=0,
                due_at=clock.from_now(LEASE),
                nudge_at=clock.from_now(LEASE),
            )
            work.advance(item, number)
            Step.objects.filter(pk=step).update(
                state="succeeded", attempts=1, started_at=clock.now(), finished_at=clock.now()
            )


def raw(share: int) -> None:
    """Loop with psycopg alone."""
    with psycopg.connect(place.database_url(), autocommit=True) as direct:
        while True:
            for operation, item, steps in _todo(share):
                for number, step in enumerate(steps):
                    values = {
                        "operation": operation, "item": item, "step": step, "number": number, "next": number + 1
                    }  # fmt: skip
                    with direct.transaction():
                        assert direct.execute(ADVANCE, values).rowcount == 1
                        row = direct.execute(LOAD, values).fetchone()
                        assert row is not None
                        assert row[3] == number
                        direct.execute(CHANGE, values)
                        direct.execute(MARK, values)
                direct.execute(END, {"item": item})


def pgbench() -> None:
    """Let pgbench send the same statements, with two clients; keys come from a table, since it knows no UUIDs."""
    keys = {
        "%(operation)s": "(SELECT operation FROM bench_keys WHERE n = :k)",
        "%(item)s": "(SELECT item FROM bench_keys WHERE n = :k)",
        "%(step)s": "(SELECT steps[:next] FROM bench_keys WHERE n = :k)",
        "%(number)s": ":number",
        "%(next)s": ":next",
    }
    while True:
        todo = _todo(0, 1)
        steps = len(todo[0][2])
        lines = ["\\set n :n + 1", f"\\set k :n / {steps} * {SHARES} + :client_id", f"\\set number mod(:n, {steps})"]
        lines += ["\\set next :number + 1", "BEGIN;"]
        for statement in (ADVANCE, LOAD, CHANGE, MARK):
            for name, expression in keys.items():
                statement = statement.replace(name, expression)
            lines.append(statement + ";")
        lines.append("END;")
        with psycopg.connect(place.database_url(), autocommit=True) as direct, tempfile.TemporaryDirectory() as folder:
            direct.execute("DROP TABLE IF EXISTS bench_keys")
            direct.execute("CREATE TABLE bench_keys (n int PRIMARY KEY, operation uuid, item bigint, steps bigint[])")
            with direct.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO bench_keys VALUES (%s, %s, %s, %s)", [(n, *row) for n, row in enumerate(todo)]
                )
            script = Path(folder) / "step.sql"
            script.write_text("\n".join(lines) + "\n")
            each = len(todo) // SHARES * steps
            options = ["-n", "-M", "prepared", "-D", "n=-1", "-c", str(SHARES), "-j", str(SHARES), "-t", str(each)]
            url = place.database_url().replace("postgres://", "postgresql://")
            subprocess.run(["pgbench", *options, "-f", str(script), url], check=True)
            direct.execute("UPDATE workload_item SET state = 'ok'")


if __name__ == "__main__":
    {
        "orm": lambda: orm(int(sys.argv[2])),
        "orm-shared": lambda: orm(int(sys.argv[2]), together=True),
        "psycopg": lambda: raw(int(sys.argv[2])),
        "pgbench": pgbench,
    }[sys.argv[1]]()
