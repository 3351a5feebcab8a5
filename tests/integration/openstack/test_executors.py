"""Executors end to end against a simulated cloud, run here and now through the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_executors.exceptions import OperationConflict, PlanError
from django_executors.models import Claim, Operation
from django_executors_openstack.executors import (
    FloatingIPAttachExecutor,
    FloatingIPCreateExecutor,
    FloatingIPDetachExecutor,
    InstanceCreateExecutor,
    InstanceDeleteExecutor,
    InstancePullExecutor,
    InstanceStartExecutor,
    InstanceStopExecutor,
    PortCreateExecutor,
    PortDeleteExecutor,
    SecurityGroupCreateExecutor,
    SecurityGroupDeleteExecutor,
    VolumeAttachExecutor,
    VolumeCreateExecutor,
    VolumeDeleteExecutor,
    VolumeDetachExecutor,
    VolumePullExecutor,
)
from django_executors_openstack.models import (
    Flavor,
    FloatingIP,
    Instance,
    KeyPair,
    Port,
    SecurityGroup,
    ServerGroup,
    Tenant,
    Volume,
)
from openstack_simulator import Pace, Simulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick_polls")]


def run(executor: Any, resource: Any, **kwargs: Any) -> Operation:
    operation = executor.execute(resource, is_async=False, **kwargs)
    assert not operation.is_open
    assert not Claim.objects.exists(), "an operation that ended holds nothing"
    return operation  # type: ignore[no-any-return]


def succeed(executor: Any, resource: Any, **kwargs: Any) -> Operation:
    operation = run(executor, resource, **kwargs)
    assert operation.state == "succeeded", operation.error
    return operation


def states(instance: Instance) -> dict[str, str]:
    """The states of a server's row and the rows of its parts."""
    instance = Instance.objects.get(pk=instance.pk)
    parts = [
        instance,
        *instance.volumes.order_by("pk"),
        *instance.ports.order_by("pk"),
        *FloatingIP.objects.filter(port__instance=instance),
    ]
    return {str(part.name or part._meta.verbose_name): part.state for part in parts}


@pytest.fixture
def server(make_instance: Callable[..., Instance]) -> Instance:
    """A server in the cloud with two data volumes and a floating IP."""
    instance = make_instance()
    succeed(InstanceCreateExecutor, instance)
    instance.refresh_from_db()
    return instance


# -- creating a server --------------------------------------------------------------------------------------------------


def test_a_server_with_all_its_parts(
    tenant: Tenant, make_instance: Callable[..., Instance], key_pair: KeyPair, simulator: Simulator
) -> None:
    group = ServerGroup.objects.create(tenant=tenant, name="apart", policy="anti-affinity")
    security_group = SecurityGroup.objects.create(tenant=tenant, name="db")
    security_group.rules.create(protocol="tcp", port_range_min=5432, port_range_max=5432)
    instance = make_instance(ports=2, floating_ips=2)
    instance.ports.first().security_groups.add(security_group)
    medium = Flavor.objects.get(name="m1.medium")

    succeed(InstanceCreateExecutor, instance, ssh_key=key_pair, flavor=medium, server_group=group)

    instance.refresh_from_db()
    assert set(states(instance).values()) == {"ok"}
    assert (instance.runtime_state, instance.flavor, instance.cores) == ("ACTIVE", medium, 2)
    assert (instance.key_name, instance.server_group, instance.error_message) == ("ada", group, "")
    assert {one.name for one in instance.security_groups.all()} == {"web", "db"}
    assert [volume.device for volume in instance.volumes.order_by("pk")] == ["/dev/vda", "/dev/vdb", "/dev/vdc"]
    assert {volume.runtime_state for volume in instance.volumes.all()} == {"in-use"}
    assert [port.device_id for port in instance.ports.all()] == [instance.backend_id] * 2
    addresses = FloatingIP.objects.filter(port__instance=instance)
    assert {one.runtime_state for one in addresses} == {"ACTIVE"}
    assert {one.address for one in addresses} == {
        one.floating_ip_address for one in simulator.cloud.network.floating_ips
    }
    for model, there in (
        (Volume, simulator.cloud.volumes),
        (Instance, simulator.cloud.servers),
        (FloatingIP, simulator.cloud.floating_ips),
    ):
        assert {row.backend_id for row in model.objects.all()} == {record.id for record in there}


