"""Looks at the database every second meanwhile: for rows that contradict each other, and rows that go backwards."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

from django.db import Error, connection

from django_executors.consistency import check_consistency
from django_executors.models import Operation, Slot
from django_executors.states import OPEN_OPERATION_STATES

__all__ = ["Watcher"]

_COLUMNS = ("pk", "state", "lease_token", "version", "finished_at")


class Watcher(threading.Thread):
    """Watches until it is stopped.

    Attributes:
        looks: How often it has looked with success.
        violations: What the consistency check has found, each once, with the time of the first look that saw it.
        longest_line: How many operations waited for slots at the same time, at most.
        backwards: Writes that only a worker without the lease can have made.
    """

    def __init__(self, pause: float = 1.0) -> None:
        super().__init__(name="chaos-watcher", daemon=True)
        self.pause = pause
        self.looks = 0
        self.longest_line = 0
        self.violations: dict[str, str] = {}
        self.warnings: dict[str, str] = {}
        self.backwards: list[str] = []
        self.errors: list[str] = []
        self._before: dict[uuid.UUID, tuple[Any, ...]] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self.pause):
            try:
                self.look()
            except Error:
                connection.close()  # the database is being restarted
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
        connection.close()

    def stop(self) -> None:
        """End it, after a last look that must succeed."""
        self._stopped.set()
        self.join(30)
        self.look()

    def look(self) -> None:
        """Look once."""
        found = check_consistency()
        self._compare()
        self.longest_line = max(self.longest_line, Slot.objects.filter(held=False).count())
        self.looks += 1
        for violation in found:
            seen = self.warnings if violation.is_warning else self.violations
            line = f"{violation.rule} {violation.operation_id or ''} {violation.resource}: {violation.text}"
            seen.setdefault(line, time.strftime("%H:%M:%S"))

    def _compare(self) -> None:
        rows = {
            row[0]: row
            for row in Operation.objects.filter(state__in=OPEN_OPERATION_STATES).order_by().values_list(*_COLUMNS)
        }
        gone = [pk for pk in self._before if pk not in rows]
        rows |= {row[0]: row for row in Operation.objects.filter(pk__in=gone).order_by().values_list(*_COLUMNS)}
        for pk, before in self._before.items():
            now = rows.get(pk)
            if now is None:
                self.backwards.append(f"{pk}: the row is gone")
            elif now[2] < before[2] or now[3] < before[3]:
                self.backwards.append(f"{pk}: token and version went from {before[2:4]} to {now[2:4]}")
            elif before[4] is not None and now != before:
                self.backwards.append(f"{pk}: changed after its end, from {before[1:]} to {now[1:]}")
        # One that has ended is kept for one more look, and for the last one of all.
        self._before = {pk: row for pk, row in rows.items() if row[4] is None or pk in self._before}
        ended = [pk for pk, row in self._before.items() if row[4] is not None]
        for pk in ended[:-500]:
            del self._before[pk]
