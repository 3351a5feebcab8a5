"""Small operations on boxes: row-only steps that leave a mark, steps that call the toy cloud, in all combinations."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from celery import chain, group

from django_executors import executors, tasks
from tests.testapp.models import Box, Mark, ToyCloud

__all__ = ["SHAPES", "BoxChangeExecutor", "BoxMakeExecutor", "BoxRemoveExecutor", "LeaveMarkTask"]


def _take_a_while(instance: Any, *args: Any) -> None:
    time.sleep(random.uniform(0.0, 0.4))


# A call takes time, as one over a network does: so that workers are stopped and killed in the middle of one.
ToyCloud.behaviour["touch"] = _take_a_while


class LeaveMarkTask(tasks.StateTransitionTask):
    """Leaves a mark in the commit that records the step: there is exactly one for each time it succeeded."""

    def execute(self, instance: Any, /, what: str, **kwargs: Any) -> None:
        Mark.objects.create(what=what)


class _Steps:
    """Makes the steps of one operation; every mark has a name of its own."""

    def __init__(self, reference: str, key: str) -> None:
        self.reference = reference
        self.key = key
        self.marks = 0

    def mark(self, **kwargs: Any) -> Any:
        self.marks += 1
        return LeaveMarkTask().si(self.reference, f"{self.key}/{self.marks}", **kwargs)

    def call(self, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(self.reference, "touch", **kwargs)


def _rows(steps: _Steps, other: Box) -> Iterator[Any]:
    yield steps.mark(state_transition="begin_updating")
    for _ in range(5):
        yield steps.mark()


def _calls(steps: _Steps, other: Box) -> Iterator[Any]:
    yield steps.call(state_transition="begin_updating")
    yield steps.mark()
    yield steps.call()
    yield steps.call()
    yield steps.mark()


def _parallel(steps: _Steps, other: Box) -> Iterator[Any]:
    yield steps.mark(state_transition="begin_updating")
    yield group(chain(steps.mark(), steps.call(), steps.mark()), steps.mark(), steps.call())
    yield steps.mark()


def _nested(steps: _Steps, other: Box) -> Iterator[Any]:
    yield steps.mark(state_transition="begin_updating")
    yield BoxChangeExecutor.as_signature(other, updated_fields=["name"], shape="calls", key=f"{steps.key}n")
    yield steps.mark()


def _throttled(steps: _Steps, other: Box) -> Iterator[Any]:
    yield tasks.ThrottleProvisionStateTask().si(steps.reference, state_transition="begin_updating")
    yield steps.call()
    yield steps.mark()


def _waiting(steps: _Steps, other: Box) -> Iterator[Any]:
    yield steps.mark(state_transition="begin_updating")
    yield steps.mark().set(countdown=0.4)
    yield steps.call()


SHAPES: dict[str, Callable[[_Steps, Box], Iterator[Any]]] = {
    "rows": _rows,
    "calls": _calls,
    "parallel": _parallel,
    "nested": _nested,
    "throttled": _throttled,
    "waiting": _waiting,
}
"""The forms of a change of a box."""


class BoxChangeExecutor(executors.UpdateExecutor):
    """Change a box in one of the forms. Keywords: ``shape``, ``key`` for the marks, ``other``, a box for a nested one."""

    @classmethod
    def get_task_signature(
        cls, instance: Box, serialized_instance: str, /, shape: str, key: str, other: Any = None, **kwargs: Any
    ) -> Any:
        return chain(*SHAPES[shape](_Steps(serialized_instance, key), other))


class BoxMakeExecutor(executors.CreateExecutor):
    """Make a box when a slot is free."""

    @classmethod
    def get_task_signature(cls, instance: Box, serialized_instance: str, /, key: str, **kwargs: Any) -> Any:
        steps = _Steps(serialized_instance, key)
        return chain(
            tasks.ThrottleProvisionTask().si(serialized_instance, "create_box", state_transition="begin_creating"),
            tasks.PollRuntimeStateTask().si(
                serialized_instance,
                backend_pull_method="pull_runtime_state",
                success_state="ACTIVE",
                erred_state="ERROR",
            ),
            steps.mark(),
        )


class BoxRemoveExecutor(executors.DeleteExecutor):
    """Remove a box."""

    @classmethod
    def get_task_signature(cls, instance: Box, serialized_instance: str, /, key: str, **kwargs: Any) -> Any:
        steps = _Steps(serialized_instance, key)
        return chain(
            steps.mark(state_transition="begin_deleting"),
            tasks.BackendMethodTask().si(serialized_instance, "delete_box"),
            tasks.PollBackendCheckTask().si(serialized_instance, "is_deleted"),
        )
