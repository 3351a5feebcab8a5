"""What the demo works on: a simulated cloud, the rows of what it offers, and the rows of an instance to be created."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import openstack
from django.conf import settings
from openstack.connection import Connection

from django_executors.states import ResourceState
from django_executors_openstack.models import (
    Cloud,
    Flavor,
    FloatingIP,
    Image,
    Instance,
    KeyPair,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    ServerGroup,
    Tenant,
    Volume,
)
from openstack_simulator import Simulator

__all__ = [
    "CLOUDS_YAML",
    "SERVER_SECONDS",
    "VOLUME_SECONDS",
    "Scene",
    "describe_instance",
    "pull_tenant",
    "simulated_cloud",
]

CLOUDS_YAML = Path(settings.DEMO_DIR) / "clouds.yaml"
VOLUME_SECONDS, SERVER_SECONDS = 1.5, 4.0
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBt5dsBZV3c4vXQv2m7rZrbE0s6d3m0cYQmJ0lEx2xkP ann@laptop"


class Scene(NamedTuple):
    """A running cloud and the ways into it."""

    simulator: Simulator
    cloud_name: str
    """Name of the credentials in clouds.yaml; the plugin signs in with it."""
    sdk: Connection
    """A connection of our own, to check the plugin's work with."""


@contextmanager
def simulated_cloud(cloud_name: str) -> Iterator[Scene]:
    """Run a cloud on a free port in threads of this process, with two networks for the project."""
    simulator = Simulator(volume_seconds=VOLUME_SECONDS, server_seconds=SERVER_SECONDS, latency=0.01)
    with simulator:
        simulator.write_clouds_yaml(CLOUDS_YAML, cloud_name)
        sdk = openstack.connect(**simulator.connection_kwargs())
        backstage = sdk.network.create_network(name="backstage")
        sdk.network.create_subnet(network_id=backstage.id, ip_version=4, cidr="10.30.0.0/24", name="backstage-subnet")
        try:
            yield Scene(simulator, cloud_name, sdk)
        finally:
            sdk.close()


def pull_tenant(cloud_name: str) -> Tenant:
    """Make rows of the project and of everything it can use: the backend reads them from the cloud."""
    cloud = Cloud.objects.create(name=cloud_name, cloud_name=cloud_name, state=ResourceState.OK)
    tenant = Tenant.objects.create(cloud=cloud, name="demo", state=ResourceState.OK)
    tenant.get_backend().pull_properties()
    tenant.refresh_from_db()
    return tenant


def describe_instance(tenant: Tenant) -> Instance:
    """Write down the instance that is wanted; nothing here talks to the cloud.

    Every row without ``backend_id`` that names the instance becomes a part of its creation.
    """
    image = Image.objects.get(tenant=tenant)
    flavor = Flavor.objects.get(tenant=tenant, name="m1.small")

    firewall = SecurityGroup.objects.create(tenant=tenant, name="web-1", description="SSH and HTTPS")
    for number in (22, 443):
        SecurityGroupRule.objects.create(
            security_group=firewall, protocol="tcp", port_range_min=number, port_range_max=number
        )
    instance = Instance.objects.create(
        tenant=tenant,
        name="web-1",
        flavor=flavor,
        image=image,
        key_pair=KeyPair.objects.create(tenant=tenant, name="ann", public_key=PUBLIC_KEY),
        server_group=ServerGroup.objects.create(tenant=tenant, name="apart"),
    )
    instance.security_groups.add(firewall)

    Volume.objects.create(tenant=tenant, name="boot", size=20, image=image, bootable=True, instance=instance)
    Volume.objects.create(tenant=tenant, name="data-1", size=10, instance=instance)
    Volume.objects.create(tenant=tenant, name="data-2", size=50, instance=instance)
    for name, network_name in (("eth0", "private"), ("eth1", "backstage")):
        network = Network.objects.get(tenant=tenant, name=network_name)
        port = Port.objects.create(
            tenant=tenant, name=name, network=network, subnet=network.subnets.get(), instance=instance
        )
        port.security_groups.add(firewall)
    FloatingIP.objects.create(
        tenant=tenant,
        name="web-1",
        port=instance.ports.get(network__name="private"),
        external_network_id=tenant.external_network_id,
    )
    return instance
