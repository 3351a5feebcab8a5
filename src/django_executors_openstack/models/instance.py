"""Servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from django_executors.models import ActionMixin, RuntimeStateMixin

from .flavor import Flavor
from .image import Image
from .key_pair import KeyPair
from .security_group import SecurityGroup
from .server_group import ServerGroup
from .tenant import TenantResource

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .volume import Volume

__all__ = ["Instance"]


class Instance(ActionMixin, RuntimeStateMixin, TenantResource):
    """A Nova server that boots from a volume. ``runtime_state`` is its status in Nova's words, e.g. ``"ACTIVE"``."""

    flavor = models.ForeignKey(Flavor, on_delete=models.SET_NULL, null=True, blank=True)
    flavor_name = models.CharField(max_length=255, blank=True, default="")
    cores = models.PositiveIntegerField(default=0, help_text="Virtual CPUs.")
    ram = models.PositiveIntegerField(default=0, help_text="Memory in MiB.")
    disk = models.PositiveIntegerField(default=0, help_text="Root disk of the flavor in GiB; the volumes come on top.")
    image = models.ForeignKey(Image, on_delete=models.SET_NULL, null=True, blank=True)
    image_name = models.CharField(max_length=255, blank=True, default="")
    key_pair = models.ForeignKey(KeyPair, on_delete=models.SET_NULL, null=True, blank=True)
    key_name = models.CharField(max_length=255, blank=True, default="")
    key_fingerprint = models.CharField(max_length=100, blank=True, default="")
    server_group = models.ForeignKey(ServerGroup, on_delete=models.SET_NULL, null=True, blank=True)
    security_groups = models.ManyToManyField(SecurityGroup, blank=True)
    user_data = models.TextField(blank=True, default="", help_text="Given to cloud-init as it is; at most 64 KiB.")
    availability_zone = models.CharField(max_length=100, blank=True, default="")
    hypervisor_hostname = models.CharField(
        max_length=255, blank=True, default="", help_text="Only administrators see it."
    )
    launched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_related_name = "instances"
        ordering = ["name"]

    @property
    def boot_volume(self) -> Volume | None:
        """The volume the server boots from: the oldest bootable one, None when there is none."""
        return self.volumes.filter(bootable=True).order_by("pk").first()

    @property
    def data_volumes(self) -> QuerySet[Volume]:
        """All volumes but the boot volume, the oldest first; in this order they become vdb, vdc and so on."""
        boot = self.boot_volume
        volumes = self.volumes.order_by("pk")
        return volumes if boot is None else volumes.exclude(pk=boot.pk)
