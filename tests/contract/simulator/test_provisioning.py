"""What a provisioning product does, through an unmodified openstacksdk."""

import threading

import keystoneauth1.exceptions
import openstack
import pytest
from openstack import exceptions

from openstack_simulator import Pace

QUICK = {"interval": 0.01, "wait": 10}


def until_gone(get, record_id: str) -> None:
    for _ in range(50):
        try:
            get(record_id)
        except exceptions.NotFoundException:
            return
    pytest.fail(f"{record_id} is still there")


@pytest.fixture
def boot_volume(connection):
    image = connection.image.find_image("tiny")
    made = connection.block_storage.create_volume(name="boot", size=1, image_id=image.id)
    return connection.block_storage.wait_for_status(made, "available", **QUICK)


@pytest.fixture
def port(connection):
    network = connection.network.find_network("private")
    group = connection.network.find_security_group("web")
    return connection.network.create_port(name="port", network_id=network.id, security_group_ids=[group.id])


def test_a_server_goes_through_its_whole_life(simulator, connection, boot_volume, port):
    compute, storage, network = connection.compute, connection.block_storage, connection.network
    assert boot_volume.is_bootable
    keypair = compute.create_keypair(name="key")
    assert "PRIVATE KEY" in keypair.private_key
    group = compute.create_server_group(name="apart", policy="anti-affinity")
    disk = {
        "uuid": boot_volume.id,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0,
        "delete_on_termination": False,
    }
    server = compute.create_server(
        name="web-1",
        flavor_id=compute.find_flavor("m1.tiny").id,
        networks=[{"port": port.id}],
        block_device_mapping=[disk],
        key_name=keypair.name,
        scheduler_hints={"group": group.id},
        user_data="I2Nsb3VkLWNvbmZpZwo=",
        metadata={"made_by": "us"},
        tags=["idempotency-key-1"],
    )
    server = compute.wait_for_server(server, **QUICK)
    assert [one.id for one in compute.servers(tags="idempotency-key-1")] == [server.id]
    assert server.tags == ["idempotency-key-1"]
    assert server.flavor.name == "m1.tiny"
    assert server.addresses["private"][0]["addr"] == port.fixed_ips[0]["ip_address"]
    assert network.get_port(port.id).device_id == server.id
    assert compute.get_server_group(group.id).member_ids == [server.id]

    data = storage.create_volume(name="data", size=2, metadata={"key": "k-2"})
    data = storage.wait_for_status(data, "available", **QUICK)
    attachment = compute.create_volume_attachment(server, volume_id=data.id)
    assert attachment.device == "/dev/vdb"
    data = storage.wait_for_status(data, "in-use", **QUICK)
    assert data.attachments[0]["device"] == "/dev/vdb"
    assert {one.volume_id for one in compute.volume_attachments(server)} == {boot_volume.id, data.id}

    address = network.create_ip(floating_network_id=network.find_network("public").id)
    assert network.update_ip(address, port_id=port.id).status == "DOWN"
    network.get_ip(address.id)
    assert network.get_ip(address.id).status == "ACTIVE"
    kinds = [one["OS-EXT-IPS:type"] for one in compute.get_server(server.id).addresses["private"]]
    assert kinds == ["fixed", "floating"]

    compute.stop_server(server)
    compute.wait_for_server(server, status="SHUTOFF", **QUICK)
    compute.start_server(server)
    compute.wait_for_server(server, **QUICK)
    compute.resize_server(server, compute.find_flavor("m1.small").id)
    compute.wait_for_server(server, status="VERIFY_RESIZE", **QUICK)
    compute.confirm_server_resize(server)
    compute.wait_for_server(server, **QUICK)

    compute.delete_volume_attachment(server, data.id)
    storage.wait_for_status(data, "available", **QUICK)
    compute.delete_server(server)
    compute.wait_for_delete(server, **QUICK)
    assert network.get_port(port.id).device_id == ""
    for volume in (boot_volume, data):
        storage.delete_volume(volume)
        until_gone(storage.get_volume, volume.id)
    network.delete_ip(address)
    network.delete_port(port)
    compute.delete_server_group(group)
    compute.delete_keypair(keypair)
    assert len(simulator.cloud.servers) == len(simulator.cloud.volumes) == len(simulator.cloud.floating_ips) == 0


