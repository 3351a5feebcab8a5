"""Executors of the tests."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks


class BoxCreateExecutor(executors.CreateExecutor):
    """Create a box and wait until it is active."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "create_box", state_transition="begin_creating"),
            tasks.PollRuntimeStateTask().si(
                serialized_instance,
                backend_pull_method="pull_runtime_state",
                success_state="ACTIVE",
                erred_state="ERROR",
            ),
            tasks.BackendMethodTask().si(serialized_instance, "pull_box"),
        )


class BoxThrottledCreateExecutor(executors.CreateExecutor):
    """Create a box when a slot is free."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return tasks.ThrottleProvisionTask().si(serialized_instance, "create_box", state_transition="begin_creating")


class BoxUpdateExecutor(executors.UpdateExecutor):
    """Bring changed fields to the cloud."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_instance, "touch", state_transition="begin_updating")


class BoxDeleteExecutor(executors.DeleteExecutor):
    """Delete a box and its row."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "delete_box", state_transition="begin_deleting"),
            tasks.PollBackendCheckTask().si(serialized_instance, "is_deleted"),
        )


class BoxPullExecutor(executors.ActionExecutor):
    """Read the cloud's truth."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_instance, "pull_box", state_transition="begin_updating")


class CanvasExecutor(executors.BaseExecutor):
    """Run whatever canvas the caller hands in."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return kwargs["build"](serialized_instance)

    @classmethod
    def get_success_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return kwargs["success"](serialized_instance) if "success" in kwargs else None

    @classmethod
    def get_failure_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return kwargs["failure"](serialized_instance) if "failure" in kwargs else None

    @classmethod
    def encode_arguments(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {}


class CompensatingExecutor(CanvasExecutor):
    """The same, undoing what was done when a step fails."""

    on_failure = "compensate"
