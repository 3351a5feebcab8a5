"""Small plans that have every kind of step: row-only, backend, poll, throttled, parallel, nested, heavy, undone."""

from __future__ import annotations

from typing import Any

from celery import chain, group

from django_executors import executors, tasks
from django_executors.context import current_step
from tests.testapp.models import Box, Mark

__all__ = ["CREATES", "KINDS", "LIMIT", "PLANS", "fresh_box"]

LIMIT = 1
"""How many boxes may be created at once."""


class MarkTask(tasks.Task):
    """Insert a row that tells which step did so: one too many or too few is seen."""

    transactional = True

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> str:
        Mark.objects.create(what=str(current_step().step_id))
        return "marked"


class HeavyMarkTask(MarkTask):
    """The same in the heavy queue."""

    is_heavy_task = True


class LateMarkTask(MarkTask):
    """The same in a step that is not row-only by itself: a mark in the failure path comes first with the failed id."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return super().run(*args[1:], **kwargs)


class UndoTask(tasks.BackendMethodTask):
    """Delete in the cloud what a step has made."""

    def execute(self, instance: Any, /, *args: Any, **kwargs: Any) -> None:
        instance.get_backend().delete_box(instance)


def create(ref: str, task: Any = tasks.BackendMethodTask) -> Any:
    return task().si(ref, "create_box", state_transition="begin_creating")


def update(ref: str, method: str = "touch") -> Any:
    return tasks.BackendMethodTask().si(ref, method, state_transition="begin_updating")


def poll(ref: str) -> Any:
    return tasks.PollRuntimeStateTask().si(ref, backend_pull_method="pull_runtime_state", success_state="ACTIVE")


def mark(ref: str) -> Any:
    return MarkTask().si(ref)


class Create(executors.CreateExecutor):
    """Create, wait, mark twice."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(create(ref), poll(ref), mark(ref), mark(ref))


class CreateInLine(executors.CreateExecutor):
    """Create when a slot is free."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(create(ref, tasks.ThrottleProvisionTask), mark(ref))


class CreateStateInLine(executors.CreateExecutor):
    """The slot is taken by a row-only step, the cloud is called by the next one."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(
            tasks.ThrottleProvisionStateTask().si(ref, state_transition="begin_creating"),
            tasks.BackendMethodTask().si(ref, "create_box"),
        )


class CreateOrUndo(executors.CreateExecutor):
    """Undo the creation when what follows fails."""

    on_failure = "compensate"

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(
            mark(ref).set(compensate=mark(ref)),
            create(ref).set(compensate=UndoTask().si(ref, "delete_box")),
            tasks.BackendMethodTask().si(ref, "touch"),
        )

    @classmethod
    def get_failure_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(tasks.ErrorStateTransitionTask().s(ref), LateMarkTask().s(ref))


class CreateTwo(executors.CreateExecutor):
    """Create a second box as a nested operation, beside other branches."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        other = kwargs["other"]
        return chain(
            create(ref),
            group(CreateInLine.as_signature(other), chain(mark(ref), tasks.BackendMethodTask().si(ref, "touch"))),
            mark(ref),
        )

    @classmethod
    def encode_arguments(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {}


class Update(executors.UpdateExecutor):
    """Change in the cloud, mark in two queues."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(update(ref), HeavyMarkTask().si(ref), mark(ref))


class Fire(executors.UpdateExecutor):
    """Do once what cannot be found out afterwards."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return update(ref, "fire")


class Rows(executors.UpdateExecutor):
    """Write rows only."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(
            tasks.StateTransitionTask().si(ref, state_transition="begin_updating"), mark(ref), mark(ref), mark(ref)
        )


class Delete(executors.DeleteExecutor):
    """Delete in the cloud, then the row."""

    @classmethod
    def get_task_signature(cls, instance: Any, ref: str, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(ref, "delete_box", state_transition="begin_deleting"),
            tasks.PollBackendCheckTask().si(ref, "is_deleted"),
        )


CREATES = ("Create", "CreateInLine", "CreateStateInLine", "CreateOrUndo", "CreateTwo")
PLANS: dict[str, type[executors.BaseExecutor]] = {
    each.__name__: each
    for each in (Create, CreateInLine, CreateStateInLine, CreateOrUndo, CreateTwo, Update, Fire, Rows, Delete)
}
KINDS = {
    each.name: "creat" if name in CREATES else "delet" if name == "Delete" else "updat" for name, each in PLANS.items()
}
"""The beginning of the two states that an operation of an executor puts its resource in, by the executor's name."""


def fresh_box(name: str, state: str = "creation_scheduled") -> Box:
    """Make a row that is about to be created, or that exists."""
    return Box.objects.create(name=name, state=state)
