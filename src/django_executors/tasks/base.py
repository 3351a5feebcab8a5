"""The base of class-based tasks: subclassing registers, calling the class returns the registered task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import celery
from celery import _state, current_app

from .. import registry
from ..context import StepContext
from ..references import deserialize, serialize

__all__ = ["EmptyTask", "ExtensionTaskMixin", "Task", "TaskType"]


@dataclass
class _Call:
    """One running call of a task: many threads share a task object, and none may see another's arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    after_success: str | None = None


_call: ContextVar[_Call] = ContextVar("django_executors_task_call")


def _register(app: celery.Celery, cls: TaskType) -> None:
    if cls.name not in app.tasks:
        app.register_task(cls.create())


class TaskType(type):
    """Registers every concrete subclass in the current and in future Celery apps, as ``shared_task`` does for functions."""

    name: str

    def __new__(mcs, class_name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> TaskType:
        abstract = namespace.setdefault("abstract", False)
        cls = super().__new__(mcs, class_name, bases, namespace)
        if "name" not in namespace:
            cls.name = f"{cls.__module__}.{class_name}"
        if "default_retry_delay" in namespace and "retry_backoff" not in namespace:
            cls.retry_backoff = False  # type: ignore[attr-defined] # a fixed delay was asked for
        if not abstract:
            for alias in namespace.get("aliases", ()):
                registry.add_task_alias(alias, cls.name)
            _state.connect_on_app_finalize(lambda app: _register(app, cls))
            for app in _state._get_active_apps():  # type: ignore[attr-defined]
                if app.finalized:
                    _register(app, cls)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__dict__.get("abstract"):
            raise TypeError(f"{cls.__name__} is abstract: subclass it")
        return current_app.tasks[cls.name]

    def create(cls) -> Any:
        """Make the one instance that an app registers."""
        return super().__call__()


class Task(celery.Task, metaclass=TaskType):  # type: ignore[type-arg]
    """A step on a resource: gets a reference, loads the row, and runs ``pre_execute``, ``execute`` and ``post_execute``.

    The three take part in cooperative multiple inheritance. ``self.args`` and ``self.kwargs`` are those of the running
    call, in this thread only; ``pre_execute`` may change ``self.kwargs`` before ``execute`` gets them.

    Attributes:
        transactional: The task only writes rows: the engine runs it in the commit that records it, exactly once. Such a task
            must not call anything outside of the database.
        repeatable: Whether the task may run again when nobody knows what an earlier attempt did. If not, such an operation
            is quarantined for a person.
        is_heavy_task: Whether it belongs to the heavy queue.
        aliases: Names the task had in earlier releases, for operations that were opened under them.
        deadline: Seconds after which a wait of this step fails, None for no limit.
    """

    abstract = True
    transactional = False
    repeatable = True
    is_heavy_task = False
    aliases: tuple[str, ...] = ()
    deadline: float | None = None
    max_retries = 10
    default_retry_delay = 5
    retry_backoff: Any = 1
    retry_backoff_max = 60
    retry_jitter = True
    ignore_result = True

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments of the running call, after the reference."""
        return _call.get().args

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the running call; a dictionary of its own for each call."""
        return _call.get().kwargs

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        _call.get().kwargs = value

    @property
    def after_success(self) -> str | None:
        """The runtime state that the running call sets after its work, or None."""
        return _call.get().after_success

    @after_success.setter
    def after_success(self, value: str | None) -> None:
        _call.get().after_success = value

    @contextmanager
    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        """Make ``args`` and ``kwargs`` those of the running call during the block."""
        token = _call.set(_Call(args, dict(kwargs)))
        try:
            yield
        finally:
            _call.reset(token)

    def run(self, serialized_instance: str, *args: Any, **kwargs: Any) -> Any:
        instance = deserialize(serialized_instance)
        with self.call(args, kwargs):
            self.pre_execute(instance)
            result = self.execute(instance, *self.args, **self.kwargs)
            self.post_execute(instance)
        return serialize(result) if hasattr(result, "_meta") else result

    def begin(self, args: list[Any], kwargs: dict[str, Any], context: StepContext) -> None:
        """Write rows that must be committed together with the mark that the first attempt started; see `begin_instance`."""
        if args and isinstance(args[0], str):
            self.begin_instance(deserialize(args[0]), kwargs)

    def begin_instance(self, instance: Any, kwargs: dict[str, Any]) -> None:
        """Write the start of the step on its resource, for example a state transition; not repeated by a re-run."""

    def pre_execute(self, instance: Any) -> None:
        """Run before ``execute``."""

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Do the work of the step."""
        raise NotImplementedError(f"{type(self).__name__} must define execute()")

    def post_execute(self, instance: Any) -> None:
        """Run after ``execute`` succeeded."""

    def backend_methods(self, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
        """Return the names of backend methods that a step with these arguments calls; they are checked before it runs."""
        return []


class EmptyTask(Task):
    """Does nothing; the plan of an operation that has nothing to do. May stand in a plan without ``.si()``."""

    transactional = True
    stands_alone = True

    def run(self, *args: Any, **kwargs: Any) -> None:
        return None


class ExtensionTaskMixin:
    """Leaves a directly published task unsent while the extension it belongs to is disabled."""

    @classmethod
    def is_extension_disabled(cls) -> bool:
        """Say whether the extension is disabled."""
        return False

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Publish the task, unless the extension is disabled."""
        if self.is_extension_disabled():
            return self.AsyncResult("disabled")  # type: ignore[attr-defined]
        return super().apply_async(args=args, kwargs=kwargs, **options)  # type: ignore[misc]
