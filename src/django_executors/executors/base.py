"""The base executor: how a logical operation becomes a plan, and a plan an open operation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from celery import current_app
from celery.canvas import Signature
from django.db.models import Model

from .. import registry
from ..conf import settings
from ..context import current_step
from ..engine.start import Opening, open_in_transaction, run_here
from ..exceptions import ConfigurationError, PlanError, TransitionNotAllowed
from ..models import Operation
from ..models.resource import save_transition
from ..plan import OPERATION_TASK, Node, OperationPlan, check_json, check_no_secret, flatten, tasks_of
from ..references import deserialize, serialize
from ..tasks import DeletionTask, EmptyTask, ErrorStateTransitionTask, StateTransitionTask

__all__ = ["BaseExecutor", "DeleteExecutorMixin", "EmptyExecutor", "ErrorExecutorMixin", "SuccessExecutorMixin"]

_REFERENCE = "__resource__"


class BaseExecutor:
    """Describes one logical operation on a resource. Subclassing registers it.

    Attributes:
        name: Registered name, stored with every operation; by default module and class name.
        aliases: Names it had in earlier releases.
        exclusive: Whether an open operation keeps others off the resource. Only for operations that change nothing, set it
            to False.
        on_failure: ``"compensate"`` to undo finished steps that have a ``compensate=``, newest first; empty to keep them.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    exclusive: ClassVar[bool] = True
    on_failure: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}.{cls.__qualname__}"
        if cls.on_failure not in ("", "compensate"):
            raise ConfigurationError(f'{cls.__qualname__}.on_failure must be "compensate" or empty')
        registry.add_executor(cls.name, cls, cls.__dict__.get("aliases", ()))

    # -- what a subclass describes --------------------------------------------------------------------------------

    @classmethod
    def check_arguments(cls, instance: Any, /, **kwargs: Any) -> None:
        """Refuse wrong arguments, before anything else happens."""

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        """Move the resource to its scheduled state; in the transaction that opens the operation, after the plan was made."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return the steps: a signature, a chain, or None."""
        raise NotImplementedError(f"{cls.__name__} must define get_task_signature()")

    @classmethod
    def get_success_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return what runs after the last step succeeded, or None."""
        return None

    @classmethod
    def get_failure_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return what runs after a step failed, or None: the engine makes the resource erred by itself."""
        return None

    @classmethod
    def get_title(cls, instance: Any) -> str:
        """Return what is done, for people: ``"Volume create data-1"``."""
        words = re.findall(r"[A-Z]+s?(?=[A-Z]|$)|[A-Z]?[a-z0-9]+", cls.__name__.removesuffix("Executor"))
        first, *others = words or [cls.__name__]
        # An abbreviation stays as it is: "Floating IP create", not "Floating ipcreate".
        return " ".join([first, *(word if word[1:2].isupper() else word.lower() for word in others), str(instance)])

    # -- what a caller uses -----------------------------------------------------------------------------------------

    @classmethod
    def execute(
        cls,
        instance: Any,
        /,
        is_async: bool = True,
        countdown: float = 0,
        is_heavy_task: bool = False,
        *,
        actor: str = "",
        idempotency_key: str | None = None,
        priority: int | None = None,
        **kwargs: Any,
    ) -> Operation:
        """Open the operation in the caller's transaction; it starts when that is committed.

        Args:
            instance: The resource, saved.
            is_async: False to run it here and now, without a broker; the returned operation has then ended.
            countdown: Seconds to wait before the first step.
            is_heavy_task: Run every step in the heavy queue.
            actor: Who wanted it, for the audit.
            idempotency_key: The same key returns the same operation instead of opening a second one.
            priority: Celery message priority.
            **kwargs: Handed to all methods above; live model objects are fine.

        Raises:
            OperationConflict: Another operation holds the resource, or one of a nested operation.
            TransitionNotAllowed: The resource's state does not allow it.
            PlanError: The plan or an argument cannot be stored.
            ConfigurationError: The plan names a backend method that is not there.
        """
        (operation,) = cls._open_all(
            [instance],
            idempotency_keys=[idempotency_key],
            kwargs=kwargs,
            is_async=is_async,
            countdown=float(countdown),
            is_heavy=is_heavy_task,
            priority=priority,
            actor=actor,
        )
        if is_async or current_step().operation_id is not None:
            return operation
        return run_here(operation)

    @classmethod
    def execute_many(
        cls,
        instances: Iterable[Any],
        /,
        countdown: float = 0,
        is_heavy_task: bool = False,
        *,
        actor: str = "",
        idempotency_key: str | None = None,
        priority: int | None = None,
        **kwargs: Any,
    ) -> list[Operation]:
        """Open one operation for each of many resources, all of them or none, in a few statements.

        Args:
            instances: The resources, saved.
            idempotency_key: The same key, with the same resource, gets the operation that was opened first.

        Returns:
            The operations, in the order of the resources.

        The other arguments and the errors are those of `execute`; ``kwargs`` are the same for all.
        """
        rows = list(instances)
        keys = [None if idempotency_key is None else f"{idempotency_key}/{serialize(row)}"[:255] for row in rows]
        return cls._open_all(
            rows,
            idempotency_keys=keys,
            kwargs=kwargs,
            countdown=float(countdown),
            is_heavy=is_heavy_task,
            priority=priority,
            actor=actor,
        )

    @classmethod
    def _open_all(
        cls, instances: list[Any], *, idempotency_keys: list[str | None], kwargs: dict[str, Any], **options: Any
    ) -> list[Operation]:
        before = [getattr(instance, "state", None) for instance in instances]
        openings = [cls._opening(row, key, kwargs) for row, key in zip(instances, idempotency_keys, strict=True)]
        try:
            return open_in_transaction(openings, **options)
        except BaseException:
            for instance, state in zip(instances, before, strict=True):
                if state is not None:
                    instance.state = state  # the row was rolled back, so the object in memory must be too
            raise

    @classmethod
    def _opening(cls, instance: Any, idempotency_key: str | None, kwargs: dict[str, Any]) -> Opening:
        reference = serialize(instance)
        cls.check_arguments(instance, **kwargs)
        step = current_step()
        if idempotency_key is None and step.operation_id is not None:
            # Opened by a step that may run twice.
            idempotency_key = f"{step.idempotency_key}/{cls.name}/{reference}"[:255]
        return Opening(
            reference=reference,
            label=str(instance),
            exclusive=cls.exclusive,
            plan=cls.build_plan(instance, reference, **kwargs),
            pre_apply=partial(cls.pre_apply, instance, **kwargs),
            state_before=getattr(instance, "state", None),
            idempotency_key=idempotency_key,
        )

    @classmethod
    def as_signature(cls, instance: Any, /, **kwargs: Any) -> Signature[Any]:
        """Return a step that is this operation on a resource of its own: with its own lock, states and failure path.

        The plan is made now; ``pre_apply`` runs when the step is reached. Its resource is held from the moment the outer
        operation opens.
        """
        reference = serialize(instance)
        cls.check_arguments(instance, **kwargs)
        check_no_secret(kwargs, "", cls.__name__, settings.REDACT)
        plan = cls.build_plan(instance, reference, **kwargs)
        return Signature(OPERATION_TASK, kwargs={"operation": dict(plan)}, immutable=True, app=current_app)

    @classmethod
    def build_plan(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> OperationPlan:
        """Make the plan, as data, and check it; touches neither journal nor resource."""
        redact = settings.REDACT

        def part(method: Any, what: str, parallel: bool) -> list[Node]:
            signature = method(instance, serialized_instance, **kwargs)
            return flatten(signature, parallel=parallel, what=f"{cls.__name__}'s {what}", redact=redact)

        plan: OperationPlan = {
            "executor": cls.name,
            "title": cls.get_title(instance),
            "resource": serialized_instance,
            "kwargs": cls.encode_arguments(kwargs),
            "on_failure": cls.on_failure,
            "exclusive": cls.exclusive,
            "main": part(cls.get_task_signature, "plan", True),
            "success": part(cls.get_success_signature, "success path", True),
            "failure": part(cls.get_failure_signature, "failure path", False),
        }
        _check_backend_methods(instance, serialized_instance, [*plan["main"], *plan["success"], *plan["failure"]])
        return plan

    @classmethod
    def encode_arguments(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Turn keyword arguments into JSON; live resources become references."""
        return {key: _encode(value, f"argument {key!r} of {cls.__name__}") for key, value in kwargs.items()}

    @classmethod
    def decode_arguments(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Turn stored keyword arguments back; references become live resources."""
        return {key: _decode(value) for key, value in stored.items()}


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, Model):
        try:
            return {_REFERENCE: serialize(value)}
        except LookupError:
            # Not a resource (a user, for example): enough to tell which, not to load it again.
            return {_REFERENCE: None, "label": f"{value._meta.label_lower}:{value.pk}"}
    if isinstance(value, list | tuple | set | frozenset):
        return [_encode(item, where) for item in value]
    try:
        check_json(value, where)
    except PlanError:
        if hasattr(value, "__iter__"):
            return [_encode(item, where) for item in value]
        raise
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and _REFERENCE in value:
        return deserialize(value[_REFERENCE]) if value[_REFERENCE] else None
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


def _check_backend_methods(instance: Any, reference: str, nodes: list[Node]) -> None:
    """Find typos in backend method names before they run."""
    backends: dict[str, Any] = {}
    for node in tasks_of(nodes):
        task = registry.find_task(node["task"])
        if task is None or not hasattr(task, "backend_methods"):
            continue
        args = node["args"]
        if node["takes_result"] and not (args and isinstance(args[0], str) and ":" in args[0]):
            continue  # the reference comes from the step before, so nobody knows yet whose backend it will be
        for method in task.backend_methods(args, node["kwargs"]):
            target = args[0]
            if target not in backends:
                row = instance if target == reference else deserialize(target)
                backends[target] = row.get_backend() if hasattr(row, "get_backend") else None
            backend = backends[target]
            if not callable(getattr(backend, method, None)):
                raise ConfigurationError(
                    f"{type(backend).__name__}, the backend of {target}, has no method {method!r}, "
                    f"which a step {node['task'].rpartition('.')[2]} calls"
                )


def transition(instance: Any, name: str, fields: tuple[str, ...] = ()) -> None:
    """Apply and save a transition; a resource without states is left alone."""
    if hasattr(instance, "state"):
        save_transition(instance, name, fields)


def require_state(instance: Any, name: str, wanted: tuple[Any, ...]) -> None:
    """Raise `TransitionNotAllowed` unless the resource is in one of the wanted states; without states, do nothing."""
    state = getattr(instance, "state", None)
    if state is not None and state not in wanted:
        raise TransitionNotAllowed(str(instance), state, name, wanted[:1])


class SuccessExecutorMixin:
    """Makes the resource OK after the last step."""

    @classmethod
    def get_success_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return the step that sets OK."""
        return StateTransitionTask().si(serialized_instance, state_transition="set_ok")


class ErrorExecutorMixin:
    """Makes the resource erred, with the reason, after a failed step."""

    @classmethod
    def get_failure_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return the step that writes the error."""
        return ErrorStateTransitionTask().s(serialized_instance)


class DeleteExecutorMixin:
    """Deletes the row after the last step; with ``force=True`` also after a failure."""

    @classmethod
    def get_success_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        """Return the step that deletes the row."""
        return DeletionTask().si(serialized_instance)

    @classmethod
    def get_failure_signature(
        cls, instance: Any, serialized_instance: str, /, force: bool = False, **kwargs: Any
    ) -> Any:
        """Return the step that writes the error, or deletes the row by force."""
        if force:
            return DeletionTask().si(serialized_instance)
        return ErrorStateTransitionTask().s(serialized_instance)


class EmptyExecutor(BaseExecutor):
    """An operation with nothing to do in the cloud."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        return EmptyTask()
