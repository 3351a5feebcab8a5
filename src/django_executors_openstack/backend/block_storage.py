"""Volumes, in Cinder's words. Sizes are in GiB, here and there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django_executors.exceptions import BackendError, BackendNotFound, BackendRejected

from ..models import Instance, Volume, VolumeType
from .adoption import adopt_or_create
from .base import ServiceBackend, store
from .errors import translated, translation

__all__ = ["BlockStorage"]

SERVICE = "block-storage"
KEY = "executors-key"
"""Name of the metadata entry that carries the idempotency key."""


class BlockStorage(ServiceBackend):
    """Cinder."""

    @translated(SERVICE)
    def create_volume(self, volume: Volume) -> None:
        """Make the volume, or adopt the one that an earlier attempt of this step made.

        Sets ``backend_id`` and ``runtime_state``. The volume is usable once it is ``"available"``.

        Raises:
            BackendRejected: The cloud will never accept it (quota, size smaller than the image).
        """
        adopt_or_create(
            volume,
            find=self._volumes_with_key,
            create=partial(self._request_volume, volume),
            delete=lambda extra: self._remove_volume(extra.id),
            save=lambda made: store(volume, backend_id=made.id, runtime_state=made.status or ""),
        )

    def _request_volume(self, volume: Volume, key: str) -> Any:
        attributes: dict[str, Any] = {
            "name": volume.name,
            "description": volume.description,
            "size": volume.size,
            "metadata": {KEY: key},
        }
        if volume.type is not None:
            attributes["volume_type"] = volume.type.name
        if volume.image is not None:
            attributes["image_id"] = self.require_id(volume.image)
        if volume.availability_zone:
            attributes["availability_zone"] = volume.availability_zone
        return self.cloud.block_storage.create_volume(**attributes)

    def _volumes_with_key(self, key: str) -> Iterator[Any]:
        # Only later attempts come here, so a list of the project is cheap enough and depends on no filter of the cloud.
        for found in self.cloud.block_storage.volumes(details=True):
            if (found.metadata or {}).get(KEY) == key:
                yield found

    @translated(SERVICE)
    def delete_volume(self, volume: Volume) -> None:
        """Ask for the volume to be removed; one that is gone, or on its way, is success.

        Raises:
            BackendRejected: The cloud refuses, for example because a server or a snapshot uses it.
        """
        if volume.backend_id:
            self._remove_volume(volume.backend_id)

    def _remove_volume(self, volume_id: str) -> None:
        try:
            with translation(SERVICE):
                self.cloud.block_storage.delete_volume(volume_id, ignore_missing=True)
        except BackendRejected:
            # Cinder refuses to delete what it is deleting.
            status = self._status_of(volume_id)
            if status not in (None, "deleting"):
                raise

    def _status_of(self, volume_id: str) -> str | None:
        try:
            with translation(SERVICE):
                return str(self.cloud.block_storage.get_volume(volume_id).status)
        except BackendNotFound:
            return None

    def is_volume_deleted(self, volume: Volume) -> bool:
        """Say whether the volume is gone.

        Raises:
            BackendRejected: Cinder could not delete it.
        """
        if not volume.backend_id:
            return True
        status = self._status_of(volume.backend_id)
        if status is not None:
            store(volume, runtime_state=status)
        if status == "error_deleting":
            raise BackendRejected(f"volume {volume} could not be deleted: {self._reason(volume.backend_id, status)}")
        return status is None

    @translated(SERVICE)
    def pull_volume(self, volume: Volume) -> None:
        """Read name, size, type, status and the device on its server."""
        store(volume, **self._volume_fields(self.cloud.block_storage.get_volume(self.require_id(volume))))

    @translated(SERVICE)
    def pull_volume_runtime_state(self, volume: Volume) -> None:
        """Read the status; for one in error also the reason, into ``error_message``."""
        found = self.cloud.block_storage.get_volume(self.require_id(volume))
        fields = {"runtime_state": found.status or ""}
        if (found.status or "").startswith("error"):
            fields["error_message"] = self._reason(found.id, found.status)
        store(volume, **fields)

    def _reason(self, volume_id: str, status: str) -> str:
        """Return Cinder's message to its user about a failure, which is not part of the volume."""
        try:
            with translation(SERVICE):
                answer = self.cloud.block_storage.get(
                    "/messages", params={"resource_uuid": volume_id, "sort": "created_at:desc"}, microversion="3.5"
                )
            messages = answer.json().get("messages", []) if answer.ok else []
        except (BackendError, ValueError):
            messages = []  # an old Cinder has no messages, and the failure itself is known
        for message in messages:
            if message.get("user_message"):
                request_id = message.get("request_id")
                return f"{message['user_message']}" + (f" [{SERVICE}, {request_id}]" if request_id else "")
        return f"the cloud reports the volume {volume_id} as {status}, without a reason"

    def _volume_fields(self, found: Any) -> dict[str, Any]:
        fields = {
            "name": found.name or "",
            "description": (found.description or "")[:200],
            "size": found.size,
            "runtime_state": found.status or "",
            "bootable": bool(found.is_bootable),
            "availability_zone": found.availability_zone or "",
            "device": "",
        }
        if found.volume_type:
            known = VolumeType.objects.filter(tenant=self.tenant, name=found.volume_type).first()
            if known is not None:
                fields["type"] = known
        for attachment in found.attachments or ():
            fields["device"] = attachment.get("device") or ""
        return fields

    @translated(SERVICE)
    def pull_volumes(self) -> None:
        """Read all volumes of the project."""
        servers = dict(
            Instance.objects.filter(tenant=self.tenant).exclude(backend_id="").values_list("backend_id", "pk")
        )
        found = []
        for volume in self.cloud.block_storage.volumes(details=True):
            owners = [servers.get(attachment.get("server_id")) for attachment in volume.attachments or ()]
            found.append(
                {**self._volume_fields(volume), "backend_id": volume.id, "instance_id": owners[0] if owners else None}
            )
        self.pull_resources(Volume, found)

    @translated(SERVICE)
    def extend_volume(self, volume: Volume, size: int) -> None:
        """Make the volume ``size`` GiB large; one that is that large already is success. ``size`` in the row follows."""
        volume_id = self.require_id(volume)
        if self.cloud.block_storage.get_volume(volume_id).size < size:
            self.cloud.block_storage.extend_volume(volume_id, size)
        store(volume, size=size)

    @translated(SERVICE)
    def update_volume(self, volume: Volume) -> None:
        """Give the volume the name and description of the row."""
        self.cloud.block_storage.update_volume(
            self.require_id(volume), name=volume.name, description=volume.description
        )

    @translated(SERVICE)
    def pull_volume_types(self) -> None:
        """Read the kinds of storage that are offered to the project."""
        self.pull_catalog(
            VolumeType,
            [
                {
                    "backend_id": found.id,
                    "name": found.name,
                    "description": (found.description or "")[:255],
                    "is_public": found.is_public is not False,
                }
                for found in self.cloud.block_storage.types()
            ],
        )
