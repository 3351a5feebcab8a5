"""Steps that call a method of the resource's backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..context import current_step
from ..exceptions import ConfigurationError, OutcomeUnknown
from .states import RuntimeStateChangeTask, StateTransitionTask

__all__ = ["BackendMethodTask", "IndependentBackendMethodTask", "RetryUntilAvailableTask", "not_repeatable"]

_F = TypeVar("_F", bound=Callable[..., Any])


def not_repeatable(method: _F) -> _F:
    """Mark a backend method that cannot find out what an earlier call did.

    When the outcome of a call is unknown, the engine then quarantines the operation instead of calling again.
    """
    method.repeatable = False  # type: ignore[attr-defined]
    return method


class BackendMethodTask(RuntimeStateChangeTask, StateTransitionTask):
    """Calls ``backend.method(instance, *args, **kwargs)``.

    The method's name is the second positional argument or ``backend_method=``; keywords of the base classes
    (``state_transition``, ``runtime_state``, …) are taken out, everything else is passed on.
    """

    transactional = False

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        name = kwargs.get("backend_method") or (args[1] if len(args) > 1 else None)
        if not isinstance(name, str):
            raise ConfigurationError(f"{self.name} needs the name of a backend method as its second argument")
        return [name]

    def get_backend(self, instance: Any) -> Any:
        """Return the backend of a resource."""
        return instance.get_backend()

    def find_method(self, instance: Any, backend_method: str) -> Callable[..., Any]:
        """Return the backend's method; refuse to repeat one that must not be."""
        method = getattr(self.get_backend(instance), backend_method)
        if current_step().outcome_unknown and not getattr(method, "repeatable", True):
            raise OutcomeUnknown(
                f"nobody knows whether {backend_method} had an effect, and it may not run twice", findable=False
            )
        return method  # type: ignore[no-any-return]

    def execute(self, instance: Any, /, backend_method: str, *args: Any, **kwargs: Any) -> Any:
        return self.find_method(instance, backend_method)(instance, *args, **kwargs)


class IndependentBackendMethodTask(BackendMethodTask):
    """Calls ``backend.method(*args, **kwargs)``, without the instance."""

    def execute(self, instance: Any, /, backend_method: str, *args: Any, **kwargs: Any) -> Any:
        return self.find_method(instance, backend_method)(*args, **kwargs)


class RetryUntilAvailableTask(BackendMethodTask):
    """Calls a backend method and is patient with a backend that is away: tried again every five seconds, 300 times."""

    max_retries = 300
    default_retry_delay = 5
