"""Steps that wait. A step that is not ready becomes a timer in its row: it holds no worker and no message."""

from __future__ import annotations

from typing import Any

from ..exceptions import BackendNotFound, BackendRejected, StepWaiting
from ..states import ResourceState, resource_state
from .backend import BackendMethodTask

__all__ = ["PollBackendCheckTask", "PollRuntimeStateTask", "PollStateTask"]


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


class _PollTask(BackendMethodTask):
    """A look every ``default_retry_delay`` seconds, less often as time goes on, at most every ``longest_poll_interval``.

    The deadline is ``deadline`` seconds, or what ``max_retries`` looks at ``default_retry_delay`` would take.
    """

    abstract = True
    default_retry_delay = 5
    longest_poll_interval = 30
    max_retries = 1200
    retry_backoff = 1

    def wait(self, reason: str) -> StepWaiting:
        """Make the signal that the step is not ready."""
        deadline = self.deadline
        if deadline is None and self.max_retries is not None:
            deadline = float(self.max_retries * self.default_retry_delay)
        return StepWaiting(reason, deadline=deadline)


class PollRuntimeStateTask(_PollTask):
    """Waits until the runtime state is one of ``success_state``; fails when it is one of ``erred_state``.

    Args of the step: the reference, ``backend_pull_method`` (updates ``runtime_state`` of the row), ``success_state``,
    ``erred_state`` and ``deleted_state`` (a word or a list; with ``deleted_state`` an object that is gone is a success).
    """

    default_retry_delay = 2

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        name = kwargs.get("backend_pull_method") or (args[1] if len(args) > 1 else None)
        return [name] if isinstance(name, str) else []

    def execute(  # type: ignore[override] # named for what the method is to this task
        self,
        instance: Any,
        /,
        backend_pull_method: str,
        success_state: Any = None,
        erred_state: Any = None,
        deleted_state: Any = None,
        **kwargs: Any,
    ) -> None:
        try:
            getattr(self.get_backend(instance), backend_pull_method)(instance)
        except BackendNotFound:
            if deleted_state is not None:
                return
            raise
        instance.refresh_from_db()
        found = instance.runtime_state
        if found in _words(success_state) or found in _words(deleted_state):
            return
        if found in _words(erred_state):
            reason = getattr(instance, "error_message", "") or "the cloud gives no reason"
            raise BackendRejected(f"{instance} is {found}: {reason}")
        wanted = " or ".join(_words(success_state) or _words(deleted_state))
        raise self.wait(f"{instance._meta.verbose_name} {instance} to become {wanted} (now {found or 'unknown'})")


class PollStateTask(_PollTask):
    """Waits until another operation has brought a resource to ``success_state`` (OK), fails at ``erred_state`` (ERRED)."""

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        return []

    def execute(  # type: ignore[override] # waits for the row, calls no backend
        self, instance: Any, /, success_state: Any = "ok", erred_state: Any = "erred", **kwargs: Any
    ) -> None:
        found = instance.state
        named = resource_state(found)
        if found == success_state or (named == ResourceState.OK and success_state == "ok"):
            return
        if found == erred_state or (named == ResourceState.ERRED and erred_state == "erred"):
            raise BackendRejected(f"{instance} is erred: {getattr(instance, 'error_message', '') or 'no reason given'}")
        raise self.wait(f"{instance._meta.verbose_name} {instance} to become {success_state} (now {named or found})")


class PollBackendCheckTask(_PollTask):
    """Waits until ``backend.method(instance)`` returns true; the name is the second argument or ``backend_check_method``."""

    default_retry_delay = 2

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        name = kwargs.get("backend_check_method") or (args[1] if len(args) > 1 else None)
        return [name] if isinstance(name, str) else []

    def execute(  # type: ignore[override] # named for what the method is to this task
        self, instance: Any, /, backend_check_method: str, *args: Any, **kwargs: Any
    ) -> None:
        if not getattr(self.get_backend(instance), backend_check_method)(instance, *args, **kwargs):
            raise self.wait(f"{backend_check_method.replace('_', ' ')} of {instance._meta.verbose_name} {instance}")
