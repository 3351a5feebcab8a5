"""The only writer of operation, step, attempt and event rows.

Every write by the worker that drives an operation goes through `Fence.commit`, which keeps the one invariant that all
promises rest on: *a row changes only in a transaction whose first statement has checked, and locked, that this worker still
holds the lease and has seen everything that others asked for.* Everything else here takes part in such a transaction, or in
the caller's transaction that opens an operation.
"""

from __future__ import annotations

import logging
import time
import traceback as traceback_module
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Case, F, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from . import clock, faults
from .conf import settings
from .exceptions import BackendError, LeaseLost, OperationConflict
from .ids import uuid7
from .models import Attempt, Claim, Event, Operation, Step
from .plan import Node, OperationPlan, storable_text
from .redaction import redact
from .references import resolve_model
from .statements import Statement, insert, run_together, update
from .states import OPEN_OPERATION_STATES, OperationState, StepPhase, StepState, can_move, can_move_step

__all__ = ["Fence", "add_event", "claim_resources", "new_operation", "open_operations", "record_attempt"]

logger = logging.getLogger("django_executors")

Write = Callable[[], "dict[str, Any] | None"]
"""Writes inside of a commit; may return columns of the operation that are known only now."""

_NEXT_VERSION = F("version") + 1
_NEXT_ATTEMPT = F("attempts") + 1
_DATABASE_TRIES = 6
_CLAIM_TRIES = 3
_ROWS_PER_INSERT = 500


class SignalsChanged(Exception):
    """Somebody asked for attention (cancel, pause, wake) since the row was read; the row was read again."""


