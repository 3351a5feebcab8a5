"""What can be done with a server."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks
from django_executors.exceptions import PlanError
from django_executors.references import serialize
from django_executors.states import ResourceState

from ..models import Flavor, FloatingIP, Instance, KeyPair, SecurityGroup, ServerGroup
from .floating_ips import (
    FloatingIPAttachExecutor,
    FloatingIPCreateExecutor,
    FloatingIPDeleteExecutor,
    FloatingIPDetachExecutor,
)
from .parallel import side_by_side
from .ports import PortCreateExecutor, PortDeleteExecutor
from .security_groups import SecurityGroupCreateExecutor
from .server_groups import ServerGroupCreateExecutor
from .volumes import VolumeAttachExecutor, VolumeCreateExecutor, VolumeDeleteExecutor, VolumeDetachExecutor

__all__ = [
    "InstanceCreateExecutor",
    "InstanceDeleteExecutor",
    "InstancePullExecutor",
    "InstanceStartExecutor",
    "InstanceStopExecutor",
]


def _wait_until(serialized_instance: str, status: str) -> Any:
    return tasks.PollRuntimeStateTask().si(
        serialized_instance,
        backend_pull_method="pull_instance_runtime_state",
        success_state=status,
        erred_state="ERROR",
    )


class InstanceCreateExecutor(executors.CreateExecutor):
    """Create a server with everything it needs: volumes, ports, security groups, floating IPs.

    What it needs are rows that name it: a bootable volume and any data volumes, at least one port, floating IPs on its
    ports. Those without ``backend_id`` are created, each as an operation of its own.

    Keywords, each in place of the field of the row: ``ssh_key`` (a key pair), ``flavor``, ``server_group``.
    """

    @classmethod
    def check_arguments(
        cls, instance: Instance, /, ssh_key: KeyPair | None = None, flavor: Flavor | None = None, **kwargs: Any
    ) -> None:
        chosen = flavor or instance.flavor
        if chosen is None or not chosen.backend_id:
            raise PlanError(f"instance {instance} needs a flavor of the cloud: pass flavor=... or set it on the row")
        if instance.boot_volume is None:
            raise PlanError(f"instance {instance} needs a volume with bootable=True to boot from")
        if not instance.ports.exists():
            raise PlanError(f"instance {instance} needs at least one port")
        key = ssh_key or instance.key_pair
        if key is not None and not key.name:
            raise PlanError(f"the key pair of instance {instance} needs a name")
        if len(instance.user_data.encode()) > 65535:
            raise PlanError(f"the user data of instance {instance} are longer than the 64 KiB that Nova takes")

    @classmethod
    def get_task_signature(
        cls,
        instance: Instance,
        serialized_instance: str,
        /,
        ssh_key: KeyPair | None = None,
        flavor: Flavor | None = None,
        server_group: ServerGroup | None = None,
        **kwargs: Any,
    ) -> Any:
        _tasks = [tasks.ThrottleProvisionStateTask().si(serialized_instance, state_transition="begin_creating")]
        _tasks += cls.create_volumes(instance)
        _tasks += cls.create_ports(instance)
        _tasks += cls.create_instance(instance, serialized_instance, ssh_key, flavor, server_group)
        _tasks += cls.pull_volumes(instance, serialized_instance)
        _tasks += cls.pull_security_groups(serialized_instance)
        _tasks += cls.create_floating_ips(instance, serialized_instance)
        _tasks += cls.pull_server_group(instance, serialized_instance, server_group)
        _tasks += cls.pull_instance(serialized_instance)
        return chain(*_tasks)

    @classmethod
    def create_volumes(cls, instance: Instance) -> list[Any]:
        """Boot and data volumes, all at once; the cloud's limit is kept by their throttle."""
        return side_by_side(
            VolumeCreateExecutor.as_signature(volume)
            for volume in instance.volumes.filter(backend_id="").order_by("pk")
        )

    @classmethod
    def create_ports(cls, instance: Instance) -> list[Any]:
        """Ports with their addresses, after the security groups that they are to have."""
        needed = SecurityGroup.objects.filter(ports__instance=instance, backend_id="") | SecurityGroup.objects.filter(
            instances=instance, backend_id=""
        )
        groups = side_by_side(
            SecurityGroupCreateExecutor.as_signature(group) for group in _new(needed.distinct().order_by("pk"))
        )
        ports = side_by_side(
            PortCreateExecutor.as_signature(port) for port in instance.ports.filter(backend_id="").order_by("pk")
        )
        return groups + ports

    @classmethod
    def create_instance(
        cls,
        instance: Instance,
        serialized_instance: str,
        ssh_key: KeyPair | None,
        flavor: Flavor | None,
        server_group: ServerGroup | None,
    ) -> list[Any]:
        """The server itself, running, with its data volumes."""
        steps: list[Any] = []
        arguments: dict[str, int] = {}
        key = ssh_key or instance.key_pair
        if key is not None:
            steps.append(tasks.BackendMethodTask().si(serialize(key), "import_key_pair"))
            arguments["key_pair"] = key.pk
        group = server_group or instance.server_group
        if group is not None:
            steps += [ServerGroupCreateExecutor.as_signature(new) for new in _new([group])]
            arguments["server_group"] = group.pk
        if flavor is not None:
            arguments["flavor"] = flavor.pk
        steps += [
            tasks.BackendMethodTask().si(serialized_instance, "create_instance", **arguments),
            _wait_until(serialized_instance, "ACTIVE"),
        ]
        # One after another: a server takes one attachment at a time, and the order decides the device names.
        steps += [VolumeAttachExecutor.as_signature(volume, server=instance) for volume in instance.data_volumes]
        return steps

    @classmethod
    def pull_volumes(cls, instance: Instance, serialized_instance: str) -> list[Any]:
        """Which device each volume became; Nova attached the boot volume by itself, so its row does not know yet."""
        steps: list[Any] = []
        boot = instance.boot_volume
        if boot is not None:
            steps.append(
                tasks.PollRuntimeStateTask().si(
                    serialize(boot),
                    backend_pull_method="pull_volume_runtime_state",
                    success_state="in-use",
                    erred_state="error",
                )
            )
        return [*steps, tasks.BackendMethodTask().si(serialized_instance, "pull_instance_volumes")]

    @classmethod
    def pull_security_groups(cls, serialized_instance: str) -> list[Any]:
        """Ports as the server has them, and the security groups on them."""
        return [
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_ports"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_security_groups"),
        ]

    @classmethod
    def create_floating_ips(cls, instance: Instance, serialized_instance: str) -> list[Any]:
        """New addresses are taken and lead to their port, known ones are turned there; all at once."""
        wanted = FloatingIP.objects.filter(port__instance=instance).select_related("port").order_by("pk")
        steps = side_by_side(
            FloatingIPAttachExecutor.as_signature(floating_ip, port=floating_ip.port)
            if floating_ip.backend_id
            else FloatingIPCreateExecutor.as_signature(floating_ip)
            for floating_ip in wanted
        )
        if steps:
            steps.append(tasks.BackendMethodTask().si(serialized_instance, "pull_instance_floating_ips"))
        return steps

    @classmethod
    def pull_server_group(
        cls, instance: Instance, serialized_instance: str, server_group: ServerGroup | None
    ) -> list[Any]:
        """Where the scheduler put the server, if it was given a rule."""
        if server_group is None and instance.server_group is None:
            return []
        return [tasks.BackendMethodTask().si(serialized_instance, "pull_instance_server_group")]

    @classmethod
    def pull_instance(cls, serialized_instance: str) -> list[Any]:
        """Size, place and status as the cloud tells them."""
        return [tasks.BackendMethodTask().si(serialized_instance, "pull_instance")]


