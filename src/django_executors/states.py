"""The states of resources, operations and steps, and the moves between them, as data.

Every table maps an allowed pair ``(old, new)`` to the reason for the move. Transition methods, checks, diagrams and
tests are read from these tables. There is no move "from any state": it would hide races.
"""

from __future__ import annotations

from django.db.models import TextChoices

__all__ = [
    "OPEN_OPERATION_STATES",
    "OPERATION_TRANSITIONS",
    "RESOURCE_TRANSITIONS",
    "STEP_TRANSITIONS",
    "OperationState",
    "ResourceState",
    "StepPhase",
    "StepState",
    "WaitKind",
    "can_move",
    "can_move_step",
    "is_erred",
    "is_scheduled",
    "is_transitional",
    "resource_state",
    "transition_target",
]


class ResourceState(TextChoices):
    """Where a resource is in its life, as our database knows it."""

    CREATION_SCHEDULED = "creation_scheduled", "creation scheduled"
    CREATING = "creating", "creating"
    UPDATE_SCHEDULED = "update_scheduled", "update scheduled"
    UPDATING = "updating", "updating"
    DELETION_SCHEDULED = "deletion_scheduled", "deletion scheduled"
    DELETING = "deleting", "deleting"
    OK = "ok", "OK"
    ERRED = "erred", "erred"


R = ResourceState

RESOURCE_TRANSITIONS: dict[str, dict[tuple[ResourceState, ResourceState], str]] = {
    "begin_creating": {(R.CREATION_SCHEDULED, R.CREATING): "the first request is about to leave for the cloud"},
    "schedule_updating": {
        (R.OK, R.UPDATE_SCHEDULED): "an operation that changes the resource was opened",
        (R.ERRED, R.UPDATE_SCHEDULED): "an operation that may mend the resource was opened",
    },
    "begin_updating": {(R.UPDATE_SCHEDULED, R.UPDATING): "the first request is about to leave for the cloud"},
    "schedule_deleting": {
        (R.OK, R.DELETION_SCHEDULED): "a deletion was opened",
        (R.ERRED, R.DELETION_SCHEDULED): "a deletion of a broken resource was opened",
    },
    "begin_deleting": {(R.DELETION_SCHEDULED, R.DELETING): "the first request is about to leave for the cloud"},
    "set_ok": {
        (R.CREATION_SCHEDULED, R.OK): "the plan had nothing to do in the cloud",
        (R.CREATING, R.OK): "created",
        (R.UPDATE_SCHEDULED, R.OK): "nothing had to change, or cancelled before it began",
        (R.UPDATING, R.OK): "updated",
        (R.DELETION_SCHEDULED, R.OK): "the deletion was cancelled before it began",
        (R.OK, R.OK): "an operation without a scheduled phase succeeded",
    },
    "set_erred": {
        (R.CREATION_SCHEDULED, R.ERRED): "failed or cancelled before the creation began",
        (R.CREATING, R.ERRED): "creation failed",
        (R.UPDATE_SCHEDULED, R.ERRED): "failed before the update began",
        (R.UPDATING, R.ERRED): "update failed",
        (R.DELETION_SCHEDULED, R.ERRED): "failed before the deletion began",
        (R.DELETING, R.ERRED): "deletion failed",
        (R.OK, R.ERRED): "an operation without a scheduled phase failed",
        (R.ERRED, R.ERRED): "failed again",
    },
    "recover": {(R.ERRED, R.OK): "the backend gave evidence that the resource is sound"},
}


def transition_target(transition: str, state: str) -> ResourceState | None:
    """Return the state that a transition leads to from ``state``, or None when it is not allowed there."""
    for old, new in RESOURCE_TRANSITIONS[transition]:
        if old == state:
            return new
    return None


