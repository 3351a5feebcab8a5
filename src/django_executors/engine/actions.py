"""What people may do to an operation: cancel, pause, unpause, resume, retry, skip, wake. Each one is an event with its actor.

Every action is one guarded UPDATE that also raises ``signals``; the worker that drives the operation sees it at its next
commit. An action on an operation in a state that does not allow it raises `CommandNotAllowed` and changes nothing.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Value, When

from .. import clock, journal, registry
from ..exceptions import CommandNotAllowed, TransitionNotAllowed
from ..models import Operation, Step
from ..models.resource import clear_error
from ..nudges import nudge_on_commit, wake_and_nudge
from ..plan import nested_operations
from ..references import deserialize
from ..states import OperationState, StepPhase, StepState, WaitKind, can_move, is_erred, is_transitional

__all__ = ["cancel", "pause", "request_cancel", "resume", "retry_from", "skip", "unpause", "wake"]

_PAUSABLE = (OperationState.SCHEDULED, OperationState.RUNNING, OperationState.WAITING)
_CANCELLABLE = (*_PAUSABLE, OperationState.PAUSED)
_RESUMABLE = (OperationState.FAILED, OperationState.CANCELLED, OperationState.QUARANTINED)


def _locked(operation: Operation | uuid.UUID | str) -> Operation:
    """Load an operation inside a transaction whose first statement has locked it."""
    pk = operation.pk if isinstance(operation, Operation) else operation
    if not Operation.objects.filter(pk=pk).update(signals=F("signals") + 1):
        raise LookupError(f"there is no operation {pk}")
    return Operation.objects.get(pk=pk)


def _require(operation: Operation, command: str, allowed: tuple[OperationState, ...], reason: str = "") -> None:
    if operation.state not in allowed:
        raise CommandNotAllowed(command, operation.state, tuple(str(state) for state in allowed), reason)


def _due_now_when_idle() -> dict[str, Any]:
    now = clock.now()
    return {
        "due_at": Case(When(lease_owner="", then=now), default=F("due_at")),
        "nudge_at": Case(When(lease_owner="", then=now), default=F("nudge_at")),
        "nudges": 0,
    }


def cancel(operation: Operation | uuid.UUID | str, *, actor: str = "", reason: str = "") -> Operation:
    """Cancel at the next safe point; waits are cut short, and so are the operation's parts.

    An operation that already is cancelling stays so. One that never began leaves its resource as it was before.

    Raises:
        CommandNotAllowed: The operation has ended, or is undoing its steps.
    """
    with transaction.atomic():
        row = _locked(operation)
        if row.state != OperationState.CANCELLING:
            _require(row, "cancel", _CANCELLABLE)
            request_cancel(row, actor=actor, reason=reason)
    return Operation.objects.get(pk=row.pk)


def request_cancel(operation: Operation, *, actor: str, reason: str) -> None:
    """Mark an operation as cancelling if it still can be; inside or outside a transaction."""
    with transaction.atomic():
        rows = Operation.objects.filter(pk=operation.pk, state__in=_CANCELLABLE).update(
            state=OperationState.CANCELLING,
            cancel_requested=True,
            pause_requested=False,
            signals=F("signals") + 1,
            **_due_now_when_idle(),
        )
        if rows:
            journal.add_event(operation, "command.cancel", reason, actor=actor)
            row = Operation.objects.get(pk=operation.pk)
            if not row.lease_owner:
                nudge_on_commit(row)


def pause(operation: Operation | uuid.UUID | str, *, actor: str = "", reason: str = "") -> Operation:
    """Pause: at once when it waits, at the next step boundary when it runs.

    Raises:
        CommandNotAllowed: It is not queued, running or waiting.
    """
    with transaction.atomic():
        row = _locked(operation)
        if row.state == OperationState.PAUSED:
            return row
        _require(row, "pause", _PAUSABLE)
        journal.add_event(row, "command.pause", reason, actor=actor)
        if row.lease_owner:
            Operation.objects.filter(pk=row.pk).update(pause_requested=True)
        else:
            Operation.objects.filter(pk=row.pk).update(
                state=OperationState.PAUSED, due_at=None, nudge_at=None, wait_kind=WaitKind.PAUSED, wait_reason=reason
            )
    return Operation.objects.get(pk=row.pk)


def unpause(operation: Operation | uuid.UUID | str, *, actor: str = "", reason: str = "") -> Operation:
    """Let a paused operation go on; takes back a pause that has not taken effect yet.

    Raises:
        CommandNotAllowed: It is not paused.
    """
    with transaction.atomic():
        row = _locked(operation)
        if row.pause_requested:
            Operation.objects.filter(pk=row.pk).update(pause_requested=False)
        else:
            _require(row, "unpause", (OperationState.PAUSED,))
            state = OperationState.WAITING if row.started_at else OperationState.SCHEDULED
            Operation.objects.filter(pk=row.pk).update(
                state=state, wait_kind="", wait_reason="", **_due_now_when_idle()
            )
            nudge_on_commit(row)
        journal.add_event(row, "command.unpause", reason, actor=actor)
    return Operation.objects.get(pk=row.pk)


def wake(operation: Operation | uuid.UUID | str) -> None:
    """End a wait now: the step looks again at once. Harmless at any time."""
    wake_and_nudge(operation.pk if isinstance(operation, Operation) else uuid.UUID(str(operation)))


def resume(operation: Operation | uuid.UUID | str, *, actor: str = "", reason: str = "") -> Operation:
    """Go on from the step that failed, with the results of the steps before it.

    Raises:
        CommandNotAllowed: It is open, succeeded, undone, or part of another operation (resume that one).
        OperationConflict: Its resource is held by another operation by now.
    """
    return _restart(operation, "resume", None, actor=actor, reason=reason)


def retry_from(
    operation: Operation | uuid.UUID | str, position: int, *, actor: str = "", reason: str = ""
) -> Operation:
    """Go on from a chosen step: it and the tasks behind it run again, each with its old idempotency key.

    Parallel branches and nested operations that succeeded are not run again: they are operations of their own, and their
    results are kept.

    Raises:
        CommandNotAllowed: As `resume`, or the step lies behind the one that failed.
    """
    return _restart(operation, "retry", position, actor=actor, reason=reason)


def skip(operation: Operation | uuid.UUID | str, *, reason: str, actor: str = "") -> Operation:
    """Leave out the step that failed, and go on behind it. Its result is None to a step that takes one.

    Args:
        reason: Why the step is not needed; kept in the audit, required.
    """
    if not reason.strip():
        raise ValueError("skipping a step needs a reason: say why the operation is right without it")
    return _restart(operation, "skip", None, actor=actor, reason=reason)


def _restart(
    operation: Operation | uuid.UUID | str, command: str, position: int | None, *, actor: str, reason: str
) -> Operation:
    with transaction.atomic():
        row = _locked(operation)
        _require(row, command, _RESUMABLE)
        if not row.is_root:
            raise CommandNotAllowed(
                command, row.state, (), f"it is part of operation {row.root_id}: {command} that one"
            )
        references = [_reference(row)] if _exclusive(row) else []
        nested = nested_operations(
            [{"kind": "operation", "operation": s.plan} for s in row.steps.filter(kind=Step.Kind.OPERATION) if s.plan]
            + [{"kind": "parallel", "branches": s.plan} for s in row.steps.filter(kind=Step.Kind.PARALLEL) if s.plan]
        )
        references += [each["resource"] for each in nested if each["exclusive"]]
        journal.claim_resources({ref: row.pk for ref in references if ref})
        reopen(row, actor=actor, reason=reason, command=command, position=position)
        nudge_on_commit(row)
    return Operation.objects.get(pk=row.pk)


def _reference(operation: Operation) -> str:
    if operation.resource_type is None:
        return ""
    model = operation.resource_type.model_class()
    return f"{model._meta.label_lower}:{operation.resource_pk}" if model is not None else ""


def _exclusive(operation: Operation) -> bool:
    return bool(getattr(registry.find_executor(operation.executor), "exclusive", True))


def reopen(
    operation: Operation, *, actor: str, reason: str, command: str = "resume", position: int | None = None
) -> None:
    """Make an ended operation open again at a step; inside the caller's transaction, claims are the caller's business."""
    if not can_move(operation.state, OperationState.WAITING):
        raise CommandNotAllowed(command, operation.state, tuple(str(state) for state in _RESUMABLE))
    steps = list(operation.steps.filter(phase__in=(StepPhase.MAIN, StepPhase.SUCCESS)).order_by("position"))
    unfinished = next((s for s in steps if s.state not in (StepState.SUCCEEDED, StepState.SKIPPED)), None)
    if unfinished is None and position is None:
        position = steps[-1].position if steps else 0
    first = position if position is not None else (unfinished.position if unfinished else 0)
    if steps and (first > (unfinished.position if unfinished else steps[-1].position) or first < steps[0].position):
        raise CommandNotAllowed(command, operation.state, (), f"step {first} lies behind the step that failed")
    chosen = next((s for s in steps if s.position == first), None)
    for step in steps:
        if step.position >= first and step.state != StepState.PENDING:
            if step.state in (StepState.RUNNING, StepState.UNCERTAIN):
                # The mark stays: the next attempt has to look for what this one did.
                journal.update_step(step, state=StepState.UNCERTAIN, retries=0)
            else:
                journal.update_step(
                    step, state=StepState.PENDING, retries=0, polls=0, error="", finished_at=None, started_at=None
                )
    if command == "skip" and chosen is not None:
        journal.finish_step(chosen, StepState.SKIPPED, error=f"skipped: {reason}")
    operation.steps.filter(phase=StepPhase.FAILURE).update(
        state=StepState.PENDING, attempts=0, retries=0, error="", began=False, finished_at=None
    )
    operation.steps.filter(phase=StepPhase.COMPENSATION).delete()
    _put_back_state(operation)
    _put_back_settled(operation)
    journal.add_event(operation, f"command.{command}", reason, actor=actor, position=first)
    now = clock.now()
    Operation.objects.filter(pk=operation.pk).update(
        state=OperationState.WAITING,
        phase=chosen.phase if chosen is not None else StepPhase.MAIN,
        position=first,
        takeovers=0,
        cancel_requested=False,
        pause_requested=False,
        error="",
        error_traceback="",
        settled={},
        finished_at=None,
        due_at=now,
        nudge_at=now,
        nudges=0,
        wait_kind="",
        wait_reason="",
        signals=F("signals") + 1,
        version=F("version") + 1,
        lease_owner=Value(""),
    )


def _put_back_settled(operation: Operation) -> None:
    """Give the resources of nested operations that were never reached their state back, so that they can be reached."""
    for reference, state in operation.settled.items():
        resource = deserialize(reference)
        if is_erred(resource.state):
            fields = clear_error(resource)
            values = {name: getattr(resource, name) for name in fields}
            type(resource)._base_manager.filter(pk=resource.pk, state=resource.state).update(state=state, **values)


def _put_back_state(operation: Operation) -> None:
    """Give the resource the state that the failing step saw, so that the rest of the plan applies to it."""
    wanted = operation.resource_state_at_failure
    if not operation.executor or not is_transitional(wanted):
        return
    resource = operation.resource
    if resource is None:
        raise CommandNotAllowed("resume", operation.state, (), "its resource is no longer in the database")
    model = type(resource)
    found = resource.state
    rows = model._base_manager.filter(pk=resource.pk, state=found).update(state=wanted)
    if not rows or (is_transitional(found) and found != wanted):
        raise TransitionNotAllowed(str(resource), found, f"resume to {wanted}")
