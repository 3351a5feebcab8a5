"""How a server is connected to a network."""

from __future__ import annotations

from django.db import models

from django_executors.models import RuntimeStateMixin

from .instance import Instance
from .network import Network, Subnet
from .security_group import SecurityGroup
from .tenant import TenantResource

__all__ = ["Port"]


class Port(RuntimeStateMixin, TenantResource):
    """A Neutron port. Its addresses are chosen by Neutron in ``subnet`` unless ``fixed_ips`` names them."""

    network = models.ForeignKey(Network, on_delete=models.PROTECT)
    subnet = models.ForeignKey(Subnet, on_delete=models.PROTECT, null=True, blank=True)
    instance = models.ForeignKey(Instance, on_delete=models.SET_NULL, null=True, blank=True)
    mac_address = models.CharField(max_length=40, blank=True, default="")
    fixed_ips = models.JSONField(
        default=list, blank=True, help_text='Addresses, as Neutron has them: a list of {"ip_address", "subnet_id"}.'
    )
    security_groups = models.ManyToManyField(SecurityGroup, blank=True)
    device_id = models.CharField(max_length=255, blank=True, default="", help_text="Id of the server or router on it.")
    device_owner = models.CharField(max_length=100, blank=True, default="", help_text='For example "compute:nova".')

    class Meta:
        default_related_name = "ports"
        ordering = ["pk"]
