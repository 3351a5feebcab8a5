"""The error tree: the class of an error says what the engine does next.

Errors of the caller (bad plan, conflict, state not allowed) are raised before anything is written. Errors of the cloud
(`BackendError` and below) decide whether a step is tried again, fails, or has to look before anything else. Two
classes at the end are not errors but signals from a running step to the engine.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "BackendError",
    "BackendNotFound",
    "BackendRejected",
    "BackendThrottled",
    "BackendUnavailable",
    "CommandNotAllowed",
    "ConfigurationError",
    "DeadlineExceeded",
    "ExecutorsError",
    "LeaseLost",
    "OperationCancelled",
    "OperationConflict",
    "OutcomeUnknown",
    "PlanError",
    "ReferenceNotAllowed",
    "ResourceGone",
    "StepFailed",
    "StepWaiting",
    "TransitionNotAllowed",
]


class ExecutorsError(Exception):
    """Root of every error this library raises."""


class ConfigurationError(ExecutorsError, ImproperlyConfigured):
    """A setting, an executor or a model is declared wrongly; the text says how to declare it."""


class PlanError(ExecutorsError, ValueError):
    """What `get_task_signature` returned cannot become steps; nothing was written."""


class ReferenceNotAllowed(ExecutorsError, LookupError):
    """A reference is malformed or names a model that is not registered as a resource."""


class ResourceGone(ExecutorsError, LookupError):
    """The resource's row is no longer in the database, for example because it was deleted by hand."""


class OperationConflict(ExecutorsError):
    """Another operation already holds a resource that the new one needs.

    Attributes:
        resource: Reference of the resource that is held, ``"app_label.model:pk"``.
        operation_id: Id of the open operation that holds it.
    """

    def __init__(self, resource: str, operation_id: Any, *, title: str = "") -> None:
        self.resource = resource
        self.operation_id = operation_id
        what = f" ({title})" if title else ""
        super().__init__(
            f"{resource} is held by the open operation {operation_id}{what}: wait until it ends, or cancel it first"
        )


class TransitionNotAllowed(ExecutorsError):
    """A resource is in a state from which the wanted transition does not start.

    Attributes:
        resource: Which resource, as text.
        state: The state that was found.
        transition: Name of the transition method.
        allowed: States from which it may start, empty when unknown.
    """

    def __init__(self, resource: str, state: Any, transition: str, allowed: tuple[Any, ...] = ()) -> None:
        self.resource = resource
        self.state = state
        self.transition = transition
        self.allowed = allowed
        hint = f"; allowed from: {', '.join(str(item) for item in allowed)}" if allowed else ""
        super().__init__(f"{resource}: {transition!r} is not allowed in state {str(state)!r}{hint}")


class CommandNotAllowed(ExecutorsError):
    """A human action does not fit the state the operation is in.

    Attributes:
        command: What was asked for, for example ``"resume"``.
        state: The operation state that was found.
    """

    def __init__(self, command: str, state: str, allowed: tuple[str, ...], reason: str = "") -> None:
        self.command = command
        self.state = state
        self.allowed = allowed
        super().__init__(
            f"cannot {command} an operation that is {state}; allowed when it is: {', '.join(allowed)}"
            + (f" ({reason})" if reason else "")
        )


class LeaseLost(ExecutorsError):
    """This worker no longer owns the operation: it must not call the cloud and must not write."""


class OperationCancelled(ExecutorsError):
    """The operation was cancelled by a person; handed to the failure path as its error."""


class StepFailed(ExecutorsError):
    """A parallel branch or a nested operation of a step failed; the text carries the first reason."""


class DeadlineExceeded(ExecutorsError):
    """A wait took longer than its deadline; the text has the last thing that was seen."""


class BackendError(ExecutorsError):
    """The cloud answered with an error, or did not answer.

    Attributes:
        service: Which service of the cloud, for example ``"compute"``.
        request_id: The cloud's own id of the request, for its operators.
        status: HTTP status, or None.
    """

    def __init__(
        self, message: str = "", *, service: str = "", request_id: str = "", status: int | None = None
    ) -> None:
        self.service = service
        self.request_id = request_id
        self.status = status
        where = ", ".join(part for part in (service, f"HTTP {status}" if status else "", request_id) if part)
        super().__init__(f"{message} [{where}]" if where else message)


class BackendUnavailable(BackendError):
    """The request certainly had no effect (refused, 503, connection not made): the step is tried again."""


class BackendThrottled(BackendUnavailable):
    """The cloud asks for patience; the step is tried again after ``retry_after`` seconds."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **details: Any) -> None:
        self.retry_after = retry_after
        super().__init__(message, **details)


class BackendRejected(BackendError):
    """The cloud will never accept this request (quota, bad size, forbidden): the step fails."""


class BackendNotFound(BackendError):
    """The object is not in the cloud; the step decides what that means."""


class OutcomeUnknown(BackendError):
    """The request may or may not have had an effect: look before anything else.

    Args:
        findable: False when the backend has no way to look. The operation is then quarantined for a person.
    """

    def __init__(self, message: str = "", *, findable: bool = True, **details: Any) -> None:
        self.findable = findable
        super().__init__(message, **details)


class StepWaiting(Exception):
    """Raised by a step that is not ready: the engine turns it into a timer and runs the step again.

    Args:
        reason: What is waited for, for a person: ``"volume data-1 to become available (now creating)"``.
        kind: One of the wait kinds, ``"poll"`` by default.
        after: Seconds until the next look. None: the task's own interval with back-off.
        deadline: Seconds since the step began after which it fails. None: no deadline.
    """

    def __init__(
        self, reason: str, *, kind: str = "poll", after: float | None = None, deadline: float | None = None
    ) -> None:
        self.reason = reason
        self.kind = kind
        self.after = after
        self.deadline = deadline
        super().__init__(reason)
