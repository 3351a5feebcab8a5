"""How an operation ends: success, failure, undoing, cancellation, quarantine. The row tells the truth in the same commit.

Invariant: no commit that ends an operation leaves its resource, or one whose nested operation was never reached, in a state
that promises work ("creating", "update scheduled", …).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from .. import clock, journal, throttling
from ..exceptions import ReferenceNotAllowed, TransitionNotAllowed
from ..models import Claim, Operation, Step
from ..models.resource import save_transition
from ..nudges import nudge_on_commit, wake_and_nudge
from ..plan import Node, nested_operations
from ..references import deserialize, resolve_model, serialize
from ..statements import delete, run_together, select_column
from ..states import (
    OperationState,
    ResourceState,
    StepPhase,
    StepState,
    WaitKind,
    is_scheduled,
    is_transitional,
    resource_state,
)

if TYPE_CHECKING:
    from .drive import Driver

__all__ = [
    "cancel_untouched",
    "fail",
    "go_to_failure",
    "quarantine",
    "step_failed",
    "succeed",
    "success_values",
    "write_success",
]


_NOT_BEGUN = (OperationState.SCHEDULED, OperationState.WAITING)


def succeed(driver: Driver) -> bool:
    """End an operation whose last step succeeded."""
    driver.commit(lambda: write_success(driver), **success_values(driver))
    return False


def write_success(driver: Driver) -> None:
    """Write what belongs to a good end, inside its commit."""
    resource = _own_resource(driver.operation)
    transitional = resource is not None and is_transitional(getattr(resource, "state", None))
    if transitional and _holds(driver.operation, resource):
        # The executor has no success path that says so itself; the operation did succeed.
        _transition(driver.operation, resource, "set_ok")
    _close(driver.operation, OperationState.SUCCEEDED)


def success_values(driver: Driver) -> dict[str, Any]:
    """Return the operation's columns of a good end."""
    main = driver.phase_steps(StepPhase.MAIN)
    return {**_end_values(OperationState.SUCCEEDED), "result": main[-1].result if main else None}


def step_failed(driver: Driver, step: Step, error: Exception, *, state: StepState) -> bool:
    """Record a failed step; what follows depends on the phase it stood in."""
    operation = driver.operation
    text = journal.error_text(error)

    def write() -> None:
        if state == StepState.FAILED:
            journal.record_attempt(step, "failed", worker=driver.fence.owner, error=error)
            journal.add_event(operation, "step.failed", text, step=step.position)
        journal.finish_step(step, state, error=text)

    if operation.phase == StepPhase.FAILURE:
        # The failure path itself failed: the engine writes the row, with both errors.
        both = f"{operation.error}; then the failure path failed at {step.name}: {text}"
        return fail(driver, both, write)
    if operation.phase == StepPhase.COMPENSATION:
        both = f"{operation.error}; then undoing failed at {step.name}: {text}"
        driver.persist(write, phase=StepPhase.FAILURE, position=driver.first(StepPhase.FAILURE), error=both)
        return True
    return go_to_failure(driver, error, write)


def go_to_failure(driver: Driver, error: Exception, write: Any = None) -> bool:
    """Leave the main or success phase: undo what the executor wants undone, then run the failure path."""
    operation = driver.operation
    resource = _own_resource(operation)
    undo = _undoing(driver) if operation.on_failure == "compensate" else []
    added: list[Step] = []

    def all_writes() -> None:
        added.clear()
        if write is not None:
            write()
        if undo:
            added.extend(journal.append_steps(operation, StepPhase.COMPENSATION, undo))
            journal.add_event(operation, "operation.compensating", f"{len(undo)} steps to undo")

    changes: dict[str, Any] = {
        "error": journal.error_text(error),
        "error_traceback": journal.error_traceback(error),
        "resource_state_at_failure": getattr(resource, "state", None),
        "takeovers": 0,
    }
    if undo:
        # Steps that were just added stand behind all others, so the position is known before they are written.
        first = max(driver.steps, default=-1) + 1
        driver.persist(
            all_writes, state=OperationState.COMPENSATING, phase=StepPhase.COMPENSATION, position=first, **changes
        )
        driver.steps.update({step.position: step for step in added})
        return True
    driver.persist(all_writes, phase=StepPhase.FAILURE, position=driver.first(StepPhase.FAILURE), **changes)
    return True