class _Written:
    """What one try of a commit has written: late columns, statements for its end, and what steps were in memory before."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.late: dict[str, Any] = {}
        self.before: list[tuple[Step, dict[str, Any]]] = []

    def forget(self) -> None:
        """Put the rows in memory back: the transaction was rolled back, so what it wrote has not happened."""
        for step, values in reversed(self.before):
            step.__dict__.update(values)


_current: ContextVar[_Written | None] = ContextVar("django_executors_commit", default=None)


def write_later(statement: Statement) -> None:
    """Run a statement of the journal at the end of the running commit, with all others in one round trip; else now.

    For what nothing in the same commit reads back.
    """
    written = _current.get()
    if written is None:
        statement.run()
    else:
        written.statements.append(statement)


class Fence:
    """The right of one worker to write one operation, and the last version of the row it knows.

    ``operation`` is refreshed whenever the fence finds that others raised ``signals``.
    """

    def __init__(self, operation: Operation, owner: str, token: int) -> None:
        self.operation = operation
        self.owner = owner
        self.token = token

    def commit(self, write: Write | None = None, **changes: Any) -> None:
        """Write in one transaction: first the guarded UPDATE of the operation, then ``write()``.

        Columns that ``write()`` returns are set in the same transaction.

        Deadlocks and broken connections are tried again. When the answer to a COMMIT was lost, the row's version tells
        whether it had been applied, so nothing is written twice.

        Raises:
            LeaseLost: Another worker owns the operation now; nothing was written.
            SignalsChanged: Nothing was written; ``operation`` was refreshed and the caller decides again.
        """
        operation = self.operation
        self._check_move(changes)
        nested = connection.in_atomic_block
        for attempt in range(_DATABASE_TRIES):
            written = _Written()
            try:
                self._try(write, changes, written)
            except (OperationalError, InterfaceError):
                if nested or attempt == _DATABASE_TRIES - 1:
                    written.forget()
                    raise
                logger.warning(
                    "operation %s: the database failed, trying the commit again", operation.pk, exc_info=True
                )
                time.sleep(min(2.0, 0.05 * 2**attempt))
                connection.close_if_unusable_or_obsolete()
                if self._was_applied():
                    break
                written.forget()
            except BaseException:
                written.forget()
                raise
            else:
                break
        operation.version += 1
        for name, value in {**changes, **written.late}.items():
            if not hasattr(value, "resolve_expression"):
                setattr(operation, name, value)

    def _try(self, write: Write | None, changes: dict[str, Any], written: _Written) -> None:
        faults.reach("before commit")
        token = _current.set(written)
        try:
            with transaction.atomic():
                self._guarded_update(changes)
                written.late = (write() if write is not None else None) or {}
                if written.late:
                    self._check_move(written.late)
                    write_later(update(Operation, {"id": self.operation.pk}, written.late))
                run_together(written.statements)
                faults.reach("inside commit")
        finally:
            _current.reset(token)
        faults.reach("after commit")

    def _check_move(self, changes: dict[str, Any]) -> None:
        old, new = self.operation.state, changes.get("state", self.operation.state)
        if new != old and not can_move(old, new):
            raise AssertionError(f"an operation cannot move from {old} to {new}")

    def _guarded_update(self, changes: dict[str, Any]) -> None:
        operation = self.operation
        mine = {
            "id": operation.pk,
            "lease_owner": self.owner,
            "lease_token": self.token,
            "version": operation.version,
            "signals": operation.signals,
        }
        if update(Operation, mine, {"version": _NEXT_VERSION, **changes}).run():
            return
        found = Operation.objects.filter(pk=operation.pk).first()
        if (
            found is None
            or (found.lease_owner, found.lease_token) != (self.owner, self.token)
            or found.version != operation.version
        ):
            raise LeaseLost(f"operation {operation.pk} is no longer held by {self.owner}")
        self.operation.__dict__.update({k: v for k, v in found.__dict__.items() if k != "_state"})
        raise SignalsChanged

    def _was_applied(self) -> bool:
        for attempt in range(_DATABASE_TRIES):
            try:
                return Operation.objects.filter(
                    pk=self.operation.pk, lease_token=self.token, version=self.operation.version + 1
                ).exists()
            except (OperationalError, InterfaceError):
                if attempt == _DATABASE_TRIES - 1:
                    raise
                time.sleep(min(2.0, 0.05 * 2**attempt))
                connection.close_if_unusable_or_obsolete()
        return False


def lease_values() -> dict[str, Any]:
    """Columns that renew a lease."""
    end = clock.from_now(settings.LEASE_SECONDS)
    return {"due_at": end, "nudge_at": end, "nudges": 0}


def release_values(after: float | None) -> dict[str, Any]:
    """Columns that give a lease back and set the timer: seconds from now, or None to sleep until somebody wakes it."""
    due = None if after is None else clock.from_now(after)
    return {"lease_owner": "", "due_at": due, "nudge_at": due, "nudges": 0}


# -- opening ----------------------------------------------------------------------------------------------------------


def claim_resources(claims: Mapping[str, uuid.UUID], *, from_root: uuid.UUID | None = None) -> None:
    """Hold resources for operations, all or none; inside the caller's transaction.

    Args:
        claims: Each reference with the outermost operation that will hold it. They are taken in the same order everywhere, so
            that two callers cannot deadlock.
        from_root: An operation whose claims may be taken over: the one in whose step the caller runs.

    Raises:
        OperationConflict: One of them is held by another operation, which is named.
    """
    if not claims:
        return
    try:
        with transaction.atomic():
            Claim.objects.bulk_create([Claim(resource=ref, operation_id=claims[ref]) for ref in sorted(claims)])
    except IntegrityError:
        # At least one is held: one by one, to name it, or to take it over.
        for reference in sorted(claims):
            _claim_one(reference, claims[reference], from_root)


def _claim_one(reference: str, operation_id: uuid.UUID, from_root: uuid.UUID | None) -> None:
    for _ in range(_CLAIM_TRIES):
        if _claim(reference, operation_id, from_root):
            return
    raise OperationConflict(reference, None, title="it changes hands right now")


def _claim(reference: str, operation_id: uuid.UUID, from_root: uuid.UUID | None) -> bool:
    """Hold one resource; False when it was released between two statements, so that one more try decides."""
    try:
        with transaction.atomic():
            Claim.objects.bulk_create([Claim(resource=reference, operation_id=operation_id)])
    except IntegrityError:
        holder = Claim.objects.filter(resource=reference).first()
        if holder is None:
            return False
        if holder.operation_id == operation_id:
            return True
        if from_root is not None and holder.operation_id == from_root:
            Claim.objects.filter(resource=reference).update(operation_id=operation_id)
            return True
        other = Operation.objects.filter(pk=holder.operation_id).first()
        raise OperationConflict(
            reference, holder.operation_id, title=f"{other}, {other.state}" if other else ""
        ) from None
    return True


def new_operation(
    plan: OperationPlan,
    *,
    operation_id: uuid.UUID | None = None,
    queue: str,
    priority: int | None = None,
    is_heavy: bool = False,
    countdown: float | None = 0.0,
    parent: Operation | None = None,
    parent_step: Step | None = None,
    branch: int = 0,
    input: dict[str, Any] | None = None,  # noqa: A002 - the column's name
    state_before: Any = None,
    label: str = "",
    actor: str = "",
    idempotency_key: str | None = None,
    trace_context: dict[str, Any] | None = None,
) -> Operation:
    """Make an operation, in memory; `open_operations` writes it.

    Args:
        countdown: Seconds until the first step may run; None: not before somebody wakes it.
    """
    pk = operation_id or uuid7()
    content_type = None
    resource_pk = ""
    if plan["resource"]:
        model, resource_pk = resolve_model(plan["resource"])
        content_type = ContentType.objects.get_for_model(model, for_concrete_model=False)
    # One that is woken by its opener's end looks by itself too, should that wake be lost, or the end have been before.
    wait = settings.WAIT_FLOOR_SECONDS if countdown is None else countdown
    due, nudge = clock.from_now(wait), clock.from_now(wait + settings.NUDGE_GRACE_SECONDS)
    follows_parent = parent is not None and parent_step is None
    return Operation(
        id=pk,
        executor=plan["executor"],
        title=plan["title"][:255],
        resource_type=content_type,
        resource_pk=resource_pk,
        resource_label=label[:255],
        resource_state_before=state_before,
        parent=parent,
        parent_step=parent_step,
        branch=branch,
        input=input,
        root_id=parent.root_id if parent is not None and not follows_parent else pk,
        queue=queue,
        priority=priority,
        is_heavy=is_heavy,
        due_at=due,
        nudge_at=nudge,
        wait_kind="operation" if countdown is None else ("countdown" if countdown else ""),
        wait_reason="waiting for the operation that opened it to end" if countdown is None else "",
        on_failure=plan["on_failure"],
        actor=actor or (parent.actor if parent is not None else ""),
        idempotency_key=idempotency_key,
        trace_context=trace_context or (parent.trace_context if parent is not None else {}),
        created_at=clock.now(),
    )


def open_operations(operations: Sequence[Operation], plans: Sequence[OperationPlan]) -> None:
    """Write operations with their steps, in the caller's transaction. Claims and messages are the caller's business."""
    Operation.objects.bulk_create(operations, batch_size=_ROWS_PER_INSERT)
    steps: list[Step] = []
    for operation, plan in zip(operations, plans, strict=True):
        steps += _steps_of(operation, plan)
    Step.objects.bulk_create(steps, batch_size=_ROWS_PER_INSERT)
    opened = [
        Event(operation_id=each.pk, kind="operation.opened", at=clock.now(), actor=each.actor) for each in operations
    ]
    Event.objects.bulk_create(opened, batch_size=_ROWS_PER_INSERT)
    for operation in operations:
        for name in ("created_at", "due_at", "nudge_at"):
            # The database's clock has set them; read when somebody asks.
            del operation.__dict__[name]


def _steps_of(operation: Operation, plan: OperationPlan) -> list[Step]:
    steps: list[Step] = []
    phases = (
        (StepPhase.MAIN, plan["main"]),
        (StepPhase.SUCCESS, plan["success"]),
        (StepPhase.FAILURE, plan["failure"]),
    )
    for phase, nodes in phases:
        for node in nodes:
            steps.append(_step(operation, len(steps), phase, node))
    return steps


def _step(operation: Operation, position: int, phase: StepPhase, node: Node) -> Step:
    step = Step(operation_id=operation.pk, position=position, phase=phase, kind=node["kind"])
    if node["kind"] == "parallel":
        step.plan = node["branches"]
    elif node["kind"] == "operation":
        step.plan = node["operation"]
    else:
        step.task = node["task"]
        step.args, step.kwargs, step.options = node["args"], node["kwargs"], node["options"]
        step.takes_result, step.compensate = node["takes_result"], node.get("compensate")
    return step


def append_steps(operation: Operation, phase: StepPhase, nodes: Sequence[Node]) -> list[Step]:
    """Add steps behind the stored ones; used for undoing, which is known only after a failure."""
    last = Step.objects.filter(operation=operation).order_by("-position").values_list("position", flat=True).first()
    first = 0 if last is None else last + 1
    steps = [_step(operation, first + offset, phase, node) for offset, node in enumerate(nodes)]
    return Step.objects.bulk_create(steps)


# -- steps ------------------------------------------------------------------------------------------------------------


def update_step(step: Step, **changes: Any) -> None:
    """Change a step's row and the copy in memory."""
    if "state" in changes and step.state != changes["state"] and not can_move_step(step.state, changes["state"]):
        raise AssertionError(f"a step cannot move from {step.state} to {changes['state']}")
    write_later(update(Step, {"id": step.pk}, changes))
    written = _current.get()
    if written is not None:
        written.before.append((step, {name: step.__dict__.get(name) for name in changes}))
    for name, value in changes.items():
        if not hasattr(value, "resolve_expression"):
            setattr(step, name, value)


