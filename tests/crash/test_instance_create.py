"""The process is killed at every commit and after every request of an instance create: the end is the same each time."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection

from django_executors.models import Claim, Operation, Slot
from django_executors.states import ResourceState
from django_executors_openstack.backend.session import forget_connections
from django_executors_openstack.executors.instances import InstanceCreateExecutor
from django_executors_openstack.models import (
    Cloud,
    Flavor,
    FloatingIP,
    Image,
    Instance,
    KeyPair,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    ServerGroup,
    Subnet,
    Tenant,
    Volume,
)
from tests.crash.driving import count_points, drive_to_end, run_and_kill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

SHARES = 8
"""The points are dealt out to so many tests, so that they can run side by side."""

STRIDE = 1 if connection.vendor == "sqlite" else 17
"""Every point on SQLite; elsewhere every 17th of a share, which is enough to see whether the database makes a difference."""

PUBLIC_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 crash@test"


def clear_rows() -> None:
    """Delete all operations and all rows of the plugin."""
    Operation.objects.all().delete()
    Claim.objects.all().delete()
    models = list(apps.get_app_config("django_executors_openstack").get_models())
    for model in (FloatingIP, Volume, Port, Instance, SecurityGroupRule, SecurityGroup, ServerGroup, KeyPair):
        model.objects.all().delete()
    while models:
        for model in list(models):
            try:
                model.objects.all().delete()
                models.remove(model)
            except Exception as error:
                if type(error).__name__ != "ProtectedError":
                    raise


def make_scene() -> Instance:
    """Rows of a tenant as the cloud has it, and of an instance that is still to be created."""
    cloud = Cloud.objects.create(name="simulator", cloud_name="simulator", state=ResourceState.OK)
    tenant = Tenant.objects.create(cloud=cloud, name="demo", state=ResourceState.OK)
    backend = tenant.get_backend()
    for pull in ("pull_flavors", "pull_images", "pull_networks", "pull_subnets", "detect_external_network"):
        getattr(backend, pull)()
    image, flavor, subnet = (
        Image.objects.get(),
        Flavor.objects.get(name="m1.small"),
        Subnet.objects.get(cidr="10.20.0.0/20"),
    )
    group = SecurityGroup.objects.create(tenant=tenant, name="ssh")
    SecurityGroupRule.objects.create(security_group=group, protocol="tcp", port_range_min=22, port_range_max=22)
    hosts = ServerGroup.objects.create(tenant=tenant, name="apart")
    key = KeyPair.objects.create(tenant=tenant, name="ann", public_key=PUBLIC_KEY)
    instance = Instance.objects.create(
        tenant=tenant, name="web-1", flavor=flavor, image=image, key_pair=key, server_group=hosts
    )
    instance.security_groups.add(group)
    Volume.objects.create(tenant=tenant, name="boot", size=20, image=image, bootable=True, instance=instance)
    for number in (1, 2):
        Volume.objects.create(tenant=tenant, name=f"data-{number}", size=number, instance=instance)
        port = Port.objects.create(
            tenant=tenant, name=f"port-{number}", network=subnet.network, subnet=subnet, instance=instance
        )
        port.security_groups.add(group)
    FloatingIP.objects.create(
        tenant=tenant, port=instance.ports.first(), external_network_id=tenant.external_network_id
    )
    return instance


def run() -> None:
    """Drive the one instance create to its end."""
    drive_to_end(Operation.objects.get(parent=None))


@pytest.fixture
def begin(simulator, clouds_yaml):
    """Begin with a new cloud and new rows, and an opened operation."""

    def begin() -> tuple[Instance, Operation]:
        clear_rows()
        simulator.reset()
        forget_connections()
        instance = make_scene()
        operation = InstanceCreateExecutor.execute(
            instance, ssh_key=instance.key_pair, flavor=instance.flavor, server_group=instance.server_group
        )
        forget_connections()
        return instance, operation

    return begin


def assert_all_is_well(simulator, instance: Instance, operation: Operation, at: str) -> None:
    """One server with its parts, every row OK, and nothing else in the cloud."""
    operation.refresh_from_db()
    assert operation.state == "succeeded", (at, operation.error, operation.error_traceback)
    assert not Operation.objects.exclude(state="succeeded").exists(), at
    assert not Claim.objects.exists(), at
    assert not Slot.objects.exists(), at
    cloud = simulator.cloud
    (server,) = cloud.servers
    instance.refresh_from_db()
    assert (instance.backend_id, instance.runtime_state, instance.state) == (server.id, "ACTIVE", "ok"), at
    for rows, objects in (
        (Volume.objects.all(), cloud.volumes),
        (Port.objects.all(), [port for port in cloud.ports if not port.device_owner.startswith("network:")]),
        (FloatingIP.objects.all(), cloud.floating_ips),
        (ServerGroup.objects.all(), cloud.compute.server_groups),
        (SecurityGroup.objects.filter(name="ssh"), [group for group in cloud.security_groups if group.name == "ssh"]),
    ):
        assert sorted(row.backend_id for row in rows) == sorted(item.id for item in objects), (at, rows.model.__name__)
        assert {row.state for row in rows} == {"ok"}, (at, rows.model.__name__)
    assert {volume.runtime_state for volume in Volume.objects.all()} == {"in-use"}, at
    assert sorted(Volume.objects.values_list("device", flat=True)) == ["/dev/vda", "/dev/vdb", "/dev/vdc"], at
    assert {port.device_id for port in Port.objects.all()} == {server.id}, at
    (floating_ip,) = FloatingIP.objects.all()
    assert floating_ip.address, at
    assert floating_ip.runtime_state == "ACTIVE", at


def test_an_instance_create_that_nobody_disturbs_ends_well(begin, simulator):
    instance, operation = begin()
    run()
    assert_all_is_well(simulator, instance, operation, "undisturbed")


@pytest.mark.parametrize("share", range(SHARES))
def test_an_instance_create_killed_at_any_point_ends_the_same(begin, simulator, share):
    # The first create of a process passes fewer points than all later ones, so it does not count.
    begin()
    run()
    begin()
    points = count_points(run)
    assert len(points) > 150, "an instance create passes fewer points than it should: does the plan still do its work?"
    chosen = range(share, len(points), SHARES * STRIDE)
    killed = 0
    for at in chosen:
        instance, operation = begin()
        killed += run_and_kill(run, at)
        run()
        assert_all_is_well(simulator, instance, operation, f"killed at point {at}: {points[at]}")
    # Runs differ by a request or two (a poll that comes early finds nothing yet), so the last points may lie past the end.
    assert killed >= len(chosen) - 2