def _undoing(driver: Driver) -> list[Node]:
    """Return the undo tasks of everything that was done, the newest first; also of what parallel branches did."""
    done = driver.phase_steps(StepPhase.MAIN) + driver.phase_steps(StepPhase.SUCCESS)
    if driver.phase_steps(StepPhase.COMPENSATION):
        return []
    return _undo_of(done)


def _undo_of(steps: list[Step]) -> list[Node]:
    nodes: list[Node] = []
    for step in reversed(steps):
        if step.kind == Step.Kind.PARALLEL:
            for branch in Operation.objects.filter(parent_step=step).order_by("-branch"):
                nodes += _undo_of(list(branch.steps.filter(phase=StepPhase.MAIN)))
        elif step.compensate and (step.state == StepState.SUCCEEDED or step.attempts):
            # A step that failed after a request may have left something: undoing must bear that there is nothing.
            nodes.append(step.compensate)
    return nodes


def fail(driver: Driver, error: str | None = None, write: Any = None) -> bool:
    """End an operation after its failure path; the row is made erred if the failure path has not done so."""
    operation = driver.operation
    undone = driver.phase_steps(StepPhase.COMPENSATION)
    if any(step.state == StepState.FAILED for step in undone):
        state = OperationState.COMPENSATION_FAILED
    elif operation.cancel_requested and operation.state in (OperationState.CANCELLING, OperationState.COMPENSATING):
        state = OperationState.CANCELLED
    elif operation.state == OperationState.COMPENSATING:
        state = OperationState.COMPENSATED
    else:
        state = OperationState.FAILED
    text = error or operation.error

    def all_writes() -> None:
        if write is not None:
            write()
        _settle(operation, text)
        _settle_unreached(driver, text)
        _close(operation, state, text)

    _end(driver, state, all_writes, error=text)
    return False


def quarantine(driver: Driver, reason: str, error: BaseException | None = None) -> bool:
    """Set an operation aside for a person; its resource says so."""
    operation = driver.operation
    step = driver.steps.get(operation.position)
    text = f"needs a human: {reason}"

    def write() -> None:
        if step is not None and step.state == StepState.RUNNING:
            journal.record_attempt(step, "uncertain", worker=driver.fence.owner, error=error, text=reason)
            journal.update_step(step, state=StepState.UNCERTAIN, error=reason)
        _settle(operation, text)
        _settle_unreached(driver, text)
        _close(operation, OperationState.QUARANTINED, text)

    resource = _own_resource(operation)
    _end(
        driver,
        OperationState.QUARANTINED,
        write,
        error=text,
        resource_state_at_failure=getattr(resource, "state", None),
    )
    return False


def cancel_untouched(driver: Driver) -> bool:
    """End an operation that was cancelled before its first step: the resource is as it was before."""
    operation = driver.operation
    text = "cancelled before it began"
    # For a resume, which does not run pre_apply again.
    scheduled = getattr(_own_resource(operation), "state", None)

    def write() -> None:
        resource = _own_resource(operation)
        if resource is not None and is_transitional(getattr(resource, "state", None)):
            if resource_state(operation.resource_state_before) == ResourceState.OK:
                _transition(operation, resource, "set_ok")
            else:
                _settle(operation, text)
        _settle_unreached(driver, text)
        _close(operation, OperationState.CANCELLED, text)

    _end(driver, OperationState.CANCELLED, write, error=text, resource_state_at_failure=scheduled)
    return False


def _end(driver: Driver, state: OperationState, write: Any, **changes: Any) -> None:
    # Not driver.persist: when somebody cancels at this very moment, the driver decides again what the end is.
    driver.commit(write, **_end_values(state), **changes)


def _end_values(state: OperationState) -> dict[str, Any]:
    return {
        "state": state,
        **journal.release_values(None),
        "wait_kind": WaitKind.NONE,
        "wait_reason": "",
        "wait_key": "",
        "finished_at": clock.now(),
    }


