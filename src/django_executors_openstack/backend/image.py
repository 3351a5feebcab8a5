"""Images, in Glance's words."""

from __future__ import annotations

from ..models import Image
from .base import ServiceBackend
from .errors import translated

__all__ = ["Images"]

SERVICE = "image"


class Images(ServiceBackend):
    """Glance."""

    @translated(SERVICE)
    def pull_images(self) -> None:
        """Read the images that are offered to the project."""
        self.pull_catalog(
            Image,
            [
                {
                    "backend_id": found.id,
                    "name": found.name or "",
                    "min_disk": found.min_disk or 0,
                    "min_ram": found.min_ram or 0,
                    "visibility": found.visibility or "",
                    "runtime_state": found.status or "",
                }
                for found in self.cloud.image.images()
                if found.status == "active"
            ],
        )
