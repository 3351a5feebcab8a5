"""Opens operations in the caller's transaction, and runs one here and now when asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction

from .. import clock, journal, routing
from ..context import current_step
from ..exceptions import OperationConflict
from ..ids import uuid7
from ..models import Operation
from ..nudges import nudge_on_commit
from ..plan import OperationPlan, nested_operations
from ..states import OPEN_OPERATION_STATES, OperationState
from .drive import drive

__all__ = ["open_in_transaction", "run_here"]


def open_in_transaction(
    *,
    reference: str,
    label: str,
    exclusive: bool,
    plan: OperationPlan,
    pre_apply: Callable[[], None],
    state_before: Any = None,
    is_async: bool = True,
    countdown: float = 0.0,
    is_heavy: bool = False,
    priority: int | None = None,
    actor: str = "",
    idempotency_key: str | None = None,
    trace_context: dict[str, Any] | None = None,
) -> Operation:
    """Claim the resources, move the resource to its scheduled state, and write the operation; all or nothing.

    Args:
        pre_apply: Moves the resource. Called when all resources are held, inside the transaction; whatever it raises leaves
            nothing behind.

    Returns:
        The operation. With the same idempotency key, the one that was opened first.

    Raises:
        OperationConflict: Another operation holds one of the resources.
    """

    def known() -> Operation | None:
        return (
            Operation.objects.filter(idempotency_key=idempotency_key).first() if idempotency_key is not None else None
        )

    pk = uuid7()
    step = current_step()
    try:
        with transaction.atomic():
            opened_before = known()
            if opened_before is not None:
                return opened_before
            nested = nested_operations(plan["main"] + plan["success"])
            references = {each["resource"] for each in nested if each["exclusive"]}
            if exclusive:
                references.add(reference)
            # All in one go and in order: two operations that want the same resources cannot wait for each other.
            journal.claim_resources(references, pk, from_root=step.root_id)
            pre_apply()
            # Opened inside a step: it follows the operation it was opened in, whose claims it has just taken over.
            opener = Operation.objects.filter(pk=step.operation_id).first() if step.operation_id else None
            operation = journal.open_operation(
                plan,
                operation_id=pk,
                queue=routing.queue_for(None, {}, is_heavy=is_heavy),
                priority=priority,
                is_heavy=is_heavy,
                countdown=None if opener is not None else countdown,
                parent=opener,
                state_before=state_before,
                label=label,
                actor=actor,
                idempotency_key=idempotency_key,
                trace_context=trace_context,
            )
            if is_async and opener is None and not countdown:
                nudge_on_commit(operation)
    except (IntegrityError, OperationConflict):
        # Somebody with the same key was faster, and we ran into what it had written.
        opened_before = known()
        if opened_before is None:
            raise
        return opened_before
    return operation


def run_here(operation: Operation) -> Operation:
    """Drive an operation and its parts in this thread until it ends, sleeping through its waits. No broker is needed.

    The journal is kept as always: should this process die, any worker goes on.

    Returns:
        The operation as it ended; look at ``state`` and ``error``. A paused one is returned paused.
    """
    tree = Operation.objects.filter(root_id=operation.root_id, state__in=OPEN_OPERATION_STATES)
    while True:
        due = list(tree.filter(due_at__lte=clock.now()).order_by("due_at").values_list("pk", flat=True))
        for pk in due:
            drive(pk)
        row = Operation.objects.get(pk=operation.pk)
        if not row.is_open:
            for follower in row.children.filter(parent_step=None, state__in=OPEN_OPERATION_STATES):
                run_here(follower)
            return row
        if row.state == OperationState.PAUSED:
            return row
        if not due:
            _sleep_until_due(tree)


def _sleep_until_due(tree: Any) -> None:
    next_due = tree.exclude(due_at=None).order_by("due_at").values_list("due_at", flat=True).first()
    seconds = 0.2 if next_due is None else (next_due - clock.read()).total_seconds()
    time.sleep(min(max(seconds, 0.005), 1.0))
