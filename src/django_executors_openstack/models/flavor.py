"""The sizes a server can have."""

from __future__ import annotations

from django.db import models

from .tenant import CatalogEntry

__all__ = ["Flavor"]


class Flavor(CatalogEntry):
    """A size that Nova offers to a project."""

    cores = models.PositiveIntegerField(default=0, help_text="Virtual CPUs.")
    ram = models.PositiveIntegerField(default=0, help_text="Memory in MiB.")
    disk = models.PositiveIntegerField(
        default=0, help_text="Root disk in GiB; unused when the server boots from a volume."
    )

    class Meta:
        default_related_name = "flavors"
        ordering = ["cores", "ram", "disk"]
