"""Looks at the engine from inside of one process: its statements, their times and plans, and what crosses the wire.

Run as ``python -m benchmarks.inside``, it serves commands as `benchmarks.client` does. It drives operations by calling the
engine's own `drive` and `dispatch_once`; statements are those that the engine sends, caught on their way, never retyped.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .client import prepare_django, serve

__all__ = ["main"]

_OPERATION = '"django_executors_operation"'


def kind_of(statement: str) -> str:
    """Say what a statement is to the engine; empty for those that are not looked at.

    By what only that statement does: a claim raises the token, a dispatcher looks at ``nudge_at``, and every other UPDATE of
    the operation is the guard of a commit.
    """
    if statement.startswith(f"UPDATE {_OPERATION}"):
        return "claim" if f'"lease_token" = ({_OPERATION}."lease_token" + ' in statement else "record: operation"
    if statement.startswith('UPDATE "django_executors_step"'):
        return "record: step"
    if statement.startswith("SELECT") and f'{_OPERATION}."nudge_at" <=' in statement and "ORDER BY" in statement:
        return "dispatch"
    if statement.startswith("SELECT") and 'FROM "django_executors_step"' in statement:
        return "load the steps"
    return ""


@contextmanager
def watched(watch: Callable[[str, Callable[[], Any], str, Any, Any], Any]) -> Iterator[None]:
    """Let a function run each of Django's statements: it gets the kind, what executes it, the statement and its cursor."""
    from django.db import connection

    def wrapper(execute: Any, statement: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        return watch(kind_of(statement), lambda: execute(statement, params, many, context), statement, params, context)

    with connection.execute_wrapper(wrapper):
        yield


class Inside:
    """What can be asked; each method is a command."""

    def __init__(self) -> None:
        from . import client
        from .rivals import ours

        self.ours = ours
        self.client = client.Client(ours)
        self.opened = 0
        self.grown = 0

    def _open(self, count: int, steps: int, *, plain: bool = False) -> list[Any]:
        """Open operations, and return their keys."""
        from django_executors.models import Operation

        self.ours.PLAIN = plain
        first = self.opened + 1
        self.opened += count
        self.client.items(first, count)
        self.client.open(first, count, steps)
        keys = [str(number) for number in range(first, first + count)]
        return list(
            Operation.objects.filter(resource_pk__in=keys, executor__contains="ours").values_list("pk", flat=True)
        )

    @staticmethod
    def _drive(keys: list[Any]) -> None:
        """Drive operations to their ends, as the message handler does."""
        from django_executors.engine.drive import drive
        from django_executors.models import Operation

        for key in keys:
            if not drive(key, queue="tasks"):
                raise AssertionError(f"{key} could not be claimed")
        states = set(Operation.objects.filter(pk__in=keys).values_list("state", flat=True))
        if states != {"succeeded"}:
            raise AssertionError(f"driven operations should have succeeded, and are {states}")

    # -- growth -------------------------------------------------------------------------------------------------------

    def grow(self, count: int) -> None:
        """Fill the tables up to so many open operations that wait; copies of one that the engine opened."""
        from django.db import connection

        model = self._open(1, 10)[0]
        key = "('01890000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid"
        later = "now() + interval '1 hour' + g * interval '1 s'"
        changed = {
            "django_executors_operation": {
                "id": key,
                "root_id": key,
                "resource_pk": "'0' || g",
                "state": "'waiting'",
                "wait_kind": "'countdown'",
                "due_at": later,
                "nudge_at": later,
            },
            "django_executors_step": {"id": None, "operation_id": key},
            "django_executors_event": {"id": None, "operation_id": key},
            "django_executors_claim": {"resource": "'workload.item:0' || g", "operation_id": key},
        }
        with connection.cursor() as cursor:
            for table, values in changed.items():
                cursor.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
                    [table],
                )
                names = [row[0] for row in cursor.fetchall() if values.get(row[0], "") is not None]
                columns = ", ".join(f'"{name}"' for name in names)
                sources = ", ".join(values.get(name) or f'model."{name}"' for name in names)
                link = "id" if "root_id" in names else "operation_id"
                cursor.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {sources} FROM {table} model,"
                    f" generate_series(%s, %s) g WHERE model.{link} = %s",
                    [self.grown + 1, count, model],
                )
                cursor.execute(f"VACUUM ANALYZE {table}")
        self.grown = count
        self._drive([model])

    def hold_snapshot(self) -> None:
        """Let another session keep an old view of the tables, as a dump does: dead rows have to stay."""
        import psycopg

        from . import place

        self.snapshot = psycopg.connect(place.database_url())
        self.snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.snapshot.execute("SELECT count(*) FROM workload_item")

    def times(self, repeats: int) -> dict[str, list[float]]:
        """Drive operations and dispatch; return milliseconds of each kind of statement, and of the whole."""
        from django_executors.engine.dispatcher import dispatch_once

        found: dict[str, list[float]] = {}

        def watch(kind: str, execute: Callable[[], Any], *_: Any) -> Any:
            began = time.perf_counter()
            result = execute()
            if kind:
                found.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
            return result

        def timed(name: str, what: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            result = what()
            found.setdefault(name, []).append((time.perf_counter() - began) * 1000)
            return result

        for key in self._open(repeats, 10):
            with watched(watch):
                timed("an operation of 10 steps", partial(self._drive, [key]))
        with watched(watch):
            self._drive(self._open(5, 10, plain=True))
        for _ in range(repeats):
            with watched(watch):
                sent = timed("a dispatch round, nothing due", lambda: dispatch_once(_no_message))
            if sent:
                raise AssertionError(f"nothing should be due, but {sent} messages were sent")
        for _ in range(5):
            self._make_due(200)
            sent = timed("a dispatch round, 200 due", lambda: dispatch_once(_no_message))
            if sent != 200:
                raise AssertionError(f"200 messages should have been sent, not {sent}")
            self._make_due(0)
        return found

    @staticmethod
    def _make_due(count: int) -> None:
        """Let so many of the waiting operations be due, and no other."""
        from django.db import connection

        waiting = "state = 'waiting' AND wait_kind = 'countdown'"
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE django_executors_operation SET nudge_at = due_at WHERE {waiting} AND nudge_at <> due_at"
            )
            cursor.execute(
                "UPDATE django_executors_operation SET nudge_at = now() WHERE id IN"
                f" (SELECT id FROM django_executors_operation WHERE {waiting} ORDER BY due_at LIMIT {int(count)})"
            )

    def plans(self) -> dict[str, dict[str, Any]]:
        """Return ``EXPLAIN (ANALYZE, BUFFERS)`` of each kind of statement, run in its place with its values, then undone."""
        from django_executors.engine.dispatcher import dispatch_once

        found: dict[str, dict[str, Any]] = {}

        def watch(kind: str, execute: Callable[[], Any], statement: str, params: Any, context: dict[str, Any]) -> Any:
            if kind and kind not in found:
                wire = context["connection"].connection
                with wire.transaction(force_rollback=True), wire.cursor() as cursor:
                    cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + str(statement), params)
                    lines = [row[0] for row in cursor.fetchall()]
                found[kind] = {"statement": str(statement), "plan": lines}
            return execute()

        keys = [*self._open(1, 10), *self._open(1, 10, plain=True)]
        self._make_due(50)
        with watched(watch):
            self._drive(keys)
            dispatch_once(_no_message)
        self._make_due(0)
        return found

    # -- round trips --------------------------------------------------------------------------------------------------

    def wire(self, steps: int, plain: bool, tries: int = 9) -> list[str]:
        """Drive operations of so many steps and return what crossed the wire for one, a line for each round trip.

        Of several, the one with the fewest: on a busy machine the engine ends a shared commit early, for its age.
        """
        found = [_traced(partial(self._drive_one, key)) for key in self._open(tries + 1, steps, plain=plain)]
        return min(found[1:], key=len)  # in the first one, things are done that are done once

    @staticmethod
    def _drive_one(key: Any) -> None:
        from django_executors.engine.drive import drive

        if not drive(key, queue="tasks"):
            raise AssertionError(f"{key} could not be claimed")


