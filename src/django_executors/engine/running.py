"""Runs one Celery task as a step, in this process, the way a worker would: request, signals, handlers and retries."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from celery import _state, signals
from celery.exceptions import Ignore, Reject, Retry

from ..context import StepContext, step_context
from ..exceptions import LeaseLost, StepWaiting
from ..models import Operation, Step

__all__ = ["Outcome", "run_task", "step_task_id"]


@dataclass
class Outcome:
    """What came of an attempt: a result, a wish to wait or to be tried again, or an error."""

    result: Any = None
    error: Exception | None = None
    waiting: StepWaiting | None = None
    retry: Retry | None = None


def step_task_id(step: Step) -> str:
    """Return the Celery task id that a step's task sees; the same for every attempt."""
    return str(uuid.uuid5(step.operation_id, f"task {step.position}"))


def run_task(
    task: Any, operation: Operation, step: Step, args: list[Any], kwargs: dict[str, Any], context: StepContext
) -> Outcome:
    """Run a task to its end and return what came of it. Only `LeaseLost` and exits of the process are raised."""
    task_id = step_task_id(step)
    task.push_request(
        id=task_id,
        args=list(args),
        kwargs=dict(kwargs),
        retries=step.retries,
        root_id=str(operation.root_id),
        parent_id=str(operation.pk),
        # Celery then raises Retry instead of publishing a message, and its Django support leaves the connection open.
        is_eager=True,
        called_directly=False,
        hostname=operation.lease_owner,
        delivery_info={"is_eager": True, "routing_key": operation.queue},
        errbacks=None,
        callbacks=None,
        chain=None,
        chord=None,
    )
    _state._task_stack.push(task)  # type: ignore[attr-defined]
    try:
        with step_context(context):
            return _call(task, task_id, args, kwargs)
    finally:
        _state._task_stack.pop()  # type: ignore[attr-defined]
        task.pop_request()


def _call(task: Any, task_id: str, args: list[Any], kwargs: dict[str, Any]) -> Outcome:
    signals.task_prerun.send(sender=task, task_id=task_id, task=task, args=args, kwargs=kwargs)
    state, result = "SUCCESS", None
    try:
        task.before_start(task_id, args, kwargs)
        run = task if type(task).__call__ is not _plain_call() else task.run
        result = run(*args, **kwargs)
    except LeaseLost:
        state = "IGNORED"
        raise
    except StepWaiting as waiting:
        state = "RETRY"
        return Outcome(waiting=waiting)
    except Retry as retry:
        state = "RETRY"
        task.on_retry(retry.exc or retry, task_id, args, kwargs, None)
        signals.task_retry.send(sender=task, request=task.request, reason=retry, einfo=None)
        return Outcome(retry=retry)
    except Ignore:
        state = "IGNORED"
        return Outcome()
    except Reject as reject:
        state = "FAILURE"
        return Outcome(error=reject)
    except Exception as error:  # noqa: BLE001 - whatever a step raises decides about the step, not about the worker
        state = "FAILURE"
        task.on_failure(error, task_id, args, kwargs, None)
        signals.task_failure.send(
            sender=task,
            task_id=task_id,
            exception=error,
            args=args,
            kwargs=kwargs,
            traceback=error.__traceback__,
            einfo=None,
        )
        return Outcome(error=error)
    else:
        task.on_success(result, task_id, args, kwargs)
        signals.task_success.send(sender=task, result=result)
        return Outcome(result=result)
    finally:
        task.after_return(state, result, task_id, args, kwargs, None)
        signals.task_postrun.send(
            sender=task, task_id=task_id, task=task, args=args, kwargs=kwargs, retval=result, state=state
        )


def _plain_call() -> Any:
    from celery import Task

    return Task.__call__
