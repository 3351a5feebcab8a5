"""Opens operations in the caller's transaction, and runs one here and now when asked to."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

__all__ = ["Opening", "open_in_transaction", "run_here"]


@dataclass(frozen=True)
class Opening:
    """What is to be opened on one resource.

    Attributes:
        reference: The resource.
        label: Its name, for people.
        exclusive: Whether the operation keeps others off it.
        plan: The steps.
        pre_apply: Moves the resource. Called when all resources are held, inside the transaction; whatever it raises leaves
            nothing behind.
        state_before: The state that it had before.
        idempotency_key: The same key gets the operation that was opened first.
    """

    reference: str
    label: str
    exclusive: bool
    plan: OperationPlan
    pre_apply: Callable[[], None]
    state_before: Any = None
    idempotency_key: str | None = None


def open_in_transaction(
    openings: Sequence[Opening],
    *,
    is_async: bool = True,
    countdown: float = 0.0,
    is_heavy: bool = False,
    priority: int | None = None,
    actor: str = "",
    trace_context: dict[str, Any] | None = None,
) -> list[Operation]:
    """Claim the resources, move them to their scheduled states, and write the operations; all or nothing.

    Returns:
        The operations, in the order of the openings. With a known idempotency key, the one that was opened first.

    Raises:
        OperationConflict: Another operation holds one of the resources.
    """
    known: dict[str | None, Operation] = {}
    while True:
        try:
            with transaction.atomic():
                known = _opened_before(openings)
                new = [each for each in openings if each.idempotency_key not in known]
                opened = _open(
                    new,
                    is_async=is_async,
                    countdown=countdown,
                    is_heavy=is_heavy,
                    priority=priority,
                    actor=actor,
                    trace_context=trace_context,
                )
        except (IntegrityError, OperationConflict):
            # Somebody with the same key was faster, and we ran into what it had written: then it is known by now.
            if len(_opened_before(openings)) == len(known):
                raise
        else:
            fresh = iter(opened)
            return [known[each.idempotency_key] if each.idempotency_key in known else next(fresh) for each in openings]


def _opened_before(openings: Sequence[Opening]) -> dict[str | None, Operation]:
    keys = [each.idempotency_key for each in openings if each.idempotency_key is not None]
    if not keys:
        return {}
    return {each.idempotency_key: each for each in Operation.objects.filter(idempotency_key__in=keys)}


def _open(
    openings: Sequence[Opening], *, is_async: bool, countdown: float, is_heavy: bool, **columns: Any
) -> list[Operation]:
    step = current_step()
    claims: dict[str, uuid.UUID] = {}
    ids = [uuid7() for _ in openings]
    for opening, pk in zip(openings, ids, strict=True):
        for reference in _references(opening):
            if reference in claims:
                raise OperationConflict(reference, claims[reference], title="another operation that is opened with it")
            claims[reference] = pk
    journal.claim_resources(claims, from_root=step.root_id)
    for opening in openings:
        opening.pre_apply()
    # Opened inside a step: it follows the operation it was opened in, whose claims it has just taken over.
    opener = Operation.objects.filter(pk=step.operation_id).first() if step.operation_id else None
    operations = [
        journal.new_operation(
            opening.plan,
            operation_id=pk,
            queue=routing.queue_for(None, {}, is_heavy=is_heavy),
            is_heavy=is_heavy,
            countdown=None if opener is not None else countdown,
            parent=opener,
            state_before=opening.state_before,
            label=opening.label,
            idempotency_key=opening.idempotency_key,
            **columns,
        )
        for opening, pk in zip(openings, ids, strict=True)
    ]
    journal.open_operations(operations, [opening.plan for opening in openings])
    if is_async and opener is None and not countdown:
        nudge_on_commit(*operations)
    return operations


def _references(opening: Opening) -> set[str]:
    """Return what an operation holds from its opening on: its resource, and those of the operations nested in its plan."""
    nested = nested_operations(opening.plan["main"] + opening.plan["success"])
    references = {each["resource"] for each in nested if each["exclusive"]}
    if opening.exclusive:
        references.add(opening.reference)
    return references


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
