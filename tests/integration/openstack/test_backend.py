"""Backend methods against a simulated cloud: each may run twice, and none leaves two objects or a lie behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from django_executors.context import StepContext, step_context
from django_executors.exceptions import (
    BackendError,
    BackendNotFound,
    BackendRejected,
    BackendThrottled,
    BackendUnavailable,
    ConfigurationError,
    LeaseLost,
    OutcomeUnknown,
)
from django_executors_openstack.backend import OpenStackBackend
from django_executors_openstack.models import (
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
    Subnet,
    Tenant,
    Volume,
    VolumeType,
)
from openstack_simulator import Pace, Simulator

pytestmark = pytest.mark.django_db

Attempt = Callable[..., Any]


def until(check: Callable[[], Any]) -> None:
    """Wait for the simulated cloud to finish what it is doing."""
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


@pytest.fixture
def running(backend: OpenStackBackend, make_instance: Callable[..., Instance], attempt: Attempt) -> Instance:
    """A server that runs, made by calling the backend's methods one by one."""
    instance = make_instance(data_volumes=1)
    for volume in instance.volumes.all():
        attempt(backend.create_volume, volume, key=f"ex-volume-{volume.pk}")
        until(lambda volume=volume: (backend.pull_volume_runtime_state(volume), volume.runtime_state == "available")[1])
    for port in instance.ports.all():
        attempt(backend.create_port, port, key=f"ex-port-{port.pk}")
    attempt(backend.create_instance, instance, key="ex-server")
    until(lambda: (backend.pull_instance_runtime_state(instance), instance.runtime_state == "ACTIVE")[1])
    return instance


# -- what the cloud offers -------------------------------------------------------------------------------------------------


def test_pulling_brings_rows_of_all_the_cloud_offers(tenant: Tenant, simulator: Simulator) -> None:
    assert tenant.runtime_state == "enabled"
    flavor = Flavor.objects.get(tenant=tenant, name="m1.medium")
    assert (flavor.cores, flavor.ram, flavor.disk) == (2, 4096, 40)
    assert Image.objects.filter(tenant=tenant, name="tiny", runtime_state="active").exists()
    assert set(VolumeType.objects.filter(tenant=tenant).values_list("name", flat=True)) >= {"fake-ssd", "fake-hdd"}
    public, private = Network.objects.get(name="public"), Network.objects.get(name="private")
    assert (public.is_external, private.is_external) == (True, False)
    assert tenant.external_network_id == public.backend_id
    assert Subnet.objects.get(network=private).cidr == "10.20.0.0/20"
    web = SecurityGroup.objects.get(tenant=tenant, name="web")
    assert {22, 80} <= set(web.rules.filter(direction="ingress").values_list("port_range_min", flat=True))


def test_pulling_twice_changes_nothing(tenant: Tenant, backend: OpenStackBackend) -> None:
    def rows() -> list[Any]:
        models = (Flavor, Image, VolumeType, Network, Subnet, SecurityGroup, SecurityGroupRule)
        return [list(model.objects.order_by("pk").values_list("pk", "backend_id")) for model in models]

    before = rows()
    backend.pull_properties()
    assert rows() == before


def test_what_is_no_longer_offered_goes(tenant: Tenant, backend: OpenStackBackend, simulator: Simulator) -> None:
    with simulator.cloud.held() as cloud:
        cloud.compute.flavors._records.pop("3")
    backend.pull_flavors()
    assert set(Flavor.objects.values_list("name", flat=True)) == {"m1.tiny", "m1.small"}


def test_a_resource_that_is_gone_keeps_its_row_and_says_so(
    tenant: Tenant,
    backend: OpenStackBackend,
    simulator: Simulator,
    make_volume: Callable[..., Volume],
    attempt: Attempt,
) -> None:
    volume = make_volume(state="ok")
    attempt(backend.create_volume, volume)
    simulator.cloud.block_storage.volumes._records.clear()
    backend.pull_volumes()
    volume.refresh_from_db()
    assert volume.runtime_state == "not found"


def test_a_pull_leaves_alone_what_an_operation_is_changing(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], attempt: Attempt
) -> None:
    volume = make_volume(state="creating")
    attempt(backend.create_volume, volume)
    Volume.objects.update(name="renamed")
    backend.pull_volumes()
    volume.refresh_from_db()
    assert (Volume.objects.count(), volume.name, volume.state) == (1, "renamed", "creating")


