"""What the engine hands down to a running step: who it is, and whether it may still act.

This small object cuts the circle "the engine calls tasks, tasks ask the engine": tasks and backends import this module,
and never the engine.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["StepContext", "current_step", "step_context"]


def _always() -> None:
    return None


@dataclass
class StepContext:
    """The step that runs now, as its code may see it.

    Attributes:
        idempotency_key: The same for every attempt of this step and different for every other step: up to 35
            characters of ``a-z0-9-``, fit for tags, names and metadata of a cloud.
        operation_id: Id of the operation, None outside an operation.
        root_id: Id of the outermost operation, None outside an operation.
        step_id: Primary key of the step's row, None outside an operation.
        attempt: Number of this attempt, from 1.
        outcome_unknown: True when an earlier attempt ended without a known result: look before you create.
        began: True when the engine has already committed what belongs to the start of the attempt (the
            ``state_transition`` and runtime state of the step).
        failed_error: In the failure phase: text of the error that brought the operation there.
        failed_traceback: Likewise its traceback, for operators.
    """

    idempotency_key: str = field(default_factory=lambda: f"ex-{uuid.uuid4().hex}")
    operation_id: uuid.UUID | None = None
    root_id: uuid.UUID | None = None
    step_id: int | None = None
    attempt: int = 1
    outcome_unknown: bool = False
    began: bool = False
    failed_error: str = ""
    failed_traceback: str = ""
    ensure_lease: Callable[[], None] = _always
    """Raises `LeaseLost` once this worker may no longer act. Call it before every request to a cloud."""

    polls: int = 0
    """How often this step has already looked without success."""


_current: ContextVar[StepContext | None] = ContextVar("django_executors_step", default=None)


def current_step() -> StepContext:
    """Return the step that runs in this thread.

    Outside of a step (a shell, a test that calls a backend directly) a detached context with a key of its own is
    returned, so backend code needs no special case.
    """
    return _current.get() or StepContext()


@contextmanager
def step_context(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the current step for the duration of the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