def test_a_tenant_is_made_used_and_removed(simulator, admin):
    project = admin.identity.create_project(name="tenant", domain_id="default")
    user = admin.identity.create_user(name="tina", password="tina", domain_id="default")
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member"))
    admin.compute.update_quota_set(project.id, instances=1)
    admin.block_storage.update_quota_set(project.id, volumes=1)
    admin.network.update_quota(project.id, port=5)
    with openstack.connect(**simulator.connection_kwargs("tina", "tenant")) as tenant:
        network = tenant.network.create_network(name="inside")
        subnet = tenant.network.create_subnet(network_id=network.id, ip_version=4, cidr="192.168.0.0/24", name="s")
        public = next(tenant.network.networks(is_router_external=True))
        router = tenant.network.create_router(name="r", external_gateway_info={"network_id": public.id})
        tenant.network.add_interface_to_router(router, subnet_id=subnet.id)
        server = tenant.create_server(
            "one", image="tiny", flavor="m1.tiny", network="inside", auto_ip=False, wait=True, timeout=20
        )
        assert server.status == "ACTIVE"
        with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded for instances"):
            tenant.compute.create_server(
                name="two", flavor_id="1", image_id=tenant.image.find_image("tiny").id, networks="auto"
            )
        assert tenant.compute.get_limits().absolute.instances_used == 1
        tenant.delete_server("one", wait=True, timeout=20)
        tenant.network.remove_interface_from_router(router, subnet_id=subnet.id)
        tenant.network.delete_router(router)
        tenant.network.delete_network(network)
    assert admin.network.get_quota(project.id).ports == 5
    admin.identity.delete_user(user)
    admin.identity.delete_project(project)


def test_security_groups_and_their_rules_are_managed(connection):
    network = connection.network
    group = network.create_security_group(name="db", description="databases")
    rule = {
        "security_group_id": group.id,
        "direction": "ingress",
        "ether_type": "IPv4",
        "protocol": "tcp",
        "port_range_min": 5432,
        "port_range_max": 5432,
        "remote_ip_prefix": "10.0.0.0/8",
    }
    made = network.create_security_group_rule(**rule)
    with pytest.raises(exceptions.ConflictException):
        network.create_security_group_rule(**rule)
    assert [one.id for one in network.security_group_rules(security_group_id=group.id, direction="ingress")] == [
        made.id
    ]
    network.set_tags(group, ["blue"])
    assert [one.id for one in network.security_groups(tags="blue")] == [group.id]
    network.delete_security_group_rule(made)
    network.delete_security_group(group)


def test_an_image_is_uploaded_used_and_deleted(connection):
    image = connection.image.create_image(
        name="mine", data=b"x" * 100_000, disk_format="raw", container_format="bare", visibility="private"
    )
    image = connection.image.wait_for_status(image, "active", [], **QUICK)
    assert image.size == 100_000
    assert [one.name for one in connection.image.images(visibility="private")] == ["mine"]
    assert connection.image.download_image(image).content == b"x" * 100_000
    connection.image.update_image(image, os_distro="debian")
    assert connection.image.get_image(image.id).os_distro == "debian"
    connection.image.delete_image(image)
    assert connection.image.find_image("mine") is None


def test_snapshots_are_taken_restored_and_deleted(connection, boot_volume):
    storage = connection.block_storage
    snapshot = storage.create_snapshot(volume_id=boot_volume.id, name="daily")
    storage.wait_for_status(snapshot, "available", **QUICK)
    restored = storage.create_volume(name="restored", size=1, snapshot_id=snapshot.id)
    assert storage.wait_for_status(restored, "available", **QUICK).is_bootable
    storage.delete_snapshot(snapshot)
    until_gone(storage.get_snapshot, snapshot.id)