# The numbers of projects that keep integer states, as the classic pattern has them.
INTEGER_STATES: dict[int, ResourceState] = {
    1: R.UPDATE_SCHEDULED,
    2: R.UPDATING,
    3: R.OK,
    4: R.ERRED,
    5: R.CREATION_SCHEDULED,
    6: R.CREATING,
    7: R.DELETION_SCHEDULED,
    8: R.DELETING,
}


def resource_state(value: object) -> ResourceState | None:
    """Translate a resource's raw state, text or classic number; None when it is neither."""
    if isinstance(value, int):
        return INTEGER_STATES.get(value)
    return ResourceState(value) if value in ResourceState.values else None


def is_scheduled(value: object) -> bool:
    """Say whether a raw state means "about to be worked on"."""
    return resource_state(value) in (R.CREATION_SCHEDULED, R.UPDATE_SCHEDULED, R.DELETION_SCHEDULED)


def is_erred(value: object) -> bool:
    """Say whether a raw state means that something went wrong."""
    return resource_state(value) == R.ERRED


def is_transitional(value: object) -> bool:
    """Say whether a raw state promises that an operation is open: anything but OK and ERRED."""
    return resource_state(value) not in (R.OK, R.ERRED, None)


class OperationState(TextChoices):
    """Where an operation is. The first six are open, the others are ends."""

    SCHEDULED = "scheduled", "queued"
    RUNNING = "running", "running"
    WAITING = "waiting", "waiting"
    PAUSED = "paused", "paused"
    CANCELLING = "cancelling", "cancelling"
    COMPENSATING = "compensating", "undoing"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"
    COMPENSATED = "compensated", "undone"
    COMPENSATION_FAILED = "compensation_failed", "undoing failed"
    QUARANTINED = "quarantined", "needs a human"


O = OperationState  # noqa: E741 - read beside R and S

OPERATION_TRANSITIONS: dict[tuple[OperationState, OperationState], str] = {
    (O.SCHEDULED, O.RUNNING): "a worker claimed the first step",
    (O.SCHEDULED, O.PAUSED): "paused before it began",
    (O.SCHEDULED, O.CANCELLING): "cancelled before it began",
    (O.RUNNING, O.WAITING): "a step waits: a poll, a back-off, a throttle, its parts, or another queue",
    (O.RUNNING, O.PAUSED): "a pause took effect at a step boundary",
    (O.RUNNING, O.CANCELLING): "cancelled while a step runs",
    (O.RUNNING, O.COMPENSATING): "a step failed and the executor asks to undo the finished ones",
    (O.RUNNING, O.SUCCEEDED): "the last step succeeded",
    (O.RUNNING, O.FAILED): "a step failed and the failure path ended",
    (O.RUNNING, O.QUARANTINED): "taken over too often, or the outcome of a call cannot be found out",
    (O.WAITING, O.RUNNING): "the wait ended and a worker claimed the operation",
    (O.WAITING, O.PAUSED): "paused while it waits",
    (O.WAITING, O.CANCELLING): "cancelled while it waits",
    (O.PAUSED, O.SCHEDULED): "unpaused before the first step",
    (O.PAUSED, O.WAITING): "unpaused",
    (O.PAUSED, O.CANCELLING): "cancelled while it is paused",
    (O.CANCELLING, O.CANCELLED): "the cancellation reached a safe point",
    (O.CANCELLING, O.COMPENSATING): "cancelled, and the executor asks to undo the finished steps",
    (O.CANCELLING, O.QUARANTINED): "taken over too often while cancelling",
    (O.COMPENSATING, O.COMPENSATED): "every finished step was undone",
    (O.COMPENSATING, O.CANCELLED): "cancelled, and every finished step was undone",
    (O.COMPENSATING, O.COMPENSATION_FAILED): "undoing a step failed",
    (O.COMPENSATING, O.QUARANTINED): "taken over too often while undoing",
    (O.FAILED, O.WAITING): "resumed by a person",
    (O.CANCELLED, O.WAITING): "resumed by a person",
    (O.QUARANTINED, O.WAITING): "resumed by a person who looked at it",
}

