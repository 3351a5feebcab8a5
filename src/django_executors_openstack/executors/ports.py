"""What can be done with a port."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks
from django_executors.exceptions import PlanError

from ..models import Port

__all__ = ["PortCreateExecutor", "PortDeleteExecutor", "PortPullExecutor"]


class PortCreateExecutor(executors.CreateExecutor):
    """Create a port on its network, with its security groups."""

    @classmethod
    def check_arguments(cls, port: Port, /, **kwargs: Any) -> None:
        if not port.network.backend_id:
            raise PlanError(f"port {port} is for the network {port.network}, which is not in the cloud")
        if port.subnet is not None and port.subnet.network_id != port.network_id:
            raise PlanError(f"port {port}: the subnet {port.subnet} is not in the network {port.network}")

    @classmethod
    def get_task_signature(cls, port: Port, serialized_port: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_port, "create_port", state_transition="begin_creating"),
            tasks.BackendMethodTask().si(serialized_port, "pull_port"),
        )


class PortDeleteExecutor(executors.DeleteExecutor):
    """Delete a port."""

    @classmethod
    def get_task_signature(cls, port: Port, serialized_port: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_port, "delete_port", state_transition="begin_deleting"),
            tasks.PollBackendCheckTask().si(serialized_port, "is_port_deleted"),
        )


class PortPullExecutor(executors.ActionExecutor):
    """Read a port from the cloud into its row."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, port: Port, serialized_port: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_port, "pull_port", state_transition="begin_updating")
