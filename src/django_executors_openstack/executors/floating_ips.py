"""What can be done with a floating IP."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks
from django_executors.exceptions import PlanError

from ..models import FloatingIP, Port

__all__ = [
    "FloatingIPAttachExecutor",
    "FloatingIPCreateExecutor",
    "FloatingIPDeleteExecutor",
    "FloatingIPDetachExecutor",
    "FloatingIPPullExecutor",
]


def _wait_until(serialized_floating_ip: str, status: str) -> Any:
    return tasks.PollRuntimeStateTask().si(
        serialized_floating_ip,
        backend_pull_method="pull_floating_ip_runtime_state",
        success_state=status,
        erred_state="ERROR",
    )


class FloatingIPCreateExecutor(executors.CreateExecutor):
    """Take an address from the external network; with a port on the row, let it lead there and wait until it does."""

    @classmethod
    def check_arguments(cls, floating_ip: FloatingIP, /, **kwargs: Any) -> None:
        if not (floating_ip.external_network_id or floating_ip.tenant.external_network_id):
            raise PlanError(f"floating IP {floating_ip} needs external_network_id, on its row or on its tenant's")

    @classmethod
    def get_task_signature(cls, floating_ip: FloatingIP, serialized_floating_ip: str, /, **kwargs: Any) -> Any:
        steps = [
            tasks.BackendMethodTask().si(
                serialized_floating_ip, "create_floating_ip", state_transition="begin_creating"
            )
        ]
        if floating_ip.port_id is not None:
            steps += [
                tasks.BackendMethodTask().si(
                    serialized_floating_ip, "attach_floating_ip_to_port", port=floating_ip.port_id
                ),
                _wait_until(serialized_floating_ip, "ACTIVE"),
            ]
        steps.append(tasks.BackendMethodTask().si(serialized_floating_ip, "pull_floating_ip"))
        return chain(*steps)


class FloatingIPDeleteExecutor(executors.DeleteExecutor):
    """Give the address back."""

    @classmethod
    def get_task_signature(cls, floating_ip: FloatingIP, serialized_floating_ip: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(
                serialized_floating_ip, "delete_floating_ip", state_transition="begin_deleting"
            ),
            tasks.PollBackendCheckTask().si(serialized_floating_ip, "is_floating_ip_deleted"),
        )


class FloatingIPAttachExecutor(executors.ActionExecutor):
    """Let the address lead to a port and wait until it does. Keyword: ``port``, its row."""

    action = "Attach"

    @classmethod
    def get_action_details(cls, floating_ip: FloatingIP, /, **kwargs: Any) -> dict[str, Any]:
        return {"message": f"Attach to {kwargs.get('port') or floating_ip.port}"}

    @classmethod
    def check_arguments(cls, floating_ip: FloatingIP, /, **kwargs: Any) -> None:
        if kwargs.get("port") is None and floating_ip.port is None:
            raise PlanError(f"floating IP {floating_ip} needs port=..., the port to lead to")

    @classmethod
    def get_task_signature(
        cls, floating_ip: FloatingIP, serialized_floating_ip: str, /, port: Port | None = None, **kwargs: Any
    ) -> Any:
        return chain(
            tasks.BackendMethodTask().si(
                serialized_floating_ip,
                "attach_floating_ip_to_port",
                port=port.pk if port is not None else floating_ip.port_id,
                state_transition="begin_updating",
            ),
            _wait_until(serialized_floating_ip, "ACTIVE"),
            tasks.BackendMethodTask().si(serialized_floating_ip, "pull_floating_ip"),
        )


class FloatingIPDetachExecutor(executors.ActionExecutor):
    """Let the address lead nowhere, and keep it."""

    action = "Detach"

    @classmethod
    def get_task_signature(cls, floating_ip: FloatingIP, serialized_floating_ip: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(
                serialized_floating_ip, "detach_floating_ip_from_port", state_transition="begin_updating"
            ),
            _wait_until(serialized_floating_ip, "DOWN"),
            tasks.BackendMethodTask().si(serialized_floating_ip, "pull_floating_ip"),
        )


class FloatingIPPullExecutor(executors.ActionExecutor):
    """Read a floating IP from the cloud into its row."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, floating_ip: FloatingIP, serialized_floating_ip: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(
            serialized_floating_ip, "pull_floating_ip", state_transition="begin_updating"
        )
