"""What a volume can be filled with."""

from __future__ import annotations

from django.db import models

from django_executors.models import RuntimeStateMixin

from .tenant import CatalogEntry

__all__ = ["Image"]


class Image(RuntimeStateMixin, CatalogEntry):
    """An image that Glance offers to a project."""

    min_disk = models.PositiveIntegerField(default=0, help_text="Smallest volume it fits on, in GiB.")
    min_ram = models.PositiveIntegerField(default=0, help_text="Smallest memory it boots with, in MiB.")
    visibility = models.CharField(max_length=20, blank=True, default="")

    class Meta:
        default_related_name = "images"
        ordering = ["name"]
