"""Takes and gives back slots: how many resources of one kind a backend creates at the same time.

Invariant: under one key never more slots are held than the limit, and they are given in the order of arrival. Every change
of slots happens in a transaction that first updates the throttle's row, which is the lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import transaction
from django.db.models import F

from . import clock
from .models import Operation, Slot, Throttle
from .nudges import wake_and_nudge
from .statements import Statement, select_column

__all__ = ["acquire", "release_operation", "release_resource", "select_keys"]


def ensure(key: str) -> None:
    """Make sure that the throttle's row exists; in a statement of its own, so that two first-comers do not collide."""
    if not Throttle.objects.filter(key=key).exists():
        Throttle.objects.bulk_create([Throttle(key=key)], ignore_conflicts=True)


def acquire(key: str, resource: str, operation: Operation, *, limit: int) -> bool:
    """Take a slot, or join the line for one. Call it inside a transaction.

    Args:
        key: What is protected, for example ``"openstack:7/app.volume"``.
        resource: Reference of the resource that is about to be created; it has at most one slot under a key.
        operation: Who asks; the slot goes at the latest when it ends.
        limit: How many may be held at once, 1 or more; a limit set on the throttle's row by a person wins.

    Returns:
        True when the slot is held; False when the caller has to wait. A waiter is woken when its turn comes.

    Raises:
        ValueError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ValueError(f"the limit of throttle {key!r} must be at least 1, not {limit}")
    Throttle.objects.filter(key=key).update(turn=F("turn") + 1)
    throttle = Throttle.objects.get(key=key)
    slot, _ = Slot.objects.get_or_create(
        throttle=throttle,
        resource=resource,
        defaults={"operation": operation, "limit": limit, "since": clock.now()},
    )
    if slot.operation_id != operation.pk:
        Slot.objects.filter(pk=slot.pk).update(operation=operation)
    if slot.held:
        return True
    _serve(throttle)
    slot.refresh_from_db(fields=["held"])
    return slot.held


def release_resource(resource: str) -> None:
    """Give back whatever slots a resource has and hand them to the next in line; inside the caller's transaction."""
    _release(Slot.objects.filter(resource=resource).values_list("throttle_id", flat=True), resource=resource)


def select_keys(operation_id: uuid.UUID) -> Statement:
    """Return the query for the keys under which an operation has slots or places in line."""
    return select_column(Slot, "throttle", {"operation": operation_id})


def release_operation(operation_id: uuid.UUID, keys: Iterable[str]) -> None:
    """Give back an operation's slots and its places in line under these keys; inside the transaction that ends it."""
    _release(keys, operation_id=operation_id)


def _release(keys: Iterable[str], **condition: object) -> None:
    for key in sorted(set(keys)):
        Throttle.objects.filter(key=key).update(turn=F("turn") + 1)
        Slot.objects.filter(throttle_id=key, **condition).delete()
        _serve(Throttle.objects.get(key=key))


def _serve(throttle: Throttle) -> None:
    """Give free slots to the first in line. The caller holds the throttle's row."""
    held = Slot.objects.filter(throttle=throttle, held=True).count()
    for slot in Slot.objects.filter(throttle=throttle, held=False).order_by("id"):
        if held >= (throttle.limit or slot.limit):
            return
        Slot.objects.filter(pk=slot.pk).update(held=True, since=clock.now())
        held += 1
        _wake_after_commit(slot.operation_id)


def _wake_after_commit(operation_id: uuid.UUID) -> None:
    # Not in this transaction: it holds the throttle's row, and the waiter's row may be locked by somebody who waits for the
    # throttle. Should the process die before it, the waiter's own timer finds the slot.
    transaction.on_commit(lambda: wake_and_nudge(operation_id))
