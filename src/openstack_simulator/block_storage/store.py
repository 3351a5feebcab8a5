"""Cinder's state and what can be done to it."""

from typing import Any

from openstack_simulator.block_storage.volumes import HOST, ZONE, Attachment, Snapshot, Volume, VolumeType, strings
from openstack_simulator.errors import BadRequest, NotFound, OverLimit
from openstack_simulator.image.store import Image, ImageService
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.quotas import Quotas
from openstack_simulator.records import Caller, Collection, new_id

QUOTAS = {
    "volumes": 10,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "per_volume_gigabytes": -1,
    "groups": 10,
}
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


class BlockStorage:
    """The block storage service's state."""

    def __init__(self, lifecycle: Lifecycle, images: ImageService) -> None:
        self.lifecycle = lifecycle
        self.images = images
        self.volumes: Collection[Volume] = Collection(lifecycle, "Volume {id} could not be found.")
        self.snapshots: Collection[Snapshot] = Collection(lifecycle, "Snapshot {id} could not be found.")
        self.types: Collection[VolumeType] = Collection(lifecycle, "Volume type {id} could not be found.")
        self.quotas = Quotas(QUOTAS)

    def usage(self, project_id: str) -> dict[str, int]:
        """How much of each quota a project uses; snapshots count as gigabytes too."""
        volumes, snapshots = self.volumes.of_project(project_id), self.snapshots.of_project(project_id)
        used = dict.fromkeys(QUOTAS, 0)
        used["volumes"], used["snapshots"] = len(volumes), len(snapshots)
        used["gigabytes"] = sum(one.size for one in volumes) + sum(one.size for one in snapshots)
        return used

    def check_quota(self, project_id: str, name: str, gigabytes: int) -> None:
        """Make sure that a project may have more.

        Raises:
            OverLimit: The project may have no more volumes or snapshots, or not so many gigabytes.
        """
        used, limits = self.usage(project_id), self.quotas.of(project_id)
        if name and not self.quotas.allows(project_id, name, used[name]):
            kind = "VolumeLimitExceeded" if name == "volumes" else "SnapshotLimitExceeded"
            what = "volumes" if name == "volumes" else "snapshots"
            raise OverLimit(
                f"{kind}: Maximum number of {what} allowed ({limits[name]}) exceeded"
                + (f" for quota '{name}'." if name == "volumes" else ".")
            )
        if not self.quotas.allows(project_id, "gigabytes", used["gigabytes"], gigabytes):
            raise OverLimit(
                f"VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
                f"Requested {gigabytes}G, quota is {limits['gigabytes']}G and {used['gigabytes']}G has been consumed."
            )

    def type_of(self, wanted: str | None) -> VolumeType:
        """A volume type by id or name; the first one when none is named.

        Raises:
            NotFound: There is none.
        """
        if not wanted:
            return next(iter(self.types))
        for one in self.types:
            if wanted in (one.id, one.name):
                return one
        raise NotFound(f"Volume type with name {wanted} could not be found.")

    def create_volume(self, caller: Caller, values: dict[str, Any]) -> Volume:
        """Start making a volume: empty, or from an image, a snapshot or another volume.

        Raises:
            BadRequest: The size is missing or too small for what the volume is made from, or that is not ready.
            NotFound: What the volume is made from, or its type, does not exist.
            OverLimit: The quota is exceeded.
        """
        volume = Volume(
            id=new_id(),
            name=values.get("name") or "",
            project_id=caller.project_id,
            user_id=caller.user_id,
            size=0,
            description=values.get("description"),
            metadata=strings(values.get("metadata")),
            availability_zone=values.get("availability_zone") or ZONE,
            multiattach=bool(values.get("multiattach")),
        )
        if volume.availability_zone != ZONE:
            raise BadRequest(f"Availability zone '{volume.availability_zone}' is invalid.")
        smallest = self._take_source(caller, volume, values)
        wanted = values.get("size")
        volume.size = _size(smallest if wanted is None else wanted)
        if volume.size < smallest:
            raise BadRequest(
                f"Invalid input received: Volume size {volume.size}GB cannot be smaller than its source's size "
                f"{smallest}GB. They must be >= the source's size."
            )
        volume.volume_type = (
            self.type_of(values["volume_type"]).name
            if values.get("volume_type")
            else volume.volume_type or self.type_of(None).name
        )
        self.check_quota(caller.project_id, "volumes", volume.size)
        self.volumes.add(volume)
        self._begin(volume, "create", "available", "error")
        return volume

    def _take_source(self, caller: Caller, volume: Volume, values: dict[str, Any]) -> int:
        """Note what a volume is made from; the smallest size it may have."""
        if values.get("imageRef") or values.get("image_id"):
            image = self._image(caller, str(values.get("imageRef") or values["image_id"]))
            volume.bootable, volume.image_metadata = True, image_metadata(image)
            return image.needed_gigabytes if image.size is not None else 1
        if values.get("snapshot_id"):
            snapshot = self.snapshots.get(caller, str(values["snapshot_id"]))
            if snapshot.status != "available":
                raise BadRequest("Invalid snapshot: Originating snapshot status must be one of 'available' values")
            volume.snapshot_id = snapshot.id
            volume.bootable, volume.image_metadata = snapshot.bootable, dict(snapshot.image_metadata)
            volume.volume_type = snapshot.volume_type
            return snapshot.size
        if values.get("source_volid"):
            source = self.volumes.get(caller, str(values["source_volid"]))
            if source.status not in ("available", "in-use"):
                raise BadRequest(
                    "Invalid volume: Unable to create a volume from a source volume in status " + source.status
                )
            volume.source_volume_id = source.id
            volume.bootable, volume.image_metadata = source.bootable, dict(source.image_metadata)
            volume.volume_type = source.volume_type
            return source.size
        if values.get("size") is None:
            raise BadRequest("Invalid input for field/attribute size. Value: None. None is not of type 'integer'")
        return 1

    def _image(self, caller: Caller, wanted: str) -> Image:
        for image in self.images.visible_to(caller):
            if wanted in (image.id, image.name):
                if image.status != "active":
                    raise BadRequest(f"Invalid input received: Image {image.id} is not active.")
                return image
        raise BadRequest("Invalid image identifier or unable to access requested image.")

    def delete_volume(self, volume: Volume, *, cascade: bool = False, force: bool = False) -> None:
        """Start deleting a volume.

        Raises:
            BadRequest: It is attached, in the middle of something, or has snapshots.
        """
        snapshots = [one for one in self.snapshots if one.volume_id == volume.id]
        if not force and (volume.status not in DELETABLE or volume.attachments or (snapshots and not cascade)):
            raise BadRequest(
                "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
                "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a "
                "transfer, or be disassociated from snapshots after volume transfer."
            )
        for snapshot in snapshots:
            self.snapshots.remove(snapshot.id)
        self.lifecycle.drop(volume.id)
        volume.status = "deleting"
        self.lifecycle.begin(
            "volume.delete",
            volume.id,
            lambda: self.volumes.remove(volume.id),
            lambda _message: self._becomes(volume, "error_deleting"),
            failure=volume.fails("delete"),
        )

    def extend_volume(self, volume: Volume, new_size: Any, *, may_be_attached: bool) -> None:
        """Start making a volume larger.

        Args:
            may_be_attached: The microversion allows it, 3.42 and later.

        Raises:
            BadRequest: The volume is busy, or the new size is not larger.
            OverLimit: The quota is exceeded.
        """
        allowed = ("available", "in-use") if may_be_attached else ("available",)
        if volume.status not in allowed:
            raise BadRequest(
                f"Invalid volume: Volume {volume.id} status must be '{' or '.join(allowed)}' to extend, currently "
                f"{volume.status}."
            )
        size = _size(new_size)
        if size <= volume.size:
            raise BadRequest(
                "Invalid input received: New size for extend must be greater than current size. "
                f"(current: {volume.size}, extended: {size})."
            )
        self.check_quota(volume.project_id, "", size - volume.size)
        before, volume.status = volume.status, "extending"

        def done() -> None:
            volume.size = size
            self._becomes(volume, before)

        self.lifecycle.begin(
            "volume.extend",
            volume.id,
            done,
            lambda _message: self._becomes(volume, "error_extending"),
            failure=volume.fails("extend"),
        )

    def retype_volume(self, volume: Volume, new_type: str) -> None:
        """Start giving a volume another type.

        Raises:
            BadRequest: The volume is busy, or has the type already.
            NotFound: There is no such type.
        """
        if volume.status not in ("available", "in-use"):
            raise BadRequest(f"Invalid volume: Unable to retype a volume in status {volume.status}.")
        wanted = self.type_of(new_type)
        if wanted.name == volume.volume_type:
            raise BadRequest(f"Invalid volume: New volume_type same as original: {volume.volume_type}.")
        before, volume.status = volume.status, "retyping"

        def done() -> None:
            volume.volume_type = wanted.name
            self._becomes(volume, before)

        self.lifecycle.begin("volume.retype", volume.id, done, lambda _message: self._becomes(volume, before))

    def upload_to_image(self, caller: Caller, volume: Volume, values: dict[str, Any]) -> Image:
        """Start making an image from a volume.

        Raises:
            BadRequest: The volume is busy.
        """
        if volume.status != "available" and not (volume.status == "in-use" and values.get("force")):
            raise BadRequest(f"Invalid volume: Volume {volume.id} status must be available to upload an image.")
        before, volume.status = volume.status, "uploading"
        image = self.images.snapshot(caller, str(values.get("image_name") or ""), volume.size * 1024**3, {})
        image.min_disk = volume.size
        self.lifecycle.begin("volume.upload", volume.id, lambda: self._becomes(volume, before))
        return image

    def create_snapshot(self, caller: Caller, values: dict[str, Any], *, needs_force: bool) -> Snapshot:
        """Start making a snapshot.

        Args:
            needs_force: An attached volume is taken only with ``force``; so before microversion 3.66.

        Raises:
            NotFound: There is no such volume.
            BadRequest: The volume is busy, or attached without ``force``.
            OverLimit: The quota is exceeded.
        """
        volume = self.volumes.get(caller, str(values.get("volume_id")))
        forced = str(values.get("force", "")).lower() in ("true", "1") or not needs_force
        if volume.status != "available" and not (volume.status == "in-use" and forced):
            raise BadRequest(
                f"Invalid volume: Volume {volume.id} status must be available, but current status is: {volume.status}."
            )
        self.check_quota(volume.project_id, "snapshots", volume.size)
        snapshot = self.snapshots.add(
            Snapshot(
                id=new_id(),
                name=values.get("name") or "",
                project_id=volume.project_id,
                user_id=caller.user_id,
                volume_id=volume.id,
                size=volume.size,
                description=values.get("description"),
                metadata=strings(values.get("metadata")),
                bootable=volume.bootable,
                image_metadata=dict(volume.image_metadata),
                volume_type=volume.volume_type,
            )
        )

        def becomes(status: str) -> None:
            snapshot.status, snapshot.updated_at = status, self.lifecycle.now()

        self.lifecycle.begin(
            "snapshot.create",
            snapshot.id,
            lambda: becomes("available"),
            lambda _message: becomes("error"),
            failure=volume.fails("snapshot"),
        )
        return snapshot

    def delete_snapshot(self, snapshot: Snapshot, *, force: bool = False) -> None:
        """Start deleting a snapshot.

        Raises:
            BadRequest: It is in the middle of something.
        """
        if snapshot.status not in ("available", "error", "error_deleting") and not force:
            raise BadRequest(
                f"Invalid snapshot: Snapshot {snapshot.id} status must be available or error, currently "
                f"{snapshot.status}."
            )
        self.lifecycle.drop(snapshot.id)
        snapshot.status = "deleting"

        def failed(_message: str) -> None:
            snapshot.status = "error_deleting"

        self.lifecycle.begin("snapshot.delete", snapshot.id, lambda: self.snapshots.remove(snapshot.id), failed)

    def reserve(self, volume: Volume, server_id: str) -> Attachment:
        """Keep a volume for a server that is going to attach it.

        Raises:
            BadRequest: It is not available.
        """
        if volume.status != "available" and not (volume.multiattach and volume.status == "in-use"):
            raise BadRequest(
                f"Invalid input received: Invalid volume: Volume {volume.id} status must be available or downloading "
                f"to reserve, but the current status is {volume.status}."
            )
        volume.status = "reserved"
        attachment = Attachment(
            id=new_id(), project_id=volume.project_id, volume_id=volume.id, server_id=server_id, host=HOST
        )
        volume.attachments.append(attachment)
        return attachment

    def attach(self, volume: Volume, attachment: Attachment, device: str | None) -> None:
        """Finish an attachment."""
        attachment.device, attachment.attached_at = device, self.lifecycle.now()
        attachment.created_at = attachment.attached_at
        self._becomes(volume, "in-use")

    def release(self, volume: Volume, server_id: str) -> None:
        """End the attachment to a server, also one that was only reserved."""
        volume.attachments = [one for one in volume.attachments if one.server_id != server_id]
        self._becomes(volume, "in-use" if volume.attachments else "available")

    def attachment_to(self, volume: Volume, server_id: str) -> Attachment | None:
        """A volume's attachment to a server."""
        return next((one for one in volume.attachments if one.server_id == server_id), None)

    def _begin(self, volume: Volume, action: str, done: str, failed: str) -> None:
        self.lifecycle.begin(
            f"volume.{action}",
            volume.id,
            lambda: self._becomes(volume, done),
            lambda _message: self._becomes(volume, failed),
            failure=volume.fails(action),
        )

    def _becomes(self, volume: Volume, status: str) -> None:
        volume.status, volume.updated_at = status, self.lifecycle.now()


def image_metadata(image: Image) -> dict[str, str]:
    """What a volume remembers of its image."""
    return {
        **strings(image.properties),
        "image_id": image.id,
        "image_name": image.name,
        "checksum": image.checksum or "",
        "container_format": image.container_format or "",
        "disk_format": image.disk_format or "",
        "min_disk": str(image.min_disk),
        "min_ram": str(image.min_ram),
        "size": str(image.size or 0),
    }


def _size(value: Any) -> int:
    try:
        size = int(value)
    except (TypeError, ValueError):
        size = 0
    if size < 1:
        raise BadRequest(
            f"Invalid input received: Volume size '{value}' must be an integer and greater than 0 "
            "(size argument must be an integer (or string representation of an integer) and greater than zero)."
        )
    return size
