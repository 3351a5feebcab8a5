"""The kinds of storage a volume can be on."""

from __future__ import annotations

from django.db import models

from .tenant import CatalogEntry

__all__ = ["VolumeType"]


class VolumeType(CatalogEntry):
    """A kind of storage that Cinder offers to a project."""

    description = models.CharField(max_length=255, blank=True, default="")
    is_public = models.BooleanField(default=True)

    class Meta:
        default_related_name = "volume_types"
        ordering = ["name"]
