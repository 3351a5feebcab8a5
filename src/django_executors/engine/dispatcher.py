"""Finds what is due: timers, expired leases and lost messages, and sends a message about each.

One idempotent query with no owner: any number of dispatchers may run, and one that dies leaves nothing behind. Each round is
bounded, so a day of downtime does not become a stampede.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from django.db import Error, close_old_connections, connection, transaction
from django.db.models import F

from .. import clock, retries
from ..conf import settings
from ..models import Operation
from ..nudges import nudge

__all__ = ["DispatcherThread", "dispatch_once"]

logger = logging.getLogger("django_executors")

_RENUDGE_SECONDS = 10.0
_LONGEST_RENUDGE_SECONDS = 600.0


def dispatch_once(send: Callable[..., bool] = nudge) -> int:
    """Send messages about the operations that are due, the longest due first.

    Returns:
        How many messages were sent, at most ``EXECUTORS["DISPATCH_BATCH"]``.
    """
    due = Operation.objects.filter(nudge_at__lte=clock.now()).order_by("nudge_at")
    columns = ("pk", "queue", "priority", "time_limit", "soft_time_limit", "nudges")
    taken = []
    with transaction.atomic():
        if connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        for row in due.values(*columns)[: settings.DISPATCH_BATCH]:
            # Should this message be lost too, the next one follows later each time.
            after = retries.backoff(_RENUDGE_SECONDS, row["nudges"], _LONGEST_RENUDGE_SECONDS, random.random)
            # Not "nudge_at is still the same": SQLite compares times as texts, of which it has two for one time.
            if Operation.objects.filter(pk=row["pk"], nudge_at__lte=clock.now()).update(
                nudge_at=clock.from_now(after), nudges=F("nudges") + 1
            ):
                taken.append(row)
    for row in taken:
        send(
            row["pk"],
            row["queue"],
            priority=row["priority"],
            time_limit=row["time_limit"],
            soft_time_limit=row["soft_time_limit"],
        )
    return len(taken)


class DispatcherThread(threading.Thread):
    """Dispatches about every ``DISPATCH_SECONDS`` until it is stopped; outlives a database that is away."""

    def __init__(self) -> None:
        super().__init__(name="executors-dispatcher", daemon=True)
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            pause = settings.DISPATCH_SECONDS
            try:
                close_old_connections()
                if dispatch_once() >= settings.DISPATCH_BATCH:
                    pause /= 10
            except Error:
                logger.warning("the dispatcher did not reach the database; it tries again", exc_info=True)
                connection.close()
            except Exception:
                logger.exception("the dispatcher failed; it tries again")
            self._stopped.wait(pause * (0.9 + random.random() / 5))  # noqa: S311 - jitter
        connection.close()

    def stop(self) -> None:
        """Ask it to end, and wait a moment for it."""
        self._stopped.set()
        if self.is_alive():
            self.join(timeout=5)
