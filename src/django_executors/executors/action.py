"""Operations that act on a resource: start, stop, attach, pull."""

from __future__ import annotations

from typing import Any, ClassVar

from ..exceptions import ConfigurationError
from ..tasks import RecoverTask, StateTransitionTask
from .base import BaseExecutor, ErrorExecutorMixin, SuccessExecutorMixin, require_state, transition

__all__ = ["ActionExecutor", "RecoverExecutor"]


class ActionExecutor(SuccessExecutorMixin, ErrorExecutorMixin, BaseExecutor):
    """An action: "updating" while it runs, with ``action`` and `get_action_details` on the row where it has such fields."""

    action: ClassVar[str] = ""

    @classmethod
    def get_action_details(cls, instance: Any, /, **kwargs: Any) -> dict[str, Any]:
        """Return what the action is about, as JSON, for the row."""
        return {}

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        fields: tuple[str, ...] = ()
        if hasattr(instance, "action"):
            instance.action = cls.action
            instance.action_details = cls.get_action_details(instance, **kwargs)
            fields = ("action", "action_details")
        transition(instance, "schedule_updating", fields)

    @classmethod
    def get_success_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        return StateTransitionTask().si(serialized_instance, state_transition="set_ok")


class RecoverExecutor(BaseExecutor):
    """Takes an erred resource back to OK when the backend gives evidence that it is sound: it can be pulled.

    Keyword ``backend_pull_method``: the method that pulls it, by default ``"pull_"`` and the model's name.
    """

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        require_state(instance, "recover", ("erred", 4))

    @classmethod
    def get_task_signature(
        cls, instance: Any, serialized_instance: str, /, backend_pull_method: str = "", **kwargs: Any
    ) -> Any:
        if not hasattr(instance, "get_backend"):
            raise ConfigurationError(f"{type(instance).__name__} has no get_backend(), so nothing can give evidence")
        method = backend_pull_method or f"pull_{instance._meta.model_name}"
        return RecoverTask().si(serialized_instance, method)