class InstanceDeleteExecutor(executors.DeleteExecutor):
    """Delete a server, its ports and its boot volume. What was never made in the cloud needs no request.

    Keywords: ``delete_volumes=False`` keeps the data volumes, detached; ``release_floating_ips=False`` keeps the
    addresses, which then lead nowhere; ``force=True`` drops the row even if the cloud fails.
    """

    @classmethod
    def get_task_signature(
        cls,
        instance: Instance,
        serialized_instance: str,
        /,
        delete_volumes: bool = True,
        release_floating_ips: bool = True,
        force: bool = False,
        **kwargs: Any,
    ) -> Any:
        _tasks = [tasks.StateTransitionTask().si(serialized_instance, state_transition="begin_deleting")]
        if not delete_volumes:
            _tasks += cls.detach_volumes(instance)
        _tasks += cls.delete_instance(instance, serialized_instance)
        if release_floating_ips:
            _tasks += cls.release_floating_ips(instance, force)
        else:
            _tasks += cls.keep_floating_ips(instance)
        _tasks += cls.delete_ports(instance, force)
        _tasks += cls.delete_volumes(instance, force, data_volumes=delete_volumes)
        return chain(*_tasks)

    @classmethod
    def detach_volumes(cls, instance: Instance) -> list[Any]:
        """The data volumes that stay, one after another, while the server is still there to let go of them."""
        if not instance.backend_id:
            return []
        return [
            VolumeDetachExecutor.as_signature(volume)
            for volume in instance.data_volumes.exclude(backend_id="").exclude(device="")
        ]

    @classmethod
    def delete_instance(cls, instance: Instance, serialized_instance: str) -> list[Any]:
        """The server, until it is gone; before that its ports and volumes are in use."""
        if not instance.backend_id:
            return []
        return [
            tasks.BackendMethodTask().si(serialized_instance, "delete_instance"),
            tasks.PollBackendCheckTask().si(serialized_instance, "is_instance_deleted"),
        ]

    @classmethod
    def release_floating_ips(cls, instance: Instance, force: bool) -> list[Any]:
        """Give the addresses back."""
        return side_by_side(
            FloatingIPDeleteExecutor.as_signature(floating_ip, force=force)
            for floating_ip in FloatingIP.objects.filter(port__instance=instance).order_by("pk")
        )

    @classmethod
    def keep_floating_ips(cls, instance: Instance) -> list[Any]:
        """Let the addresses lead nowhere."""
        return side_by_side(
            FloatingIPDetachExecutor.as_signature(floating_ip)
            for floating_ip in FloatingIP.objects.filter(port__instance=instance).exclude(backend_id="").order_by("pk")
        )

    @classmethod
    def delete_ports(cls, instance: Instance, force: bool) -> list[Any]:
        """Ports that we made outlive their server."""
        return side_by_side(
            PortDeleteExecutor.as_signature(port, force=force) for port in instance.ports.order_by("pk")
        )

    @classmethod
    def delete_volumes(cls, instance: Instance, force: bool, data_volumes: bool) -> list[Any]:
        """The boot volume always, the data volumes if they are not to be kept."""
        volumes = list(instance.volumes.order_by("pk")) if data_volumes else [instance.boot_volume]
        return side_by_side(
            VolumeDeleteExecutor.as_signature(volume, force=force, after_server=bool(instance.backend_id))
            for volume in volumes
            if volume is not None
        )


