"""Steps that change states of rows only; each runs in the commit that records it."""

from __future__ import annotations

from typing import Any

from .. import throttling
from ..context import current_step
from ..exceptions import ConfigurationError
from ..models.resource import clear_error, save_transition
from ..references import serialize
from .base import Task

__all__ = ["DeletionTask", "RecoverTask", "RuntimeStateChangeTask", "StateTransitionTask"]


class StateTransitionTask(Task):
    """Moves a resource along its state table; also a base for tasks that do so before they call a backend.

    Keyword ``state_transition``: name of the transition method, for example ``"begin_creating"``. A resource without states
    is left alone.
    """

    transactional = True

    def begin_instance(self, instance: Any, kwargs: dict[str, Any]) -> None:
        super().begin_instance(instance, kwargs)
        if kwargs.get("state_transition"):
            self.state_transition(instance, kwargs["state_transition"])

    def pre_execute(self, instance: Any) -> None:
        name = self.kwargs.pop("state_transition", None)
        if name and not current_step().began:
            self.state_transition(instance, name)
        super().pre_execute(instance)

    def state_transition(self, instance: Any, name: str) -> None:
        """Apply and save one transition; success clears the error of before."""
        if not hasattr(instance, "state"):
            return
        if not callable(getattr(instance, name, None)):
            raise ConfigurationError(f"{type(instance).__name__} has no transition {name!r}")
        save_transition(instance, name, clear_error(instance) if name in ("set_ok", "recover") else ())
        if name in ("set_ok", "set_erred") and current_step().operation_id is not None:
            # What was created is created: the next in line may begin, though this operation may have more to do.
            throttling.release_resource(serialize(instance))

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return None


class RuntimeStateChangeTask(Task):
    """Writes what is going on into the row: keywords ``runtime_state`` and ``action``, ``action_details`` before the work,
    ``success_runtime_state`` after it."""

    transactional = True

    def begin_instance(self, instance: Any, kwargs: dict[str, Any]) -> None:
        super().begin_instance(instance, kwargs)
        self._write(instance, kwargs)

    def pre_execute(self, instance: Any) -> None:
        before: dict[str, Any] = {
            name: self.kwargs.pop(name) for name in ("runtime_state", "action", "action_details") if name in self.kwargs
        }
        # Not an argument of execute(), but needed after it.
        self.after_success = self.kwargs.pop("success_runtime_state", None)
        if before and not current_step().began:
            self._write(instance, before)
        super().pre_execute(instance)

    def post_execute(self, instance: Any) -> None:
        state = self.after_success
        if state is not None:
            self._write(instance, {"runtime_state": state})
        super().post_execute(instance)

    @staticmethod
    def _write(instance: Any, values: dict[str, Any]) -> None:
        found = [
            name for name in ("runtime_state", "action", "action_details") if name in values and hasattr(instance, name)
        ]
        for name in found:
            setattr(instance, name, values[name])
        if found:
            instance.save(update_fields=found)

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return None


class DeletionTask(Task):
    """Deletes the resource's row."""

    transactional = True

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> None:
        instance.delete()


class RecoverTask(Task):
    """Takes an erred resource back to OK, with evidence: the backend must be able to pull it.

    The second argument, or ``backend_pull_method``, names the method that pulls it. That the object is gone or cannot be
    reached fails the step, and the resource stays erred.
    """

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        name = kwargs.get("backend_pull_method") or (args[1] if len(args) > 1 else None)
        return [name] if isinstance(name, str) else []

    def execute(self, instance: Any, /, backend_pull_method: str = "", *args: Any, **kwargs: Any) -> None:
        if not backend_pull_method:
            raise ConfigurationError("recovering needs evidence: name the backend method that pulls the resource")
        getattr(instance.get_backend(), backend_pull_method)(instance)
        instance.refresh_from_db()
        save_transition(instance, "recover", clear_error(instance))