def test_a_pull_makes_rows_of_what_others_made(
    tenant: Tenant, backend: OpenStackBackend, make_volume: Callable[..., Volume], attempt: Attempt
) -> None:
    attempt(backend.create_volume, make_volume(size=3))
    Volume.objects.all().delete()
    backend.pull_volumes()
    found = Volume.objects.get(tenant=tenant)
    assert (found.size, found.state, found.name) == (3, "ok", "data-1")


# -- creating, once ---------------------------------------------------------------------------------------------------------


def kinds(simulator: Simulator) -> dict[str, Any]:
    """The cloud's objects that the creating methods below make."""
    cloud = simulator.cloud
    return {
        "volume": cloud.volumes,
        "server": cloud.servers,
        "floating_ip": cloud.floating_ips,
        "security_group": cloud.security_groups,
        "port": cloud.ports,
        "server_group": cloud.compute.server_groups,
    }


@pytest.fixture
def creations(
    tenant: Tenant,
    backend: OpenStackBackend,
    make_volume: Callable[..., Volume],
    make_port: Callable[..., Port],
) -> dict[str, Callable[[], tuple[Callable[..., None], Any]]]:
    """For each kind of object: the method that makes one, and a row to make it for."""
    return {
        "volume": lambda: (backend.create_volume, make_volume()),
        "floating_ip": lambda: (backend.create_floating_ip, FloatingIP.objects.create(tenant=tenant)),
        "port": lambda: (backend.create_port, make_port(name="p", description="mine")),
        "security_group": lambda: (
            backend.create_security_group,
            SecurityGroup.objects.create(tenant=tenant, name="db", description="PostgreSQL"),
        ),
        "server_group": lambda: (
            backend.create_server_group,
            ServerGroup.objects.create(tenant=tenant, name="apart", policy="anti-affinity"),
        ),
    }


