"""Networks and the subnets in them."""

from __future__ import annotations

from django.db import models

from django_executors.models import RuntimeStateMixin

from .tenant import TenantResource

__all__ = ["Network", "Subnet"]


class Network(RuntimeStateMixin, TenantResource):
    """A network a project can use: its own, a shared or an external one."""

    is_external = models.BooleanField(default=False, help_text="Floating IPs come from it.")
    is_shared = models.BooleanField(default=False, help_text="Other projects see it too.")
    mtu = models.PositiveIntegerField(null=True, blank=True, help_text="Largest packet in bytes.")

    class Meta:
        default_related_name = "networks"
        ordering = ["name"]


class Subnet(TenantResource):
    """A range of addresses in a network."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE)
    cidr = models.CharField(max_length=64, blank=True, default="", help_text='For example "192.168.1.0/24".')
    ip_version = models.PositiveSmallIntegerField(default=4)
    gateway_ip = models.GenericIPAddressField(null=True, blank=True)
    enable_dhcp = models.BooleanField(default=True)
    allocation_pools = models.JSONField(default=list, blank=True, help_text='List of {"start": ip, "end": ip}.')
    dns_nameservers = models.JSONField(default=list, blank=True, help_text="List of addresses.")

    class Meta:
        default_related_name = "subnets"
        ordering = ["name"]