def _traced(run: Callable[[], None]) -> list[str]:
    """Run something and return each statement that Django's connection sent meanwhile.

    libpq itself writes down each message (``PQtrace``); a round trip ends with the server's ReadyForQuery.
    """
    from django.db import connection

    connection.ensure_connection()
    assert connection.connection is not None
    pgconn = connection.connection.pgconn
    with tempfile.TemporaryFile("w+") as trace:
        pgconn.trace(trace.fileno())
        run()
        pgconn.untrace()
        trace.seek(0)
        lines = trace.read().splitlines()
    trips, sent = [], "?"
    for line in lines:
        _, way, _, kind, *rest = line.split("\t", 4)
        text = rest[0].strip() if rest else ""
        if way == "F" and kind == "Query":
            sent = text.strip('"')
        elif way == "F" and kind == "Parse":
            # "name" "statement" number-of-types types...
            sent = text.partition('" "')[2].rpartition('"')[0]
        elif way == "B" and kind == "ReadyForQuery":
            trips.append(sent)
            sent = "?"
    return trips


def _no_message(*_: Any, **__: Any) -> bool:
    """Stand for the broker in a measurement of the database."""
    return True


def main() -> int:
    """Serve commands until the input ends."""
    os.environ["BENCH_BROKER"] = "memory"
    os.environ["BENCH_TASKS"] = "benchmarks.rivals.ours"
    answers = prepare_django()
    return serve(Inside(), answers)


if __name__ == "__main__":
    sys.exit(main())
