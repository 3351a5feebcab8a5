"""Steps that consist of operations: parallel branches, and nested operations on resources of their own.

A part is an operation with a lease of its own, so any worker may drive it. The parent opens its parts in one commit, gives
its lease back, and is woken by each part's end; its own timer is the floor, should a wake be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import journal, registry, routing
from ..conf import settings
from ..exceptions import CommandNotAllowed, TransitionNotAllowed
from ..models import Operation, Step
from ..nudges import nudge_on_commit
from ..plan import OperationPlan
from ..references import deserialize
from ..states import OPEN_OPERATION_STATES, OperationState, StepState, WaitKind
from .actions import reopen, request_cancel

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["advance", "cancel_open"]


def advance(driver: Driver, step: Step) -> bool:
    """Open the parts of a step, wait for them, or go on with their results."""
    parts = list(Operation.objects.filter(parent_step=step).order_by("branch"))
    if step.state == StepState.PENDING:
        again = [part for part in parts if not part.is_open and part.state != OperationState.SUCCEEDED]
        if not parts and step.kind == Step.Kind.PARALLEL and not step.plan:
            return _done(driver, step, [])
        if again:
            return _reopen(driver, step, again)
        if not parts:
            return _open(driver, step)
    open_parts = [part for part in parts if part.is_open]
    if open_parts:
        return driver.rest(
            WaitKind.PARTS, f"{len(open_parts)} of {len(parts)} parts still open", settings.WAIT_FLOOR_SECONDS
        )
    bad = [part for part in parts if part.state != OperationState.SUCCEEDED]
    if bad:
        return driver.part_failed(
            step, "; ".join(f"{part}: {part.error or OperationState(part.state).label}" for part in bad[:5])
        )
    if step.kind == Step.Kind.OPERATION:
        return _done(driver, step, parts[0].result if parts else None)
    return _done(driver, step, [part.result for part in parts])


def _done(driver: Driver, step: Step, result: Any) -> bool:
    driver.persist(
        lambda: journal.finish_step(step, StepState.SUCCEEDED, result=result),
        **driver.behind(step),
        takeovers=0,
    )
    return True


def _open(driver: Driver, step: Step) -> bool:
    operation = driver.operation
    if step.kind == Step.Kind.OPERATION and step.plan is not None:
        nested: OperationPlan = step.plan
        executor = registry.find_executor(nested["executor"])
        if executor is None:
            return driver.rest(
                WaitKind.UNKNOWN_TASK,
                f"this code has no executor {nested['executor']!r}: deploy code that has it, or declare an alias",
                settings.UNKNOWN_TASK_SECONDS,
            )
    available, value = driver.previous_result(step)
    attempts = step.attempts + 1

    def write() -> None:
        if step.kind == Step.Kind.OPERATION and step.plan is not None:
            _open_nested(operation, step, step.plan)
        else:
            _open_branches(operation, step, {"value": value} if available else None)
        journal.update_step(step, state=StepState.WAITING, attempts=attempts)

    try:
        return driver.rest(WaitKind.PARTS, "its parts were opened", settings.WAIT_FLOOR_SECONDS, write)
    except (LookupError, ValueError) as error:
        return driver.step_failed(step, error)
    except Exception as error:
        # pre_apply of the nested executor refused, for example since the resource is in another state by now.
        if type(error).__module__.startswith("django.db") or type(error).__name__ in ("LeaseLost", "SignalsChanged"):
            raise
        return driver.step_failed(step, error)


def _open_branches(operation: Operation, step: Step, given: dict[str, Any] | None) -> None:
    plans = [_branch_plan(operation, number, branch) for number, branch in enumerate(step.plan or [])]
    parts = [
        journal.new_operation(
            plan,
            queue=operation.queue,
            priority=operation.priority,
            is_heavy=operation.is_heavy,
            parent=operation,
            parent_step=step,
            branch=number,
            input=given,
            label=operation.resource_label,
        )
        for number, plan in enumerate(plans)
    ]
    journal.open_operations(parts, plans)
    nudge_on_commit(*parts)


def _open_nested(operation: Operation, step: Step, nested: OperationPlan) -> None:
    executor = registry.find_executor(nested["executor"])
    resource = deserialize(nested["resource"])
    before = getattr(resource, "state", None)
    executor.pre_apply(resource, **executor.decode_arguments(nested["kwargs"]))
    part = journal.new_operation(
        nested,
        queue=routing.queue_for(None, {}, is_heavy=operation.is_heavy),
        priority=operation.priority,
        is_heavy=operation.is_heavy,
        parent=operation,
        parent_step=step,
        state_before=before,
        label=str(resource),
    )
    journal.open_operations([part], [nested])
    nudge_on_commit(part)


def _branch_plan(operation: Operation, number: int, branch: list[Any]) -> OperationPlan:
    reference = ""
    if operation.resource_type is not None:
        model = operation.resource_type.model_class()
        reference = f"{model._meta.label_lower}:{operation.resource_pk}" if model is not None else ""
    return {
        "executor": "",
        "title": f"branch {number + 1} of {operation.title}",
        "resource": reference,
        "kwargs": {},
        "on_failure": "",
        "exclusive": False,
        "main": branch,
        "success": [],
        "failure": [],
    }


def _reopen(driver: Driver, step: Step, parts: list[Operation]) -> bool:
    attempts = step.attempts + 1

    def write() -> None:
        for part in parts:
            reopen(part, actor=driver.operation.actor, reason="its parent was resumed")
        nudge_on_commit(*parts)
        journal.update_step(step, state=StepState.WAITING, attempts=attempts)

    try:
        return driver.rest(WaitKind.PARTS, "its failed parts were resumed", settings.WAIT_FLOOR_SECONDS, write)
    except (CommandNotAllowed, TransitionNotAllowed) as error:
        # One of them was undone, for example, or its resource is in another state by now.
        return driver.step_failed(step, error)


def cancel_open(driver: Driver, step: Step) -> bool:
    """Ask the open parts of a step to cancel, each in a transaction of its own; say whether any is still open."""
    parts = list(Operation.objects.filter(parent_step=step, state__in=OPEN_OPERATION_STATES))
    for part in parts:
        if not part.cancel_requested:
            request_cancel(part, actor=driver.operation.actor, reason="its parent was cancelled")
    return bool(parts)