KINDS = ["volume", "floating_ip", "port", "security_group", "server_group"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_answer_is_of_unknown_outcome_and_the_next_attempt_adopts(
    kind: str, creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    method, row = creations[kind]()
    before = len(kinds(simulator)[kind])
    simulator.faults.add(method="POST", lose_answer=True, count=1)
    with pytest.raises(OutcomeUnknown):
        attempt(method, row)
    row.refresh_from_db()
    assert row.backend_id == ""
    assert len(kinds(simulator)[kind]) == before + 1

    attempt(method, row, number=2)
    row.refresh_from_db()
    assert len(kinds(simulator)[kind]) == before + 1
    assert row.backend_id in kinds(simulator)[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_leave_one_object_however_often_they_run(
    kind: str, creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    method, row = creations[kind]()
    before = len(kinds(simulator)[kind])
    for number in (1, 1, 2, 3):
        attempt(method, row, number=number)
    assert len(kinds(simulator)[kind]) == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_that_was_never_stored_is_found_again(
    kind: str, creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    method, row = creations[kind]()
    before = len(kinds(simulator)[kind])
    attempt(method, row)
    made = row.backend_id
    type(row).objects.filter(pk=row.pk).update(backend_id="")
    row.refresh_from_db()
    attempt(method, row, number=2)
    assert row.backend_id == made
    assert len(kinds(simulator)[kind]) == before + 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "server_group"])
def test_of_two_objects_for_one_key_the_younger_goes(
    kind: str, creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    """A request of a worker that was thought dead arrives after the one of its successor."""
    method, row = creations[kind]()
    before = len(kinds(simulator)[kind])
    attempt(method, row)
    older = row.backend_id
    simulator.clock.advance(2)
    simulator.lifecycle.paces["volume.create"] = Pace.after(1)
    row = type(row).objects.get(pk=row.pk)
    row.backend_id, row.fixed_ips = "", []
    attempt(method, row)  # a first attempt does not look, so this is the second object
    younger = row.backend_id
    assert len(kinds(simulator)[kind]) == before + 2

    if kind == "volume":
        # Cinder does not delete what it is still making: the step has to run again, with the older one in its row.
        with pytest.raises(BackendUnavailable, match="second time"):
            attempt(method, row, number=2)
        until(lambda: kinds(simulator)[kind][younger].status == "available")
    attempt(method, row, number=3)
    row.refresh_from_db()
    assert row.backend_id == older != younger
    until(lambda: younger not in kinds(simulator)[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_other_rows_of_the_same_name_are_not_adopted(
    kind: str, creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    method, first = creations[kind]()
    attempt(method, first, key="ex-first")
    _, second = creations[kind]()
    attempt(method, second, key="ex-second", number=2)
    assert first.backend_id != second.backend_id


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "server_group"])
@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ({"status": 403, "message": "Quota exceeded"}, BackendRejected),
        ({"status": 503}, BackendUnavailable),
        ({"status": 429, "retry_after": 2}, BackendThrottled),
        ({"status": 500}, OutcomeUnknown),
        ({"drop_before": True}, OutcomeUnknown),
    ],
)
def test_a_refused_create_leaves_nothing_and_says_why(
    kind: str, fault: dict[str, Any], wanted: type[BackendError], creations: Any, simulator: Simulator, attempt: Attempt
) -> None:
    method, row = creations[kind]()
    before = len(kinds(simulator)[kind])
    simulator.faults.add(method="POST", count=1, **fault)
    with pytest.raises(wanted) as caught:
        attempt(method, row)
    assert type(caught.value) is wanted
    if "message" in fault:
        assert fault["message"] in str(caught.value)
        assert caught.value.request_id.startswith("req-")
    assert len(kinds(simulator)[kind]) == before
    attempt(method, row, number=2)
    assert len(kinds(simulator)[kind]) == before + 1


def test_the_quota_text_of_the_cloud_reaches_the_error(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], attempt: Attempt
) -> None:
    with pytest.raises(BackendRejected, match=r"(?i)quota|exceed") as caught:
        attempt(backend.create_volume, make_volume(size=100_000))
    assert caught.value.status == 413


def test_a_slow_cloud_is_of_unknown_outcome(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], attempt: Attempt, simulator: Simulator
) -> None:
    volume = make_volume()
    simulator.faults.add(method="POST", delay=2.5, count=1)
    with pytest.raises(OutcomeUnknown):
        attempt(backend.create_volume, volume)
    until(lambda: len(simulator.cloud.volumes) == 1)
    attempt(backend.create_volume, volume, number=2)
    assert len(simulator.cloud.volumes) == 1


def test_a_cloud_that_is_down_is_unavailable(tenant: Tenant, simulator: Simulator, make_volume: Any) -> None:
    volume = make_volume()
    simulator.stop()
    try:
        with pytest.raises(BackendUnavailable):
            tenant.get_backend().create_volume(volume)
    finally:
        simulator.start()


def test_a_cloud_that_clouds_yaml_does_not_know_is_a_matter_of_configuration(tenant: Tenant) -> None:
    tenant.cloud_name = "nowhere"
    with pytest.raises(ConfigurationError, match="nowhere"):
        tenant.get_backend().pull_flavors()


# -- who may act ------------------------------------------------------------------------------------------------------------


def test_without_the_lease_no_request_leaves(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], simulator: Simulator
) -> None:
    def lost() -> None:
        raise LeaseLost("another worker has it")

    volume = make_volume()
    backend.pull_flavors()  # signed in
    simulator.requests.clear()
    with step_context(StepContext(ensure_lease=lost)), pytest.raises(LeaseLost):
        backend.create_volume(volume)
    assert simulator.requests.count() == 0


def test_a_lease_that_ends_during_the_request_leaves_the_row_alone(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], simulator: Simulator
) -> None:
    def once() -> None:
        if len(simulator.cloud.volumes):
            raise LeaseLost("the request took too long")

    volume = make_volume()
    with step_context(StepContext(ensure_lease=once)), pytest.raises(LeaseLost):
        backend.create_volume(volume)
    volume.refresh_from_db()
    assert volume.backend_id == ""
    assert len(simulator.cloud.volumes) == 1


def test_every_request_has_a_limit_of_time(backend: OpenStackBackend, simulator: Simulator) -> None:
    backend.pull_flavors()
    simulator.faults.add(service="compute", delay=5, count=1)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        backend.pull_flavors()
    assert time.monotonic() - began < 4


def test_the_sdk_does_not_try_again_by_itself(backend: OpenStackBackend, simulator: Simulator) -> None:
    for service, pull in (
        ("compute", backend.pull_flavors),
        ("block_storage", backend.pull_volume_types),
        ("network", backend.pull_networks),
    ):
        pull()
        fault = simulator.faults.add(service=service, status=503)
        with pytest.raises(BackendUnavailable):
            pull()
        assert fault.hits == 1
        simulator.faults.clear()


