"""What can be done with a volume."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks
from django_executors.exceptions import PlanError

from ..models import Instance, Volume

__all__ = [
    "VolumeAttachExecutor",
    "VolumeCreateExecutor",
    "VolumeDeleteExecutor",
    "VolumeDetachExecutor",
    "VolumePullExecutor",
]

BROKEN = ["error", "error_managing", "error_restoring", "error_extending"]


class VolumeCreateExecutor(executors.CreateExecutor):
    """Create a volume and wait until a server can use it."""

    @classmethod
    def check_arguments(cls, volume: Volume, /, **kwargs: Any) -> None:
        if volume.size < 1:
            raise PlanError(f"volume {volume} must have a size of at least 1 GiB")
        if volume.image is not None and not volume.image.backend_id:
            raise PlanError(f"volume {volume} is to be filled with {volume.image}, which is not in the cloud")

    @classmethod
    def get_task_signature(cls, volume: Volume, serialized_volume: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.ThrottleProvisionTask().si(serialized_volume, "create_volume", state_transition="begin_creating"),
            tasks.PollRuntimeStateTask().si(
                serialized_volume,
                backend_pull_method="pull_volume_runtime_state",
                success_state="available",
                erred_state=BROKEN,
            ),
            tasks.BackendMethodTask().si(serialized_volume, "pull_volume"),
        )


class VolumeDeleteExecutor(executors.DeleteExecutor):
    """Delete a volume and wait until it is gone.

    Keywords: ``after_server=True`` when its server has just been deleted, and the cloud may still be letting go of it.
    """

    @classmethod
    def get_task_signature(
        cls, volume: Volume, serialized_volume: str, /, after_server: bool = False, **kwargs: Any
    ) -> Any:
        if not volume.backend_id:
            return tasks.StateTransitionTask().si(serialized_volume, state_transition="begin_deleting")
        steps = [tasks.StateTransitionTask().si(serialized_volume, state_transition="begin_deleting")]
        if after_server:
            steps.append(
                tasks.PollRuntimeStateTask().si(
                    serialized_volume,
                    backend_pull_method="pull_volume_runtime_state",
                    success_state=["available", "deleting", "error_deleting", *BROKEN],
                    deleted_state="deleted",
                )
            )
        steps += [
            tasks.BackendMethodTask().si(serialized_volume, "delete_volume"),
            tasks.PollBackendCheckTask().si(serialized_volume, "is_volume_deleted"),
        ]
        return chain(*steps)


class VolumeAttachExecutor(executors.ActionExecutor):
    """Attach a volume to a server and read which device it became.

    Keyword: ``server``, the instance's row; by default the volume's own.
    """

    action = "Attach"

    @classmethod
    def get_action_details(cls, volume: Volume, /, **kwargs: Any) -> dict[str, Any]:
        target = kwargs.get("server") or volume.instance
        return {"message": f"Attach to {target}"} if target else {}

    @classmethod
    def check_arguments(cls, volume: Volume, /, **kwargs: Any) -> None:
        if kwargs.get("server") is None and volume.instance is None:
            raise PlanError(f"volume {volume} needs server=..., the instance to attach it to")

    @classmethod
    def get_task_signature(
        cls, volume: Volume, serialized_volume: str, /, server: Instance | None = None, **kwargs: Any
    ) -> Any:
        target = server or volume.instance
        assert target is not None  # noqa: S101 - see check_arguments
        return chain(
            tasks.BackendMethodTask().si(
                serialized_volume, "attach_volume", server=target.pk, state_transition="begin_updating"
            ),
            tasks.PollRuntimeStateTask().si(
                serialized_volume,
                backend_pull_method="pull_volume_runtime_state",
                success_state="in-use",
                erred_state=BROKEN,
            ),
            tasks.BackendMethodTask().si(serialized_volume, "pull_volume"),
        )


class VolumeDetachExecutor(executors.ActionExecutor):
    """Detach a volume from its server."""

    action = "Detach"

    @classmethod
    def get_action_details(cls, volume: Volume, /, **kwargs: Any) -> dict[str, Any]:
        return {"message": f"Detach from {volume.instance}"} if volume.instance else {}

    @classmethod
    def get_task_signature(cls, volume: Volume, serialized_volume: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_volume, "detach_volume", state_transition="begin_updating"),
            tasks.PollRuntimeStateTask().si(
                serialized_volume,
                backend_pull_method="pull_volume_runtime_state",
                success_state="available",
                erred_state=BROKEN,
            ),
            # Not earlier: until here a later attempt has to know where it was.
            tasks.BackendMethodTask().si(serialized_volume, "forget_volume_attachment"),
            tasks.BackendMethodTask().si(serialized_volume, "pull_volume"),
        )


class VolumePullExecutor(executors.ActionExecutor):
    """Read a volume from the cloud into its row."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, volume: Volume, serialized_volume: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_volume, "pull_volume", state_transition="begin_updating")