class InstanceStartExecutor(executors.ActionExecutor):
    """Start a server and wait until it runs."""

    action = "Start"

    @classmethod
    def get_task_signature(cls, instance: Instance, serialized_instance: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "start_instance", state_transition="begin_updating"),
            _wait_until(serialized_instance, "ACTIVE"),
        )


class InstanceStopExecutor(executors.ActionExecutor):
    """Shut a server down and wait until it is off."""

    action = "Stop"

    @classmethod
    def get_task_signature(cls, instance: Instance, serialized_instance: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "stop_instance", state_transition="begin_updating"),
            _wait_until(serialized_instance, "SHUTOFF"),
        )


class InstancePullExecutor(executors.ActionExecutor):
    """Read a server and its parts from the cloud into their rows."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, instance: Instance, serialized_instance: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance", state_transition="begin_updating"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_volumes"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_ports"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_security_groups"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_floating_ips"),
            tasks.BackendMethodTask().si(serialized_instance, "pull_instance_server_group"),
        )


def _new(groups: Any) -> list[Any]:
    """Return the groups that are not in the cloud yet.

    Raises:
        PlanError: The creation of one of them has failed before.
    """
    new = [group for group in groups if not group.backend_id]
    for group in new:
        if group.state != ResourceState.CREATION_SCHEDULED:
            raise PlanError(
                f"{group._meta.verbose_name} {group} is {group.state} and not in the cloud: delete it or create it first"
            )
    return new
