"""Glance's state: images and their bytes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from openstack_simulator.errors import Conflict, Forbidden
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.records import Caller, Collection, Record, new_id

STATUSES = ("queued", "saving", "uploading", "importing", "active", "killed", "deleted", "deactivated")


@dataclass(kw_only=True)
class Image(Record):
    """An image; ``size`` is in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB."""

    status: str = "queued"
    visibility: str = "shared"
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    size: int | None = None
    checksum: str | None = None
    sha512: str | None = None
    protected: bool = False
    tags: list[str] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    content: bytes = b""

    @property
    def needed_gigabytes(self) -> int:
        """The smallest volume that the image fits on, in GiB."""
        return max(self.min_disk, -(-(self.size or 0) // 1024**3), 1)


class ImageService:
    """The image service's state."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.images: Collection[Image] = Collection(lifecycle, "No image found with ID {id}")

    def get(self, caller: Caller, image_id: str) -> Image:
        """An image that the caller owns or that is public.

        Raises:
            NotFound: There is none.
        """
        return self.images.get(caller, image_id, lambda image: self.may_see(caller, image))

    def owned(self, caller: Caller, image_id: str) -> Image:
        """An image that the caller may change.

        Raises:
            NotFound: The caller cannot see one with this id.
            Forbidden: It is somebody else's.
        """
        image = self.get(caller, image_id)
        if not caller.may_see(image.project_id):
            raise Forbidden(f"You are not permitted to modify image {image_id}.")
        return image

    def visible_to(self, caller: Caller) -> Iterable[Image]:
        """The images that the caller sees in a list."""
        return self.images.visible(lambda image: self.may_see(caller, image))

    @staticmethod
    def may_see(caller: Caller, image: Image) -> bool:
        """Whether an image exists for a caller."""
        return image.visibility in ("public", "community") or caller.may_see(image.project_id)

    def upload(self, image: Image, content: bytes) -> None:
        """Take an image's bytes; it is active at once.

        Raises:
            Conflict: It has bytes already.
        """
        if image.status != "queued":
            raise Conflict(f"Image status transition from {image.status} to saving is not allowed")
        image.content = content
        image.size = len(content)
        image.checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
        image.sha512 = hashlib.sha512(content).hexdigest()
        image.status = "active"
        image.updated_at = self.lifecycle.now()

    def snapshot(self, caller: Caller, name: str, size: int, properties: dict[str, Any]) -> Image:
        """Start an image of a server or a volume; it becomes active after a while."""
        image = self.images.add(
            Image(
                id=new_id(),
                name=name,
                project_id=caller.project_id,
                visibility="private",
                disk_format="raw",
                container_format="bare",
                properties=dict(properties),
            )
        )

        def done() -> None:
            image.status, image.size = "active", size
            image.updated_at = self.lifecycle.now()

        def failed(_message: str) -> None:
            image.status = "killed"

        self.lifecycle.begin("image.create", image.id, done, failed)
        return image

    def delete(self, image: Image) -> None:
        """Delete an image.

        Raises:
            Forbidden: It is protected.
        """
        if image.protected:
            raise Forbidden(f"Image {image.id} is protected and cannot be deleted.")
        self.images.remove(image.id)