def test_volumes_are_extended_retyped_and_renamed(connection, boot_volume):
    storage = connection.block_storage
    storage.extend_volume(boot_volume, 3)
    extended = storage.wait_for_status(storage.get_volume(boot_volume.id), "available", **QUICK)
    assert extended.size == 3
    storage.retype_volume(boot_volume, "fake-hdd")
    retyped = storage.wait_for_status(storage.get_volume(boot_volume.id), "available", **QUICK)
    assert retyped.volume_type == "fake-hdd"
    storage.set_volume_bootable_status(boot_volume, False)
    storage.update_volume(boot_volume, name="renamed")
    found = storage.find_volume("renamed")
    assert (found.id, found.is_bootable) == (boot_volume.id, False)


def test_long_lists_come_whole_through_the_sdks_paging(simulator, connection):
    simulator.lift_quotas()
    for number in range(7):
        connection.block_storage.create_volume(name=f"v{number}", size=1)
        connection.network.create_port(name=f"p{number}", network_id=connection.network.find_network("private").id)
    assert len(list(connection.block_storage.volumes(limit=2))) == 7
    assert len([one for one in connection.network.ports(limit=3) if one.name.startswith("p")]) == 7


def test_an_expired_token_is_renewed_without_anyone_noticing(simulator, connection):
    assert list(connection.compute.servers()) == []
    simulator.clock.advance(7200)
    assert list(connection.compute.servers()) == []
    assert simulator.requests.count("compute", status=401) == 1


def test_a_throttled_client_is_told_when_to_come_back(simulator, connection):
    list(connection.compute.servers())
    simulator.faults.add(service="compute", status=429, retry_after=2, count=1)
    with pytest.raises(exceptions.HttpException) as error:
        list(connection.compute.servers())
    assert (error.value.status_code, error.value.response.headers["Retry-After"]) == (429, "2")


def test_a_lost_answer_is_an_error_to_the_client_and_one_volume_in_the_cloud(simulator, connection):
    simulator.faults.add(service="block_storage", method="POST", path="/volumes$", lose_answer=True, count=1)
    list(connection.block_storage.volumes())
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        connection.block_storage.create_volume(name="once", size=1, metadata={"key": "k-1"})
    found = list(connection.block_storage.volumes(properties=str({"key": "k-1"})))
    assert [one.name for one in found] == ["once"]
    # The SDK sends only the keys of a dictionary, and Cinder then finds nothing.
    assert list(connection.block_storage.volumes(metadata={"key": "k-1"})) == []


def test_a_failed_server_tells_its_fault_and_its_request_id(simulator, connection):
    simulator.faults.add(path="/servers$", method="POST", error_state="No valid host was found.")
    server = connection.compute.create_server(
        name="bad", flavor_id="1", image_id=connection.image.find_image("tiny").id, networks="none"
    )
    with pytest.raises(exceptions.ResourceFailure):
        connection.compute.wait_for_server(server, **QUICK)
    body = connection.compute.get(f"/servers/{server.id}")
    assert body.json()["server"]["fault"]["message"] == "No valid host was found."
    assert body.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize("clients", [2, 8])
def test_many_clients_at_once_lose_nothing_and_get_different_addresses(simulator, clients):
    simulator.lift_quotas()
    simulator.lifecycle.set_all(Pace.at_once())
    start, failures = threading.Barrier(clients), []

    def work(number: int) -> None:
        try:
            with openstack.connect(**simulator.connection_kwargs()) as mine:
                network = mine.network.find_network("private")
                start.wait(timeout=20)
                for index in range(5):
                    mine.network.create_port(name=f"{number}-{index}", network_id=network.id)
                    mine.block_storage.create_volume(name=f"{number}-{index}", size=1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    made = [port for port in simulator.cloud.ports if port.name]
    addresses = [address for port in made for address in port.addresses]
    assert len(made) == len(set(addresses)) == clients * 5
    assert len(simulator.cloud.volumes) == clients * 5