def test_what_is_in_the_cloud_already_is_used_as_it_is(
    tenant: Tenant, make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance(data_volumes=1)
    address = FloatingIP.objects.get()
    port = address.port
    for volume in instance.volumes.all():
        succeed(VolumeCreateExecutor, volume)
    FloatingIP.objects.update(port=None)

    address.refresh_from_db()
    succeed(FloatingIPCreateExecutor, address)
    succeed(PortCreateExecutor, port)
    FloatingIP.objects.update(port=port)
    simulator.forget_counts()

    succeed(InstanceCreateExecutor, instance)

    assert set(states(instance).values()) == {"ok"}
    assert simulator.requests.count("block_storage", "POST", "/volumes") == 0
    assert simulator.requests.count("network", "POST") == 0
    address.refresh_from_db()
    assert (address.port, address.runtime_state) == (port, "ACTIVE")


def test_volumes_are_created_in_parallel_and_not_more_than_the_limit(
    tenant: Tenant, make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    tenant.provision_limits = {"volume": 2}
    tenant.save()
    simulator.lifecycle.paces["volume.create"] = Pace.after(0.4)
    instance = make_instance(data_volumes=4)
    succeed(InstanceCreateExecutor, instance)
    assert simulator.lifecycle.peak_building["volume"] == 2


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda instance: Instance.objects.filter(pk=instance.pk).update(flavor=None), "flavor"),
        (lambda instance: instance.volumes.update(bootable=False), "bootable"),
        (lambda instance: instance.ports.all().update(instance=None), "port"),
        (lambda instance: Instance.objects.filter(pk=instance.pk).update(user_data="x" * 65536), "64 KiB"),
        (lambda instance: instance.volumes.update(size=0), "1 GiB"),
        (lambda instance: Tenant.objects.update(external_network_id=""), "external_network_id"),
    ],
)
def test_a_row_that_cannot_become_a_server_is_refused_before_anything_is_written(
    spoil: Any, match: str, make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance()
    spoil(instance)
    instance = Instance.objects.get(pk=instance.pk)
    simulator.requests.clear()
    with pytest.raises(PlanError, match=match):
        InstanceCreateExecutor.execute(instance, is_async=False)
    assert not Operation.objects.exists()
    assert set(states(instance).values()) == {"creation_scheduled"}
    assert simulator.requests.count() == 0


# -- when it fails --------------------------------------------------------------------------------------------------------


def test_a_server_in_error_leaves_its_parts_ok_and_says_why(
    make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance()
    simulator.faults.add(service="compute", method="POST", path="/servers$", error_state="No valid host was found.")
    operation = run(InstanceCreateExecutor, instance)
    assert operation.state == "failed"
    instance.refresh_from_db()
    found = states(instance)
    assert found.pop("web-1") == "erred"
    address = FloatingIP.objects.get()
    assert found.pop("floating ip" if not address.name else address.name) == "erred"
    assert set(found.values()) == {"ok"}
    assert "No valid host was found." in instance.error_message
    assert "req-" in instance.error_message
    assert instance.runtime_state == "ERROR"
    assert "not started" in address.error_message


def test_a_quota_stops_the_creation_with_the_clouds_words(
    make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance(data_volumes=2)
    Volume.objects.filter(name="web-1-data-2").update(size=5000)
    operation = run(InstanceCreateExecutor, instance)
    assert operation.state == "failed"
    instance.refresh_from_db()
    found = states(instance)
    assert (found["web-1"], found["web-1-data-2"], found["web-1-boot"]) == ("erred", "erred", "ok")
    assert found["web-1-port-1"] == "erred"
    bad = Volume.objects.get(name="web-1-data-2")
    assert "quota" in bad.error_message
    assert "quota" in instance.error_message
    assert bad.backend_id == ""
    assert len(simulator.cloud.servers) == 0


def test_a_failed_server_is_deleted_with_what_it_left(
    make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance()
    ports_before = len(simulator.cloud.ports)
    simulator.faults.add(service="compute", method="POST", path="/servers$", error_state="No valid host was found.")
    run(InstanceCreateExecutor, instance)
    instance.refresh_from_db()
    succeed(InstanceDeleteExecutor, instance)
    assert [model.objects.count() for model in (Instance, Volume, Port, FloatingIP)] == [0, 0, 0, 0]
    assert (len(simulator.cloud.servers), len(simulator.cloud.volumes)) == (0, 0)
    assert len(simulator.cloud.ports) == ports_before


def test_lost_answers_and_a_shaky_cloud_leave_one_of_each(
    make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance()
    before = len(simulator.cloud.ports)
    faults = []
    for service in ("compute", "block_storage", "network"):
        faults.append(simulator.faults.add(service=service, method="POST", lose_answer=True, count=2))
        faults.append(simulator.faults.add(service=service, method="GET", status=503, count=3))
    succeed(InstanceCreateExecutor, instance)
    assert [fault.hits for fault in faults] == [2, 3] * 3
    assert set(states(instance).values()) == {"ok"}
    cloud = simulator.cloud
    assert (len(cloud.servers), len(cloud.volumes), len(cloud.floating_ips)) == (1, 3, 1)
    assert len([port for port in cloud.ports if port.device_owner.startswith("compute")]) == 1
    assert len(cloud.ports) - before == Port.objects.count() == 1


# -- deleting a server ---------------------------------------------------------------------------------------------------


def test_a_server_goes_with_everything_of_its_own(server: Instance, simulator: Simulator) -> None:
    before = len(simulator.cloud.ports)
    succeed(InstanceDeleteExecutor, server)
    assert [model.objects.count() for model in (Instance, Volume, Port, FloatingIP)] == [0, 0, 0, 0]
    cloud = simulator.cloud
    assert (len(cloud.servers), len(cloud.volumes), len(cloud.floating_ips)) == (0, 0, 0)
    assert len(cloud.ports) == before - 1


def test_data_volumes_and_addresses_can_be_kept(server: Instance, simulator: Simulator) -> None:
    succeed(InstanceDeleteExecutor, server, delete_volumes=False, release_floating_ips=False)
    assert not Instance.objects.exists()
    assert not Port.objects.exists()
    kept = Volume.objects.order_by("pk")
    assert [volume.name for volume in kept] == ["web-1-data-1", "web-1-data-2"]
    assert {(volume.state, volume.runtime_state, volume.device) for volume in kept} == {("ok", "available", "")}
    address = FloatingIP.objects.get()
    assert (address.state, address.runtime_state, address.port) == ("ok", "DOWN", None)
    assert (len(simulator.cloud.volumes), len(simulator.cloud.floating_ips)) == (2, 1)


def test_a_server_that_never_reached_the_cloud_goes_without_a_request(
    make_instance: Callable[..., Instance], simulator: Simulator
) -> None:
    instance = make_instance()
    for row in (instance, *Volume.objects.all(), *Port.objects.all(), *FloatingIP.objects.all()):
        row.set_erred()
        row.save()
    simulator.requests.clear()
    succeed(InstanceDeleteExecutor, instance)
    assert [model.objects.count() for model in (Instance, Volume, Port, FloatingIP)] == [0, 0, 0, 0]
    assert simulator.requests.count() == 0


def test_a_failed_delete_keeps_the_row(server: Instance, simulator: Simulator) -> None:
    simulator.faults.add(service="compute", method="DELETE", path="/servers/", status=409, message="locked by admin")
    assert run(InstanceDeleteExecutor, server).state == "failed"
    server.refresh_from_db()
    assert server.state == "erred"
    assert "locked by admin" in server.error_message
    assert server.backend_id in simulator.cloud.servers
    assert {row.state for row in (*Volume.objects.all(), *Port.objects.all())} == {"ok"}
    simulator.faults.clear()
    succeed(InstanceDeleteExecutor, server)
    assert not Instance.objects.exists()


def test_force_drops_the_row_though_the_cloud_fails(server: Instance, simulator: Simulator) -> None:
    simulator.faults.add(service="compute", method="DELETE", path="/servers/", status=409, message="locked by admin")
    assert run(InstanceDeleteExecutor, server, force=True).state == "failed"
    assert not Instance.objects.exists()
    assert Volume.objects.count() == 3, "what the cloud still has keeps its rows"


def test_a_server_that_somebody_else_deleted_goes(server: Instance, simulator: Simulator, tenant: Tenant) -> None:
    cloud = tenant.get_backend().cloud
    cloud.compute.delete_server(server.backend_id)
    succeed(InstanceDeleteExecutor, server)
    assert not Instance.objects.exists()
    assert len(simulator.cloud.volumes) == 0


# -- acting on what is there ------------------------------------------------------------------------------------------------


def test_stopping_starting_and_pulling(server: Instance, simulator: Simulator) -> None:
    for executor, status in ((InstanceStopExecutor, "SHUTOFF"), (InstanceStartExecutor, "ACTIVE")):
        succeed(executor, server)
        server.refresh_from_db()
        assert (server.state, server.runtime_state, server.action) == ("ok", status, executor.action)
    Instance.objects.update(cores=99, runtime_state="?")
    Port.objects.update(mac_address="")
    server.refresh_from_db()
    succeed(InstancePullExecutor, server)
    server.refresh_from_db()
    assert (server.cores, server.runtime_state) == (1, "ACTIVE")
    assert server.ports.get().mac_address


def test_a_volume_from_creation_to_deletion(
    make_volume: Callable[..., Volume], server: Instance, simulator: Simulator
) -> None:
    volume = make_volume("late", size=2)
    for executor, kwargs, wanted in (
        (VolumeCreateExecutor, {}, "available"),
        (VolumeAttachExecutor, {"server": server}, "in-use"),
        (VolumePullExecutor, {}, "in-use"),
        (VolumeDetachExecutor, {}, "available"),
    ):
        succeed(executor, volume, **kwargs)
        volume.refresh_from_db()
        assert (volume.state, volume.runtime_state) == ("ok", wanted)
        assert volume.device == ("/dev/vdd" if wanted == "in-use" else "")
        assert volume.instance == (server if wanted == "in-use" else None)
    succeed(VolumeDeleteExecutor, volume)
    assert not Volume.objects.filter(pk=volume.pk).exists()
    assert len(simulator.cloud.volumes) == 3


def test_a_volume_in_use_is_not_deleted_and_stays_ours(server: Instance, simulator: Simulator) -> None:
    volume = server.data_volumes.first()
    assert run(VolumeDeleteExecutor, volume).state == "failed"
    volume.refresh_from_db()
    assert volume.state == "erred"
    assert "attached" in volume.error_message
    assert volume.backend_id in simulator.cloud.volumes


def test_a_volume_that_fails_in_the_cloud_is_erred(make_volume: Callable[..., Volume], simulator: Simulator) -> None:
    simulator.faults.add(service="block_storage", method="POST", error_state="no space left")
    volume = make_volume()
    assert run(VolumeCreateExecutor, volume).state == "failed"
    volume.refresh_from_db()
    assert (volume.state, volume.runtime_state) == ("erred", "error")
    assert volume.backend_id in simulator.cloud.volumes
    assert "is error" in volume.error_message


def test_an_address_goes_from_one_port_to_another(server: Instance, make_port: Callable[..., Port]) -> None:
    address = FloatingIP.objects.get()
    succeed(FloatingIPDetachExecutor, address)
    address.refresh_from_db()
    assert (address.port, address.runtime_state) == (None, "DOWN")
    succeed(FloatingIPAttachExecutor, address, port=server.ports.get())
    address.refresh_from_db()
    assert (address.port, address.runtime_state) == (server.ports.get(), "ACTIVE")


def test_a_security_group_in_use_is_not_deleted(tenant: Tenant, make_port: Callable[..., Port]) -> None:
    group = SecurityGroup.objects.create(tenant=tenant, name="db")
    succeed(SecurityGroupCreateExecutor, group)
    port = make_port(name="p")
    port.security_groups.add(group)

    succeed(PortCreateExecutor, port)
    group.refresh_from_db()
    assert run(SecurityGroupDeleteExecutor, group).state == "failed"
    port.refresh_from_db()
    group.refresh_from_db()
    succeed(PortDeleteExecutor, port)
    succeed(SecurityGroupDeleteExecutor, group)
    assert not SecurityGroup.objects.filter(pk=group.pk).exists()


def test_while_a_server_is_created_its_parts_are_held(make_instance: Callable[..., Instance]) -> None:
    instance = make_instance()
    InstanceCreateExecutor.execute(instance)
    with pytest.raises(OperationConflict):
        VolumeCreateExecutor.execute(instance.volumes.first())
