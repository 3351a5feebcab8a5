"""Finds what is due: timers, expired leases and lost messages, and sends a message about each.

One idempotent query with no owner: any number of dispatchers may run, and one that dies leaves nothing behind but messages
that are sent again later.

After a long downtime there is no stampede. One round of one dispatcher takes at most ``DISPATCH_BATCH`` operations, however
many are due, in two queries. All dispatchers together send at most one message about an operation per re-nudge time, because
the next one's time is committed before a message leaves, and that time doubles. There is no bound on all of them together:
each worker brings one dispatcher, so the rate grows with those who do the work, and a message is only an offer; how much runs
at once is the number of worker processes, and how much reaches a cloud is what its throttles allow.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from django.db import Error, connection, transaction
from django.db.models import Case, F, IntegerField, When
from django.db.models.functions import Least

from .. import clock, faults, retries
from ..conf import settings
from ..models import Operation
from ..nudges import nudge
from .connections import check_connections

__all__ = ["DispatcherThread", "dispatch_once", "dispatch_until"]

logger = logging.getLogger("django_executors")

_RENUDGE_SECONDS = 10.0
_LONGEST_RENUDGE_SECONDS = 600.0
_MOST_DOUBLINGS = 6
"""Behind these, every delay is the longest one."""


def dispatch_once(send: Callable[..., bool] = nudge) -> int:
    """Send messages about the operations that are due, the longest due first.

    Should a message be lost, the next one follows after 5 to 10 s, and each further one after twice that, up to 10 minutes.

    Returns:
        How many messages were sent, at most ``EXECUTORS["DISPATCH_BATCH"]``.
    """
    taken = _take()
    if taken:
        faults.reach("after dispatch")
    for row in taken:
        send(
            row["pk"],
            row["queue"],
            priority=row["priority"],
            time_limit=row["time_limit"],
            soft_time_limit=row["soft_time_limit"],
        )
    return len(taken)


def _take() -> list[Any]:
    """Commit when the next message about each due operation will be sent, and return what is to be sent now."""
    due = Operation.objects.filter(nudge_at__lte=clock.now()).order_by("nudge_at")
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True)
    elif connection.features.has_select_for_update:
        due = due.select_for_update()  # the second dispatcher waits, and then finds what the first one has left
    with transaction.atomic():
        taken = list(due.values("pk", "queue", "priority", "time_limit", "soft_time_limit")[: settings.DISPATCH_BATCH])
        if taken:
            # Locked until the commit. SQLite has no such lock, but refuses a write after a read that is out of date.
            Operation.objects.filter(pk__in=[row["pk"] for row in taken]).update(
                # Order matters to MariaDB, which evaluates assignments one after the other.
                nudge_at=_next_nudge(),
                nudges=Least(F("nudges") + 1, _MOST_DOUBLINGS, output_field=IntegerField()),
            )
    return taken


def _next_nudge() -> Case:
    delays = [
        clock.from_now(retries.backoff(_RENUDGE_SECONDS, sent, _LONGEST_RENUDGE_SECONDS, random.random))
        for sent in range(_MOST_DOUBLINGS + 1)
    ]
    return Case(*(When(nudges=sent, then=delay) for sent, delay in enumerate(delays)), default=delays[-1])


def dispatch_until(stopped: threading.Event) -> None:
    """Dispatch about every ``DISPATCH_SECONDS`` until the event is set; outlives a database that is away.

    A round that was full is followed by the next one ten times sooner.
    """
    while not stopped.is_set():
        pause = settings.DISPATCH_SECONDS
        try:
            check_connections()
            if dispatch_once() >= settings.DISPATCH_BATCH:
                pause /= 10
        except Error:
            logger.warning("the dispatcher did not reach the database; it tries again", exc_info=True)
            connection.close()
        except Exception:
            logger.exception("the dispatcher failed; it tries again")
        stopped.wait(pause * (0.9 + random.random() / 5))  # noqa: S311 - jitter
    connection.close()


class DispatcherThread(threading.Thread):
    """Dispatches until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="executors-dispatcher", daemon=True)
        self._stopped = threading.Event()

    def run(self) -> None:
        dispatch_until(self._stopped)

    def stop(self) -> None:
        """Ask it to end, and wait a moment for it."""
        self._stopped.set()
        if self.is_alive():
            self.join(timeout=5)
