"""Who may drive an operation: claim, heartbeat, fencing.

A claim is one compare-and-set UPDATE on the database's clock; of many workers that try, one wins. While it drives, a thread
of its process moves ``due_at`` ahead for all operations the process holds, in one statement. A process that stays silent
until ``due_at`` has lost them: its token no longer fits, and every write it tries is refused (`journal.Fence`).
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connection
from django.db.models import Case, F, Value, When

from .. import clock
from ..conf import settings
from ..exceptions import LeaseLost
from ..journal import Fence, first_start, lease_values, release_values
from ..models import Operation
from ..statements import update_and_fetch
from ..states import OperationState, WaitKind

__all__ = ["HeldLease", "claim", "give_back", "hold", "owner"]

logger = logging.getLogger("django_executors")

T = TypeVar("T")

_CLAIMABLE = (
    OperationState.SCHEDULED,
    OperationState.RUNNING,
    OperationState.WAITING,
    OperationState.CANCELLING,
    OperationState.COMPENSATING,
)

_TAKEN = {
    "takeovers": Case(When(lease_owner="", then=F("takeovers")), default=F("takeovers") + 1),
    "wait_key": Case(When(lease_owner="", then=Value("")), default=Value("taken over")),
    "state": Case(
        When(state__in=(OperationState.SCHEDULED, OperationState.WAITING), then=Value(OperationState.RUNNING)),
        default=F("state"),
    ),
    "wait_kind": Value(""),
    "wait_reason": Value(""),
    "version": F("version") + 1,
    "lease_token": F("lease_token") + 1,
}

_owner: tuple[int, str] = (0, "")


def owner() -> str:
    """Return the name of this process's incarnation; unique even when host name and process id come again."""
    global _owner
    if _owner[0] != os.getpid():
        _owner = (os.getpid(), f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}")
    return _owner[1]


def claim(operation_id: uuid.UUID, queue: str | None) -> tuple[Fence, bool] | None:
    """Try to become the one worker that drives an operation.

    Args:
        queue: Queue of the message that was received; None to claim whatever the operation's queue is.

    Returns:
        The fence to write with and whether a silent worker was taken over; None when the operation is not due, not for this
        queue, or another worker was faster.
    """
    me = owner()
    where: dict[str, Any] = {"due_at__lte": clock.now(), "state__in": _CLAIMABLE}
    if queue is not None:
        where["queue"] = queue
    # Order matters to MariaDB, which evaluates assignments one after the other: lease_owner comes last.
    values = {**_TAKEN, **lease_values(), "started_at": first_start(clock.now()), "lease_owner": me}
    operation = _patiently(lambda: update_and_fetch(Operation, operation_id, where, values))
    if operation is None or operation.lease_owner != me:
        return None
    return Fence(operation, me, operation.lease_token), operation.wait_key == "taken over"


def give_back(fence: Fence) -> bool:
    """Let go of an operation whose driver has failed, so that it is due again in a moment; False when it was lost anyway.

    The mark of a step that has started stays, so whoever goes on knows that it has to look first.
    """
    mine = Operation.objects.filter(pk=fence.operation.pk, lease_owner=fence.owner, lease_token=fence.token)
    values = {
        **release_values(settings.DISPATCH_SECONDS),
        "state": Case(When(state=OperationState.RUNNING, then=Value(OperationState.WAITING)), default=F("state")),
        "wait_kind": WaitKind.QUEUE,
        "wait_reason": "the database failed while a worker had it",
        "version": F("version") + 1,
    }
    return bool(_patiently(lambda: mine.update(**values)))


_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between the tries when the database does not answer."""


def _patiently(query: Callable[[], T]) -> T:
    """Run a query that may run twice, and run it again when the database fails for a moment."""
    if connection.in_atomic_block:
        return query()
    for pause in _PAUSES:
        try:
            return query()
        except (OperationalError, InterfaceError):
            logger.warning("the database failed, trying again in %g s", pause, exc_info=True)
            time.sleep(pause)
            connection.close_if_unusable_or_obsolete()
    return query()


class HeldLease:
    """A lease as its holder knows it: until when, on this machine's monotonic clock, it may act for certain."""

    def __init__(self, operation_id: uuid.UUID, token: int, asked_at: float, *, endless: bool = False) -> None:
        self.operation_id = operation_id
        self.token = token
        self.endless = endless
        self.deadline = asked_at + settings.LEASE_SECONDS

    def renewed(self, asked_at: float) -> None:
        """Note a renewal that was asked for at ``asked_at``; counting from the question keeps us on the safe side."""
        self.deadline = max(self.deadline, asked_at + settings.LEASE_SECONDS)

    def ensure(self) -> None:
        """Raise `LeaseLost` once the lease may have ended; a paused process that wakes up stops here."""
        if not self.endless and time.monotonic() >= self.deadline:
            raise LeaseLost(f"the lease of operation {self.operation_id} ended while this worker was silent")


class _Heartbeat:
    """Renews all leases of this process in one statement."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._held: dict[uuid.UUID, HeldLease] = {}
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()

    def add(self, lease: HeldLease) -> None:
        with self._lock:
            self._held[lease.operation_id] = lease
            self._wanted.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="executors-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, lease: HeldLease) -> None:
        with self._lock:
            if self._held.get(lease.operation_id) is lease:
                del self._held[lease.operation_id]
            if not self._held:
                self._wanted.clear()

    def _run(self) -> None:
        while True:
            if not self._wanted.wait(timeout=60):
                with self._lock:
                    if not self._held:
                        self._thread = None
                        connection.close()
                        return
            time.sleep(settings.heartbeat_seconds)
            try:
                self._beat()
            except Error:
                logger.warning("a heartbeat did not reach the database", exc_info=True)
                connection.close()
            except Exception:
                # Whatever it is: a process whose heartbeat ends loses everything that it works on.
                logger.exception("a heartbeat failed; the next one follows")

    def _beat(self) -> None:
        with self._lock:
            leases = list(self._held.values())
        if not leases:
            return
        asked_at = time.monotonic()
        mine = Operation.objects.filter(pk__in=[lease.operation_id for lease in leases], lease_owner=owner())
        mine.update(**lease_values())
        # The owner is not enough: another thread of this process may have taken an operation over from a silent one.
        still = set(mine.values_list("pk", "lease_token"))
        for lease in leases:
            if (lease.operation_id, lease.token) in still:
                lease.renewed(asked_at)


_heartbeat = _Heartbeat()


@contextmanager
def hold(fence: Fence, asked_at: float) -> Iterator[HeldLease]:
    """Keep a claimed operation's lease alive during the block."""
    global _heartbeat
    if _heartbeat._pid != os.getpid():
        _heartbeat = _Heartbeat()  # a forked child has no thread of its own yet
    # Inside somebody's transaction no other connection sees the row, so nobody can take it over and no thread can renew.
    endless = connection.in_atomic_block
    lease = HeldLease(fence.operation.pk, fence.token, asked_at, endless=endless)
    if endless:
        yield lease
        return
    _heartbeat.add(lease)
    try:
        yield lease
    finally:
        _heartbeat.remove(lease)
