"""What can be done with a server group."""

from __future__ import annotations

from typing import Any

from django_executors import executors, tasks

from ..models import ServerGroup

__all__ = ["ServerGroupCreateExecutor", "ServerGroupDeleteExecutor", "ServerGroupPullExecutor"]


class ServerGroupCreateExecutor(executors.CreateExecutor):
    """Create a server group."""

    @classmethod
    def get_task_signature(cls, server_group: ServerGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_group, "create_server_group", state_transition="begin_creating")


class ServerGroupPullExecutor(executors.ActionExecutor):
    """Read a server group from the cloud into its row."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, server_group: ServerGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_group, "pull_server_group", state_transition="begin_updating")


class ServerGroupDeleteExecutor(executors.DeleteExecutor):
    """Delete a server group; its servers stay."""

    @classmethod
    def get_task_signature(cls, server_group: ServerGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_group, "delete_server_group", state_transition="begin_deleting")
