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
from django.db.models import Case, Expression, F, IntegerField, When
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
_SLIGHTLY = 0.005
"""Seconds past a timer."""

_MOST_DOUBLINGS = 6
"""Behind these, every delay is the longest one."""


def dispatch_once(send: Callable[..., bool] = nudge) -> int:
    """Send messages about the operations that are due, the longest due first.

    Should a message be lost, the next one follows after 5 to 10 s, and each further one after twice that, up to 10 minutes;
    where a worker fell silent, the first one follows after ``DISPATCH_SECONDS``. What could not be sent at all is tried again
    by the next round.

    Returns:
        How many messages were sent, at most ``EXECUTORS["DISPATCH_BATCH"]``.
    """
    taken = _take()
    if taken:
        faults.reach("after dispatch")
    for sent, row in enumerate(taken):
        if not send(
            row["pk"],
            row["queue"],
            priority=row["priority"],
            time_limit=row["time_limit"],
            soft_time_limit=row["soft_time_limit"],
        ):
            # The broker is away: each further message would wait for it as long.
            _put_back(taken[sent:])
            return sent
    return len(taken)


def _put_back(unsent: list[Any]) -> None:
    """Let the next round send these; not those that somebody has worked on since."""
    pks = [row["pk"] for row in unsent]
    Operation.objects.filter(pk__in=pks, nudges__gt=0).update(
        nudge_at=clock.from_now(settings.DISPATCH_SECONDS), nudges=F("nudges") - 1
    )


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
    idle, held = _delays(_RENUDGE_SECONDS), _delays(settings.DISPATCH_SECONDS)
    return Case(
        *(When(nudges=sent, lease_owner="", then=delay) for sent, delay in enumerate(idle)),
        # Its worker is silent: a message that went to a worker like that is not waited for long.
        *(When(nudges=sent, then=delay) for sent, delay in enumerate(held)),
        default=idle[-1],
    )


def _delays(first: float) -> list[Expression]:
    return [
        clock.from_now(retries.backoff(first, sent, _LONGEST_RENUDGE_SECONDS, random.random))
        for sent in range(_MOST_DOUBLINGS + 1)
    ]


def _pause() -> float:
    """Return how long nothing will be due, seconds; bounded by ``DISPATCH_SECONDS``, and a tenth of it."""
    following = Operation.objects.exclude(nudge_at=None).order_by("nudge_at").values_list("nudge_at", flat=True).first()
    longest = settings.DISPATCH_SECONDS * (0.9 + random.random() / 5)  # noqa: S311 - jitter
    if following is None:
        return longest
    left = (following - clock.read()).total_seconds()
    return min(longest, max(settings.DISPATCH_SECONDS / 10, left + _SLIGHTLY))


def dispatch_until(stopped: threading.Event) -> None:
    """Dispatch when something is due, at least every ``DISPATCH_SECONDS``, until the event is set.

    Outlives a database that is away. Rounds are at least a tenth of ``DISPATCH_SECONDS`` apart.
    """
    while not stopped.is_set():
        pause = settings.DISPATCH_SECONDS
        try:
            check_connections()
            dispatch_once()
            pause = _pause()
        except Error:
            logger.warning("the dispatcher did not reach the database; it tries again", exc_info=True)
            connection.close()
        except Exception:
            logger.exception("the dispatcher failed; it tries again")
        stopped.wait(pause)
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
