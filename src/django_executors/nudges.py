"""Messages that say "look at this operation". Losing one costs time, receiving one twice costs nothing."""

from __future__ import annotations

import logging
import uuid
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction

from . import journal
from .models import Operation

__all__ = ["nudge", "nudge_on_commit", "wake_and_nudge"]

logger = logging.getLogger("django_executors")

DRIVE_TASK = "django_executors.drive"


def nudge(
    operation_id: uuid.UUID,
    queue: str,
    *,
    priority: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
) -> bool:
    """Publish a message about an operation.

    Returns:
        Whether the broker took it. A broker that is down is no error here: the dispatcher sends another message later.
    """
    options: dict[str, Any] = {"priority": priority, "time_limit": time_limit, "soft_time_limit": soft_time_limit}
    try:
        publish(operation_id, queue, **{name: value for name, value in options.items() if value is not None})
    except Exception as exc:  # noqa: BLE001 - kombu and its transports raise what they like
        logger.warning("operation %s: no message could be sent (%s); it is found by its timer", operation_id, exc)
        return False
    return True


def publish(operation_id: uuid.UUID, queue: str, **options: Any) -> None:
    """Hand a message to Celery; tests put a broker of their own in its place."""
    current_app.send_task(
        DRIVE_TASK, args=(str(operation_id), queue), queue=queue, retry=False, ignore_result=True, **options
    )


def nudge_operation(operation: Operation) -> bool:
    """Publish a message about an operation, into the queue and with the limits that its row asks for."""
    return nudge(
        operation.pk,
        operation.queue,
        priority=operation.priority,
        time_limit=operation.time_limit,
        soft_time_limit=operation.soft_time_limit,
    )


def nudge_on_commit(*operations: Operation) -> None:
    """Publish a message about each once the current transaction is committed; nothing when it is rolled back."""
    transaction.on_commit(partial(_nudge_all, operations))


def _nudge_all(operations: tuple[Operation, ...]) -> None:
    for operation in operations:
        if not nudge_operation(operation):
            # Each further try would wait for the broker as long; the dispatcher finds them all.
            return


def wake_and_nudge(operation_id: uuid.UUID) -> None:
    """Make a waiting operation due now and publish a message about it; after a commit, in a transaction of its own."""
    if journal.wake(operation_id):
        operation = Operation.objects.filter(pk=operation_id).first()
        if operation is not None and not operation.lease_owner:
            nudge_operation(operation)