def test_threads_share_one_session(tenant: Tenant, simulator: Simulator) -> None:
    backend = tenant.get_backend()
    backend.pull_flavors()
    simulator.requests.clear()
    found: list[Any] = []

    def look() -> None:
        found.append([flavor.id for flavor in tenant.get_backend().cloud.compute.flavors()])

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
    assert simulator.requests.count(service="identity", method="POST") == 0


# -- deleting ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "delete", "check"),
    [
        ("volume", "delete_volume", "is_volume_deleted"),
        ("port", "delete_port", "is_port_deleted"),
        ("floating_ip", "delete_floating_ip", "is_floating_ip_deleted"),
        ("security_group", "delete_security_group", None),
        ("server_group", "delete_server_group", None),
    ],
)
def test_what_is_gone_may_be_deleted_again(
    kind: str,
    delete: str,
    check: str | None,
    creations: Any,
    backend: OpenStackBackend,
    simulator: Simulator,
    attempt: Attempt,
) -> None:
    method, row = creations[kind]()
    attempt(method, row)
    until(lambda: getattr(kinds(simulator)[kind][row.backend_id], "status", "") != "creating")
    attempt(getattr(backend, delete), row)
    attempt(getattr(backend, delete), row, number=2)
    until(lambda: row.backend_id not in kinds(simulator)[kind])
    attempt(getattr(backend, delete), row, number=3)
    if check:
        assert getattr(backend, check)(row) is True


def test_what_was_never_made_is_gone(backend: OpenStackBackend, creations: Any, simulator: Simulator) -> None:
    _, volume = creations["volume"]()
    simulator.requests.clear()
    backend.delete_volume(volume)
    assert backend.is_volume_deleted(volume) is True
    assert simulator.requests.count() == 0


def test_a_volume_in_use_is_not_deleted(backend: OpenStackBackend, running: Instance, attempt: Attempt) -> None:
    boot = running.boot_volume
    with pytest.raises(BackendRejected):
        attempt(backend.delete_volume, boot)
    assert backend.is_volume_deleted(boot) is False


# -- servers ----------------------------------------------------------------------------------------------------------------


def test_a_server_is_made_once_though_the_answer_is_lost(
    backend: OpenStackBackend, running: Instance, simulator: Simulator, attempt: Attempt
) -> None:
    assert len(simulator.cloud.servers) == 1
    made = running.backend_id
    running.backend_id = ""
    running.save()
    # The ports are taken by the server that is there, so a second one would be refused.
    attempt(backend.create_instance, running, key="ex-server", number=2)
    assert running.backend_id == made
    assert len(simulator.cloud.servers) == 1


def test_a_server_is_what_the_rows_say(
    backend: OpenStackBackend,
    tenant: Tenant,
    make_instance: Callable[..., Instance],
    key_pair: KeyPair,
    attempt: Attempt,
    simulator: Simulator,
) -> None:
    instance = make_instance(data_volumes=0, ports=2, user_data="#!/bin/sh\n")
    group = ServerGroup.objects.create(tenant=tenant, name="apart")
    medium = Flavor.objects.get(name="m1.medium")
    attempt(backend.create_server_group, group)
    attempt(backend.import_key_pair, key_pair)
    attempt(backend.import_key_pair, key_pair)
    boot = instance.boot_volume
    attempt(backend.create_volume, boot, key="ex-boot")
    until(lambda: (backend.pull_volume(boot), boot.runtime_state == "available")[1])
    for port in instance.ports.all():
        attempt(backend.create_port, port, key=f"ex-port-{port.pk}")
    attempt(
        backend.create_instance, instance, key="ex-1", flavor=medium.pk, key_pair=key_pair.pk, server_group=group.pk
    )
    until(lambda: (backend.pull_instance_runtime_state(instance), instance.runtime_state == "ACTIVE")[1])
    backend.pull_instance(instance)
    backend.pull_instance_ports(instance)
    backend.pull_instance_security_groups(instance)
    backend.pull_instance_server_group(instance)
    backend.pull_instance_volumes(instance)
    instance.refresh_from_db()
    boot.refresh_from_db()
    assert (instance.cores, instance.ram, instance.disk, instance.flavor) == (2, 4096, 40, medium)
    assert (instance.key_name, instance.key_fingerprint) == ("ada", key_pair.fingerprint)
    assert instance.key_fingerprint
    assert instance.server_group == group
    assert [one.name for one in instance.security_groups.all()] == ["web"]
    assert instance.launched_at is not None
    assert boot.device == "/dev/vda"
    ports = list(instance.ports.all())
    assert [port.device_id for port in ports] == [instance.backend_id] * 2
    assert all(port.fixed_ips[0]["ip_address"].startswith("10.20.") and port.mac_address for port in ports)
    server = simulator.cloud.servers[instance.backend_id]
    assert server.tags == ["ex-1"]


