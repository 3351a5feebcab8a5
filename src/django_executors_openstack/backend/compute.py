"""Servers and what surrounds them, in Nova's words: key pairs, server groups, volume attachments, flavors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC
from functools import partial
from typing import Any

from django.utils.dateparse import parse_datetime

from django_executors.context import current_step
from django_executors.exceptions import BackendError, BackendNotFound, BackendRejected

from ..models import Flavor, Instance, KeyPair, ServerGroup, Volume
from .adoption import adopt_or_create
from .base import ServiceBackend, store
from .errors import translated, translation

__all__ = ["Compute"]

SERVICE = "compute"


class Compute(ServiceBackend):
    """Nova."""

    # -- servers -----------------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def create_instance(
        self,
        instance: Instance,
        flavor: int | None = None,
        key_pair: int | None = None,
        server_group: int | None = None,
    ) -> None:
        """Make the server from its boot volume and ports, or adopt the one that an earlier attempt of this step made.

        Sets ``backend_id``. The key is a tag of the server, which Nova stores in the same request (2.52 or newer).

        Args:
            instance: The row; its volumes and ports must be in the cloud.
            flavor: Primary key of a flavor that replaces the row's.
            key_pair: Likewise of a key pair.
            server_group: Likewise of a server group.

        Raises:
            BackendRejected: The cloud will never accept it (quota, flavor too small), or a part is missing.
        """
        if flavor is not None:
            chosen = Flavor.objects.get(pk=flavor)
            store(instance, flavor=chosen, flavor_name=chosen.name, **_size(chosen))
        if key_pair is not None:
            pair = KeyPair.objects.get(pk=key_pair)
            store(instance, key_pair=pair, key_name=pair.name, key_fingerprint=pair.fingerprint)
        if server_group is not None:
            store(instance, server_group=ServerGroup.objects.get(pk=server_group))
        adopt_or_create(
            instance,
            find=self._servers_with_key,
            create=partial(self._request_server, instance),
            delete=lambda extra: self.cloud.compute.delete_server(extra.id, ignore_missing=True),
            save=lambda made: store(instance, backend_id=made.id),
        )

    def _request_server(self, instance: Instance, key: str) -> Any:
        boot = instance.boot_volume
        if instance.flavor is None or boot is None:
            raise BackendRejected(f"instance {instance} needs a flavor and a boot volume")
        ports = [self.require_id(port) for port in instance.ports.order_by("pk")]
        if not ports:
            raise BackendRejected(f"instance {instance} has no port")
        attributes: dict[str, Any] = {
            "name": instance.name,
            "flavor_id": self.require_id(instance.flavor),
            "block_device_mapping": [
                {
                    "boot_index": 0,
                    "uuid": self.require_id(boot),
                    "source_type": "volume",
                    "destination_type": "volume",
                    "delete_on_termination": False,
                }
            ],
            "networks": [{"port": port} for port in ports],
            "tags": [key],
        }
        if instance.key_pair is not None:
            attributes["key_name"] = self.require_id(instance.key_pair)
        if instance.user_data:
            attributes["user_data"] = base64.b64encode(instance.user_data.encode()).decode("ascii")
        if instance.availability_zone:
            attributes["availability_zone"] = instance.availability_zone
        if instance.server_group is not None:
            attributes["scheduler_hints"] = {"group": self.require_id(instance.server_group)}
        return self.cloud.compute.create_server(**attributes)

    def _servers_with_key(self, key: str) -> Iterator[Any]:
        for found in self.cloud.compute.servers(details=True, tags=key):
            # A cloud that does not know the filter answers with all servers.
            if key in (found.tags or ()):
                yield found

    @translated(SERVICE)
    def delete_instance(self, instance: Instance) -> None:
        """Ask for the server to be removed; one that is gone is success. Its ports and volumes stay."""
        if instance.backend_id:
            self.cloud.compute.delete_server(instance.backend_id, ignore_missing=True)

    def is_instance_deleted(self, instance: Instance) -> bool:
        """Say whether the server is gone.

        Raises:
            BackendRejected: Nova could not delete it.
        """
        if not instance.backend_id:
            return True
        try:
            with translation(SERVICE):
                server = self.cloud.compute.get_server(instance.backend_id)
        except BackendNotFound:
            return True
        status = str(server.status or "")
        store(instance, runtime_state=status)
        # A server that was in ERROR before is one while it is being deleted; only when nothing is going on it is final.
        if status == "ERROR" and server.task_state is None and server.fault:
            raise BackendRejected(f"server {instance} could not be deleted: {self._fault(server)}", service=SERVICE)
        return status in ("DELETED", "SOFT_DELETED")

    @translated(SERVICE)
    def start_instance(self, instance: Instance) -> None:
        """Ask for the server to be started; one that runs is success."""
        server_id = self.require_id(instance)
        if self.cloud.compute.get_server(server_id).status != "ACTIVE":
            self.cloud.compute.start_server(server_id)

    @translated(SERVICE)
    def stop_instance(self, instance: Instance) -> None:
        """Ask for the server to be stopped; one that is off is success."""
        server_id = self.require_id(instance)
        if self.cloud.compute.get_server(server_id).status != "SHUTOFF":
            self.cloud.compute.stop_server(server_id)

    @translated(SERVICE)
    def pull_instance_runtime_state(self, instance: Instance) -> None:
        """Read the status; for a server in error also the fault and the id of the request, into ``error_message``."""
        server = self.cloud.compute.get_server(self.require_id(instance))
        fields = {"runtime_state": server.status or ""}
        if server.status == "ERROR":
            fields["error_message"] = self._fault(server)
        store(instance, **fields)

    @translated(SERVICE)
    def pull_instance(self, instance: Instance) -> None:
        """Read name, size, place and status of the server."""
        server = self.cloud.compute.get_server(self.require_id(instance))
        fields: dict[str, Any] = {
            "name": server.name or instance.name,
            "runtime_state": server.status or "",
            "availability_zone": server.availability_zone or "",
            "hypervisor_hostname": server.hypervisor_hostname or "",
            "key_name": server.key_name or "",
            **self._size_of(server),
        }
        launched = parse_datetime(server.launched_at or "")
        if launched is not None:
            fields["launched_at"] = launched if launched.tzinfo else launched.replace(tzinfo=UTC)
        if server.status == "ERROR":
            fields["error_message"] = self._fault(server)
        store(instance, **fields)

    def _size_of(self, server: Any) -> dict[str, Any]:
        """Return size and flavor. From 2.47 on a server carries the size itself and the flavor's name, but not its id."""
        embedded = server.flavor
        if embedded is None:
            return {}
        name = embedded.original_name or embedded.name or ""
        known = Flavor.objects.filter(tenant=self.tenant)
        flavor = known.filter(name=name).first() if name else known.filter(backend_id=embedded.id or "-").first()
        if embedded.vcpus:
            fields = {"cores": embedded.vcpus, "ram": embedded.ram or 0, "disk": embedded.disk or 0}
        else:
            fields = _size(flavor) if flavor is not None else {}
        return {**fields, "flavor": flavor, "flavor_name": name or (flavor.name if flavor else "")}

    @translated(SERVICE)
    def pull_instance_server_group(self, instance: Instance) -> None:
        """Read which server group the server is in."""
        server_id = self.require_id(instance)
        groups = self.cloud.compute.get_server(server_id).server_groups
        if groups is None:  # older than 2.71
            groups = [group.id for group in self.cloud.compute.server_groups() if server_id in (group.member_ids or ())]
        known = ServerGroup.objects.filter(tenant=self.tenant, backend_id__in=groups).exclude(backend_id="")
        store(instance, server_group=known.first())

    def _fault(self, server: Any) -> str:
        """Return why a server is in error, in Nova's words, with the id of the request that brought it there."""
        fault = server.fault or {}
        unexplained = f"the cloud reports the server {server.id} as {server.status}, without a reason"
        code = f"HTTP {fault['code']}" if fault.get("code") else ""
        where = ", ".join(part for part in (SERVICE, code, self._last_request_id(server.id)) if part)
        return f"{fault.get('message') or unexplained} [{where}]"

    def _last_request_id(self, server_id: str) -> str:
        """Return the id of the request of the last action that failed, else of the last one; empty when unknown."""
        try:
            with translation(SERVICE):
                actions = list(self.cloud.compute.server_actions(server_id))
        except BackendError:
            return ""  # the fault itself is known, and this is only where to look further
        failed = [action for action in actions if action.message]
        return str((failed or actions)[0].request_id or "") if actions else ""

    # -- volumes on servers ------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def attach_volume(self, volume: Volume, server: int | None = None) -> None:
        """Ask for the volume to be attached; one that is attached there is success.

        Args:
            volume: The row.
            server: Primary key of the instance's row; None: the volume's own.
        """
        owner = volume.instance if server is None else Instance.objects.get(pk=server, tenant=self.tenant)
        if owner is None:
            raise BackendRejected(f"volume {volume} has no instance to be attached to")
        server_id, volume_id = self.require_id(owner), self.require_id(volume)
        if not self._is_attached(server_id, volume_id):
            try:
                with translation(SERVICE):
                    self.cloud.compute.create_volume_attachment(server_id, volume_id)
            except BackendRejected:
                # Perhaps an earlier request was still under way.
                if not self._is_attached(server_id, volume_id):
                    raise
        store(volume, instance=owner)

    @translated(SERVICE)
    def detach_volume(self, volume: Volume) -> None:
        """Ask for the volume to be detached from its server; one that is not attached is success."""
        owner = volume.instance
        if owner is None or not owner.backend_id or not volume.backend_id:
            return
        try:
            with translation(SERVICE):
                self.cloud.compute.delete_volume_attachment(owner.backend_id, volume.backend_id, ignore_missing=True)
        except BackendRejected:
            # It refuses to detach what it is detaching.
            under_way = self.cloud.block_storage.get_volume(volume.backend_id).status == "detaching"
            if not under_way and self._is_attached(owner.backend_id, volume.backend_id):
                raise

    def _is_attached(self, server_id: str, volume_id: str) -> bool:
        return any(found.volume_id == volume_id for found in self.cloud.compute.volume_attachments(server_id))

    @translated(SERVICE)
    def forget_volume_attachment(self, volume: Volume) -> None:
        """Note in the row that the volume is on no server. Nothing is sent."""
        store(volume, instance=None, device="")

    @translated(SERVICE)
    def pull_instance_volumes(self, instance: Instance) -> None:
        """Read which volumes are attached, and as which device."""
        attached = {
            found.volume_id: found.device or ""
            for found in self.cloud.compute.volume_attachments(self.require_id(instance))
        }
        for volume in Volume.objects.filter(tenant=self.tenant, backend_id__in=attached):
            store(volume, instance=instance, device=attached[volume.backend_id])
        gone = instance.volumes.exclude(backend_id__in=attached).exclude(device="")
        for volume in gone:
            store(volume, device="")

    # -- key pairs and server groups ---------------------------------------------------------------------------------

    @translated(SERVICE)
    def import_key_pair(self, key_pair: KeyPair) -> None:
        """Have the public key in Nova under the row's name; one that is there is success.

        Sets ``backend_id`` (the name) and ``fingerprint``.

        Raises:
            BackendRejected: Nova has another key under this name, or does not take the key.
        """
        found = self._find_key_pair(key_pair.name)
        if found is None:
            try:
                with translation(SERVICE):
                    found = self.cloud.compute.create_keypair(name=key_pair.name, public_key=key_pair.public_key)
            except BackendRejected:
                found = self._find_key_pair(key_pair.name)
                if found is None:
                    raise
        # The comment at the end of a key is not part of it.
        if found.public_key and found.public_key.split()[:2] != key_pair.public_key.split()[:2]:
            raise BackendRejected(f"the cloud has another public key under the name {key_pair.name!r}", service=SERVICE)
        store(key_pair, backend_id=found.name, fingerprint=found.fingerprint or key_pair.fingerprint)

    def _find_key_pair(self, name: str) -> Any:
        try:
            with translation(SERVICE):
                return self.cloud.compute.get_keypair(name)
        except BackendNotFound:
            return None

    @translated(SERVICE)
    def delete_key_pair(self, key_pair: KeyPair) -> None:
        """Remove the key pair from Nova; one that is gone is success."""
        if key_pair.backend_id:
            self.cloud.compute.delete_keypair(key_pair.backend_id, ignore_missing=True)

    @translated(SERVICE)
    def create_server_group(self, server_group: ServerGroup) -> None:
        """Make the server group, or adopt the one that an earlier attempt of this step made; sets ``backend_id``.

        Nova's server groups have no place for a key, so a later attempt takes one with the row's name and policy that
        no other row has.
        """
        step = current_step()
        if server_group.backend_id:
            return
        found = None
        if step.attempt > 1 or step.outcome_unknown:
            taken = set(ServerGroup.objects.exclude(backend_id="").values_list("backend_id", flat=True))
            for group in self.cloud.compute.server_groups():
                policies = [group.policy] if group.policy else list(group.policies or ())
                same = group.name == server_group.name and server_group.policy in policies
                if same and group.id not in taken:
                    found = group
                    break
        if found is None:
            found = self.cloud.compute.create_server_group(name=server_group.name, policy=server_group.policy)
        store(server_group, backend_id=found.id)

    @translated(SERVICE)
    def delete_server_group(self, server_group: ServerGroup) -> None:
        """Remove the server group; one that is gone is success. Its servers stay."""
        if server_group.backend_id:
            self.cloud.compute.delete_server_group(server_group.backend_id, ignore_missing=True)

    @translated(SERVICE)
    def pull_server_group(self, server_group: ServerGroup) -> None:
        """Read name and policy."""
        found = self.cloud.compute.get_server_group(self.require_id(server_group))
        store(
            server_group, name=found.name, policy=found.policy or next(iter(found.policies or ()), server_group.policy)
        )

    @translated(SERVICE)
    def pull_server_groups(self) -> None:
        """Read all server groups of the project."""
        self.pull_resources(
            ServerGroup,
            [
                {
                    "backend_id": found.id,
                    "name": found.name,
                    "policy": found.policy or next(iter(found.policies or ()), ""),
                }
                for found in self.cloud.compute.server_groups()
            ],
        )

    # -- flavors -----------------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def pull_flavors(self) -> None:
        """Read the sizes that are offered to the project."""
        self.pull_catalog(
            Flavor,
            [
                {
                    "backend_id": found.id,
                    "name": found.name,
                    "cores": found.vcpus or 0,
                    "ram": found.ram or 0,
                    "disk": found.disk or 0,
                }
                for found in self.cloud.compute.flavors(details=True)
            ],
        )


def _size(flavor: Flavor) -> dict[str, int]:
    return {"cores": flavor.cores, "ram": flavor.ram, "disk": flavor.disk}
