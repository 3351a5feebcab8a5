"""Public addresses."""

from __future__ import annotations

from django.db import models

from django_executors.models import ActionMixin, RuntimeStateMixin

from .port import Port
from .tenant import TenantResource

__all__ = ["FloatingIP"]


class FloatingIP(ActionMixin, RuntimeStateMixin, TenantResource):
    """An address of an external network that leads to a port. ``runtime_state`` is Neutron's: ``"ACTIVE"`` or ``"DOWN"``."""

    port = models.ForeignKey(Port, on_delete=models.SET_NULL, null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    external_network_id = models.CharField(
        max_length=255, blank=True, default="", help_text="Id of the network it comes from; empty: the tenant's."
    )

    class Meta:
        default_related_name = "floating_ips"
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.address or self.name or f"floating IP {self.pk}"