def test_a_fault_of_the_server_is_told_in_the_clouds_words(
    backend: OpenStackBackend, make_instance: Callable[..., Instance], attempt: Attempt, simulator: Simulator
) -> None:
    instance = make_instance(data_volumes=0)
    boot = instance.boot_volume
    attempt(backend.create_volume, boot, key="ex-boot")
    until(lambda: (backend.pull_volume(boot), boot.runtime_state == "available")[1])
    attempt(backend.create_port, instance.ports.get(), key="ex-port")
    simulator.faults.add(service="compute", method="POST", path="/servers$", error_state="No valid host was found.")
    attempt(backend.create_instance, instance)
    until(lambda: (backend.pull_instance_runtime_state(instance), instance.runtime_state == "ERROR")[1])
    instance.refresh_from_db()
    assert "No valid host was found." in instance.error_message
    assert "req-" in instance.error_message


def test_a_failed_volume_gets_a_reason(
    backend: OpenStackBackend, make_volume: Callable[..., Volume], attempt: Attempt, simulator: Simulator
) -> None:
    volume = make_volume()
    simulator.faults.add(service="block_storage", method="POST", error_state="no space")
    attempt(backend.create_volume, volume)
    until(lambda: (backend.pull_volume_runtime_state(volume), volume.runtime_state == "error")[1])
    assert volume.error_message


def test_stopping_and_starting_may_be_said_twice(
    backend: OpenStackBackend, running: Instance, attempt: Attempt, simulator: Simulator
) -> None:
    for method, status in ((backend.stop_instance, "SHUTOFF"), (backend.start_instance, "ACTIVE")):
        attempt(method, running)
        until(lambda status=status: (backend.pull_instance_runtime_state(running), running.runtime_state == status)[1])
        attempt(method, running, number=2)


def test_attaching_and_detaching_may_be_said_twice(
    backend: OpenStackBackend, running: Instance, attempt: Attempt
) -> None:
    data = running.data_volumes.get()
    for _ in range(2):
        attempt(backend.attach_volume, data, server=running.pk)
    until(lambda: (backend.pull_volume(data), data.runtime_state == "in-use")[1])
    assert data.device == "/dev/vdb"
    for _ in range(2):
        attempt(backend.detach_volume, data)
    until(lambda: (backend.pull_volume(data), data.runtime_state == "available")[1])
    attempt(backend.detach_volume, data)
    backend.forget_volume_attachment(data)
    data.refresh_from_db()
    assert (data.instance, data.device) == (None, "")


def test_a_floating_ip_leads_to_a_port_and_away(backend: OpenStackBackend, running: Instance, attempt: Attempt) -> None:
    floating_ip = FloatingIP.objects.get()
    port = floating_ip.port
    attempt(backend.create_floating_ip, floating_ip)
    assert floating_ip.address.startswith("203.0.113.")
    assert floating_ip.port == port
    for _ in range(2):
        attempt(backend.attach_floating_ip_to_port, floating_ip, port=port.pk)
    until(lambda: (backend.pull_floating_ip_runtime_state(floating_ip), floating_ip.runtime_state == "ACTIVE")[1])
    backend.pull_instance_floating_ips(running)
    floating_ip.refresh_from_db()
    assert (floating_ip.port, floating_ip.description) == (port, "")
    for _ in range(2):
        attempt(backend.detach_floating_ip_from_port, floating_ip)
    until(lambda: (backend.pull_floating_ip(floating_ip), floating_ip.runtime_state == "DOWN")[1])
    assert floating_ip.port is None