def start_attempt(step: Step, number: int, **changes: Any) -> None:
    """Mark that the n-th attempt starts now."""
    values: dict[str, Any] = {"attempted_at": clock.now(), **changes}
    if step.started_at is None and number == 1:
        values["started_at"] = clock.now()
    update_step(step, state=StepState.RUNNING, attempts=number, **values)


@lru_cache(maxsize=500)  # always the same object, as `clock.from_now` is
def first_start(now: Combinable) -> Coalesce:
    """Return an expression for when something started: as it stands, else ``now``."""
    return Coalesce(F("started_at"), now)


def finish_rows(steps: Sequence[Step]) -> None:
    """Mark that row-only steps that follow each other ended; one statement if none has a result."""
    now = clock.now()
    values: dict[str, Any] = {
        "state": StepState.SUCCEEDED,
        "attempts": _NEXT_ATTEMPT,
        "began": True,
        "started_at": first_start(now),
        "finished_at": now,
        "error": "",
    }
    first, last = steps[0], steps[-1]
    if all(step.result is None for step in steps):
        here = {"operation": first.operation_id, "position__gte": first.position, "position__lte": last.position}
        write_later(update(Step, here, {"result": None, **values}))
        return
    for step in steps:
        write_later(update(Step, {"id": step.pk}, {"result": step.result, **values}))


