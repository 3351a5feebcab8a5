"""Which packets may reach a port."""

from __future__ import annotations

from typing import Any

from django.db import models

from django_executors.models import BackendMixin

from .tenant import TenantResource

__all__ = ["SecurityGroup", "SecurityGroupRule"]


class SecurityGroup(TenantResource):
    """A named set of rules that ports can have."""

    class Meta:
        default_related_name = "security_groups"
        ordering = ["name"]


class SecurityGroupRule(BackendMixin, models.Model):
    """One kind of packet that a group lets through."""

    class Direction(models.TextChoices):
        INGRESS = "ingress", "to the server"
        EGRESS = "egress", "from the server"

    security_group = models.ForeignKey(SecurityGroup, on_delete=models.CASCADE, related_name="rules")
    direction = models.CharField(max_length=8, choices=Direction.choices, default=Direction.INGRESS)
    ethertype = models.CharField(max_length=8, default="IPv4", help_text='"IPv4" or "IPv6".')
    protocol = models.CharField(max_length=40, blank=True, default="", help_text='For example "tcp"; empty: any.')
    port_range_min = models.IntegerField(null=True, blank=True, help_text="First port, or ICMP type.")
    port_range_max = models.IntegerField(null=True, blank=True, help_text="Last port, or ICMP code.")
    remote_ip_prefix = models.CharField(
        max_length=64, blank=True, default="", help_text="The other end, as a CIDR; empty: any."
    )
    remote_group = models.ForeignKey(
        SecurityGroup,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The other end, as the ports of a group.",
    )
    description = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        ports = "" if self.port_range_min is None else f" {self.port_range_min}-{self.port_range_max}"
        return f"{self.direction} {self.ethertype} {self.protocol or 'any'}{ports}"

    def get_backend(self) -> Any:
        """Return the backend of the group."""
        return self.security_group.get_backend()

    def get_backend_key(self) -> str:
        """Return the backend key of the group."""
        return self.security_group.get_backend_key()