def test_a_deleted_server_is_gone_and_its_ports_and_volumes_are_not(
    backend: OpenStackBackend, running: Instance, attempt: Attempt, simulator: Simulator
) -> None:
    for number in (1, 2):
        attempt(backend.delete_instance, running, number=number)
    until(lambda: backend.is_instance_deleted(running))
    attempt(backend.delete_instance, running, number=3)
    assert running.ports.get().backend_id in simulator.cloud.ports
    assert len(simulator.cloud.volumes) == 2
    with pytest.raises(BackendNotFound):
        backend.pull_instance(running)


# -- key pairs, security groups ---------------------------------------------------------------------------------------------


def test_another_key_under_the_name_is_refused(
    backend: OpenStackBackend, tenant: Tenant, key_pair: KeyPair, attempt: Attempt
) -> None:
    attempt(backend.import_key_pair, key_pair)
    other = KeyPair.objects.create(tenant=tenant, name="ada", public_key=f"ssh-ed25519 {'B' * 68}")
    with pytest.raises(BackendRejected, match="another public key"):
        attempt(backend.import_key_pair, other)


def test_rules_in_the_cloud_become_those_of_the_rows(
    backend: OpenStackBackend, tenant: Tenant, attempt: Attempt, simulator: Simulator
) -> None:
    group = SecurityGroup.objects.create(tenant=tenant, name="db")
    group.rules.create(protocol="tcp", port_range_min=5432, port_range_max=5432, remote_ip_prefix="10.0.0.0/8")
    ping = group.rules.create(protocol="icmp")
    attempt(backend.create_security_group, group)
    for _ in range(2):
        attempt(backend.push_security_group_rules, group)

    def rules() -> set[tuple[Any, ...]]:
        found = backend.cloud.network.security_group_rules(security_group_id=group.backend_id, direction="ingress")
        return {(rule.protocol, rule.port_range_min, rule.remote_ip_prefix) for rule in found}

    assert rules() == {("tcp", 5432, "10.0.0.0/8"), ("icmp", None, None)}
    ping.delete()
    attempt(backend.push_security_group_rules, group)
    assert rules() == {("tcp", 5432, "10.0.0.0/8")}
    outgoing = backend.cloud.network.security_group_rules(security_group_id=group.backend_id, direction="egress")
    assert len(list(outgoing)) == 2, "the cloud's own rules for outgoing packets stay"
    backend.pull_security_group(group)
    assert group.rules.count() == 3
    assert group.description == ""


# -- whose credentials ------------------------------------------------------------------------------------------------------


def test_credentials_of_the_cloud_act_in_the_tenants_project(
    tenant: Tenant, make_volume: Callable[..., Volume], simulator: Simulator, attempt: Attempt
) -> None:
    tenant.cloud.cloud_name = "simulator-admin"
    tenant.cloud.save()
    volume = make_volume()
    attempt(volume.get_backend().create_volume, volume)
    assert simulator.cloud.volumes[volume.backend_id].project_id == tenant.backend_id


def test_the_rest_of_what_can_be_said_about_volumes_and_groups(
    tenant: Tenant, backend: OpenStackBackend, creations: Any, simulator: Simulator, attempt: Attempt, key_pair: KeyPair
) -> None:
    _, volume = creations["volume"]()
    attempt(backend.create_volume, volume)
    until(lambda: (backend.pull_volume(volume), volume.runtime_state == "available")[1])
    for _ in range(2):
        attempt(backend.extend_volume, volume, 3)
        until(lambda: (backend.pull_volume(volume), volume.runtime_state == "available")[1])
    assert (volume.size, simulator.cloud.volumes[volume.backend_id].size) == (3, 3)
    volume.name = "renamed"
    attempt(backend.update_volume, volume)
    assert simulator.cloud.volumes[volume.backend_id].name == "renamed"

    _, group = creations["server_group"]()
    attempt(backend.create_server_group, group)
    backend.pull_server_group(group)
    backend.pull_server_groups()
    assert list(ServerGroup.objects.values_list("name", "policy")) == [("apart", "anti-affinity")]

    attempt(backend.import_key_pair, key_pair)
    for _ in range(2):
        attempt(backend.delete_key_pair, key_pair)

    _, address = creations["floating_ip"]()
    attempt(backend.create_floating_ip, address)
    address.description = "for the shop"
    attempt(backend.update_floating_ip, address)
    backend.pull_floating_ip(address)
    assert address.description == "for the shop"
