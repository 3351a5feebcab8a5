"""Disks."""

from __future__ import annotations

from django.db import models

from django_executors.models import ActionMixin, RuntimeStateMixin

from .image import Image
from .instance import Instance
from .tenant import TenantResource
from .volume_type import VolumeType

__all__ = ["Volume"]


class Volume(ActionMixin, RuntimeStateMixin, TenantResource):
    """A Cinder volume. ``runtime_state`` is its status in Cinder's words, for example ``"in-use"``."""

    size = models.PositiveIntegerField(help_text="Size in GiB, at least 1.")
    type = models.ForeignKey(VolumeType, on_delete=models.SET_NULL, null=True, blank=True)
    image = models.ForeignKey(
        Image, on_delete=models.SET_NULL, null=True, blank=True, help_text="What the volume is filled with when made."
    )
    bootable = models.BooleanField(default=False)
    instance = models.ForeignKey(Instance, on_delete=models.SET_NULL, null=True, blank=True)
    device = models.CharField(max_length=50, blank=True, default="", help_text='On the server, for example "/dev/vdb".')
    availability_zone = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        default_related_name = "volumes"
        ordering = ["pk"]