def finish_step(step: Step, state: StepState, *, result: Any = None, error: str = "", **changes: Any) -> None:
    """Mark that a step ended."""
    if step.attempts == 0 and step.started_at is None:
        changes.setdefault("started_at", clock.now())
    update_step(step, state=state, result=result, error=error, finished_at=clock.now(), **changes)


def record_attempt(
    step: Step, outcome: str, *, worker: str = "", error: BaseException | None = None, text: str = ""
) -> None:
    """Keep an attempt that did not succeed, with its error."""
    Attempt.objects.bulk_create(
        [
            Attempt(
                step=step,
                number=step.attempts,
                started_at=Step.objects.filter(pk=step.pk).values_list("attempted_at", flat=True).first(),
                finished_at=clock.now(),
                worker=worker,
                outcome=outcome,
                error_class=type(error).__name__ if error is not None else "",
                error=error_text(error) if error is not None else text,
                traceback=error_traceback(error) if error is not None else "",
            )
        ]
    )


def error_text(error: BaseException) -> str:
    """Return an error's text for people, without secrets, never empty."""
    text = str(error).strip()
    if not text:
        text = type(error).__name__
    elif not isinstance(error, BackendError):
        text = f"{type(error).__name__}: {text}"
    return storable_text(redact(text[:8000]))[:4000]


def error_traceback(error: BaseException) -> str:
    """Return the traceback for operators, without secrets; the end of it where it is very long."""
    return storable_text(redact("".join(traceback_module.format_exception(error))[-40000:]))[-20000:]


def add_event(operation: Operation, kind: str, text: str = "", *, actor: str = "", **data: Any) -> None:
    """Append to the audit."""
    values = {"operation": operation.pk, "kind": kind, "at": clock.now(), "actor": actor, "text": text, "data": data}
    write_later(insert(Event, values))


# -- waking from outside ----------------------------------------------------------------------------------------------


def wake(operation_id: uuid.UUID, **changes: Any) -> bool:
    """Ask an open operation's attention; in any transaction, by anybody.

    A waiting operation becomes due at once. One that a worker holds finds the raised ``signals`` at its next commit.

    Returns:
        Whether the operation was still open.
    """
    now = clock.now()
    idle = When(lease_owner="", then=now)
    return bool(
        Operation.objects.filter(pk=operation_id, state__in=OPEN_OPERATION_STATES)
        .exclude(state=OperationState.PAUSED)
        .update(
            signals=F("signals") + 1,
            due_at=Case(idle, default=F("due_at")),
            nudge_at=Case(idle, default=F("nudge_at")),
            nudges=0,
            **changes,
        )
    )