OPEN_OPERATION_STATES = (O.SCHEDULED, O.RUNNING, O.WAITING, O.PAUSED, O.CANCELLING, O.COMPENSATING)


def can_move(old: str, new: str) -> bool:
    """Say whether an operation may go from one state to the other."""
    return (old, new) in OPERATION_TRANSITIONS


class StepPhase(TextChoices):
    """Which part of the plan a step belongs to."""

    MAIN = "main", "main"
    SUCCESS = "success", "after success"
    FAILURE = "failure", "after failure"
    COMPENSATION = "compensation", "undo"


class StepState(TextChoices):
    """Where a step is."""

    PENDING = "pending", "pending"
    RUNNING = "running", "running"
    WAITING = "waiting", "waiting"
    UNCERTAIN = "uncertain", "uncertain"
    SUCCEEDED = "succeeded", "done"
    FAILED = "failed", "failed"
    SKIPPED = "skipped", "skipped"
    CANCELLED = "cancelled", "cancelled"


S = StepState

STEP_TRANSITIONS: dict[tuple[StepState, StepState], str] = {
    (S.PENDING, S.RUNNING): "an attempt started",
    (S.PENDING, S.WAITING): "it has a countdown, a throttle is full, or its parts were opened",
    (S.PENDING, S.SUCCEEDED): "a row-only step ran in the commit that records it",
    (S.PENDING, S.FAILED): "it could not start: wrong arguments, or a state that does not allow it",
    (S.PENDING, S.CANCELLED): "the operation was cancelled when it came to this step",
    (S.PENDING, S.SKIPPED): "skipped by a person",
    (S.RUNNING, S.RUNNING): "taken over: a new attempt started",
    (S.RUNNING, S.WAITING): "not ready yet, or tried again later",
    (S.RUNNING, S.UNCERTAIN): "the answer to a call was lost",
    (S.RUNNING, S.SUCCEEDED): "done",
    (S.RUNNING, S.FAILED): "failed, and may not be tried again",
    (S.RUNNING, S.CANCELLED): "given up by a cancellation after a takeover",
    (S.WAITING, S.RUNNING): "the wait ended, an attempt started",
    (S.WAITING, S.WAITING): "still waiting",
    (S.WAITING, S.SUCCEEDED): "its parts are done, or a row-only step was tried again",
    (S.WAITING, S.FAILED): "one of its parts failed, or the deadline passed",
    (S.WAITING, S.CANCELLED): "cancelled while waiting",
    (S.UNCERTAIN, S.RUNNING): "an attempt that looks first started",
    (S.UNCERTAIN, S.FAILED): "a person has to find out",
    (S.UNCERTAIN, S.CANCELLED): "given up by a cancellation",
    (S.UNCERTAIN, S.SKIPPED): "skipped by a person who found out",
    (S.FAILED, S.PENDING): "reset by resume or retry",
    (S.FAILED, S.SKIPPED): "skipped by a person",
    (S.CANCELLED, S.PENDING): "reset by resume or retry",
    (S.CANCELLED, S.SKIPPED): "skipped by a person",
    (S.SUCCEEDED, S.PENDING): "reset by a retry from this step or an earlier one",
    (S.SKIPPED, S.PENDING): "reset by a retry from this step or an earlier one",
}


def can_move_step(old: str, new: str) -> bool:
    """Say whether a step may go from one state to the other."""
    return (old, new) in STEP_TRANSITIONS


class WaitKind(TextChoices):
    """Why an open operation is not running."""

    NONE = "", "not waiting"
    COUNTDOWN = "countdown", "countdown"
    POLL = "poll", "poll"
    BACKOFF = "backoff", "back-off"
    THROTTLE = "throttle", "throttle"
    PARTS = "parts", "its parts"
    OPERATION = "operation", "another operation"
    QUEUE = "queue", "another queue"
    UNKNOWN_TASK = "unknown_task", "unknown task"
    PAUSED = "paused", "paused"