def _close(operation: Operation, state: OperationState, text: str = "") -> None:
    """What every end does: give back claims and slots, tell the parent and the followers."""
    if operation.is_root:
        _give_back(operation)
    not_begun = {"parent": operation.pk, "parent_step__isnull": True, "state__in": _NOT_BEGUN}
    slots, followers = run_together([throttling.select_keys(operation.pk), select_column(Operation, "id", not_begun)])
    throttling.release_operation(operation.pk, [key for (key,) in slots])
    journal.add_event(operation, f"operation.{state}", text)
    if operation.parent_step_id is not None and operation.parent_id is not None:
        # Always from child to parent, so two transactions never wait for each other.
        journal.wake(operation.parent_id)
        parent = Operation.objects.get(pk=operation.parent_id)
        if not parent.lease_owner:
            nudge_on_commit(parent)
    for (pk,) in followers:
        transaction.on_commit(partial(wake_and_nudge, pk))
        Operation.objects.filter(pk=pk, lease_owner="", state__in=_NOT_BEGUN).update(
            due_at=clock.now(), nudge_at=clock.from_now(1.0)
        )


def _give_back(operation: Operation) -> None:
    """Give the claims back: to nobody, or to the operation in whose step this one was opened, while that is open."""
    if operation.parent_id is not None:
        opener = Operation.objects.filter(pk=operation.parent_id).first()
        # Locked, so that its own end comes either before or behind.
        root = opener and Operation.objects.select_for_update().filter(pk=opener.root_id).first()
        if root is not None and root.is_open:
            Claim.objects.filter(operation_id=operation.pk).update(operation_id=root.pk)
            return
    journal.write_later(delete(Claim, {"operation_id": operation.pk}))


# -- rows that must not lie -------------------------------------------------------------------------------------------


def _holds(operation: Operation, resource: Any) -> bool:
    """Say whether the resource is this operation's to settle: another one may be working on it by rights."""
    try:
        reference = serialize(resource)
    except LookupError:
        return False
    return Claim.objects.filter(resource=reference, operation_id=operation.root_id).exists()


def _own_resource(operation: Operation) -> Any:
    """The resource of an operation, locked for nobody; None for a branch, a resource that is gone, or none at all."""
    return operation.resource if operation.executor else None


def _settle(operation: Operation, text: str) -> None:
    """Make the operation's resource erred when it still promises work."""
    resource = _own_resource(operation)
    if resource is not None and is_transitional(getattr(resource, "state", None)) and _holds(operation, resource):
        _mark_erred(operation, resource, text)


def _settle_unreached(driver: Driver, text: str) -> None:
    """Make those resources erred whose nested operations will never be opened now."""
    operation = driver.operation
    unreached: list[Node] = []
    for step in driver.steps.values():
        if step.state not in (StepState.PENDING, StepState.CANCELLED, StepState.FAILED) or step.kind == Step.Kind.TASK:
            continue
        if Operation.objects.filter(parent_step=step).exists():
            continue
        if step.kind == Step.Kind.OPERATION and step.plan is not None:
            unreached.append({"kind": "operation", "operation": step.plan})
        elif step.plan:
            unreached.append({"kind": "parallel", "branches": step.plan})
    settled: dict[str, Any] = {}
    for nested in nested_operations(unreached):
        resource = _load(nested["resource"])
        before = getattr(resource, "state", None)
        if resource is not None and is_scheduled(before) and _holds(operation, resource):
            settled[nested["resource"]] = before
            _mark_erred(operation, resource, f"not started, because {operation} failed: {text}")
    if settled:
        Operation.objects.filter(pk=operation.pk).update(settled=settled)


def _load(reference: str) -> Any:
    try:
        resolve_model(reference)
        return deserialize(reference)
    except (ReferenceNotAllowed, LookupError):
        return None


def _mark_erred(operation: Operation, resource: Any, text: str) -> None:
    fields: list[str] = []
    if hasattr(resource, "error_message"):
        resource.error_message = text
        fields.append("error_message")
    if hasattr(resource, "error_traceback"):
        resource.error_traceback = operation.error_traceback
        fields.append("error_traceback")
    _transition(operation, resource, "set_erred", tuple(fields))


def _transition(operation: Operation, resource: Any, name: str, fields: tuple[str, ...] = ()) -> None:
    try:
        with transaction.atomic():
            save_transition(resource, name, fields)
    except (TransitionNotAllowed, AttributeError) as error:
        journal.add_event(operation, "resource.not_settled", f"{name} was refused: {error}")
