"""Steps of a failure path. The failed task's id comes first, so they are made with ``.s(reference)``."""

from __future__ import annotations

from typing import Any

from ..context import current_step
from ..references import deserialize
from .base import Task
from .states import StateTransitionTask

__all__ = ["ErrorMessageTask", "ErrorStateTransitionTask"]


class ErrorMessageTask(Task):
    """Writes the error that ended the plan on the resource."""

    transactional = True

    def run(  # type: ignore[override] # the failed id comes first
        self, result_id: str, serialized_instance: str, *args: Any, **kwargs: Any
    ) -> str:
        instance = deserialize(serialized_instance)
        with self.call(args, kwargs):
            self.pre_execute(instance)
            self.execute(instance, *self.args, **self.kwargs)
            self.post_execute(instance)
        # So that a chain of error tasks made with .s() hands the id on.
        return result_id

    def error_fields(self, instance: Any) -> tuple[str, ...]:
        """Set the error texts in memory and return the names of the fields to save."""
        context = current_step()
        texts = {"error_message": context.failed_error, "error_traceback": context.failed_traceback}
        fields = tuple(name for name in texts if hasattr(instance, name))
        for name in fields:
            setattr(instance, name, texts[name])
        return fields

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> None:
        fields = self.error_fields(instance)
        if fields:
            instance.save(update_fields=fields)


class ErrorStateTransitionTask(ErrorMessageTask, StateTransitionTask):
    """Writes the error and moves the resource to erred."""

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> None:
        super().execute(instance, *args, **kwargs)
        self.state_transition(instance, "set_erred")
