"""Nova's states, and what happens to the ports and volumes of a server."""

import pytest


@pytest.fixture
def active(quick, demo) -> str:
    return demo.make_server()


def test_a_server_is_built_and_then_active(simulator, demo):
    server_id = demo.make_server()
    shown = demo.server(server_id)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:power_state"]) == ("BUILD", "building", 0)
    simulator.clock.advance(1)
    shown = demo.server(server_id)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:power_state"]) == ("ACTIVE", "active", 1)
    assert shown["OS-EXT-STS:task_state"] is None
    assert shown["OS-SRV-USG:launched_at"]


@pytest.mark.parametrize(
    ("steps", "status", "power"),
    [
        (["os-stop"], "SHUTOFF", 4),
        (["os-stop", "os-start"], "ACTIVE", 1),
        (["pause"], "PAUSED", 3),
        (["pause", "unpause"], "ACTIVE", 1),
        (["suspend"], "SUSPENDED", 7),
        (["suspend", "resume"], "ACTIVE", 1),
        ([("reboot", {"type": "SOFT"})], "ACTIVE", 1),
        (["os-stop", ("reboot", {"type": "HARD"})], "ACTIVE", 1),
        ([("resize", {"flavorRef": "2"})], "VERIFY_RESIZE", 1),
        ([("resize", {"flavorRef": "2"}), "confirmResize"], "ACTIVE", 1),
        ([("resize", {"flavorRef": "2"}), "revertResize"], "ACTIVE", 1),
        (["os-stop", ("resize", {"flavorRef": "2"}), "confirmResize"], "SHUTOFF", 4),
    ],
)
def test_actions_lead_where_they_do_in_nova(demo, active, steps, status, power):
    for step in steps:
        action, values = step if isinstance(step, tuple) else (step, None)
        answer = demo.act(active, action, values)
        assert answer.status == (204 if action == "confirmResize" else 202), answer.text
    shown = demo.server(active)
    assert (shown["status"], shown["OS-EXT-STS:power_state"]) == (status, power)


@pytest.mark.parametrize(
    ("before", "action", "values", "message"),
    [
        ("os-stop", "os-stop", None, "Cannot 'stop' instance {id} while it is in vm_state stopped"),
        (None, "os-start", None, "Cannot 'start' instance {id} while it is in vm_state active"),
        ("os-stop", "pause", None, "Cannot 'pause' instance {id} while it is in vm_state stopped"),
        ("os-stop", "reboot", {"type": "SOFT"}, "Cannot 'reboot' instance {id} while it is in vm_state stopped"),
        (None, "confirmResize", None, "Cannot 'confirmResize' instance {id} while it is in vm_state active"),
        ("pause", "resize", {"flavorRef": "2"}, "Cannot 'resize' instance {id} while it is in vm_state paused"),
    ],
)
def test_an_action_in_the_wrong_state_is_a_conflict_in_novas_words(demo, active, before, action, values, message):
    if before:
        demo.act(active, before)
    answer = demo.act(active, action, values)
    assert answer.status == 409
    assert answer.json == {"conflictingRequest": {"code": 409, "message": message.format(id=active)}}


def test_an_action_during_another_is_a_conflict_about_the_task(simulator, demo):
    server_id = demo.make_server()
    simulator.clock.advance(1)
    assert demo.act(server_id, "os-stop").status == 202
    assert demo.server(server_id)["OS-EXT-STS:task_state"] == "powering-off"
    answer = demo.act(server_id, "os-stop")
    assert answer.json["conflictingRequest"]["message"] == (
        f"Cannot 'stop' instance {server_id} while it is in task_state powering-off"
    )


def test_a_resize_changes_the_flavor_and_a_revert_changes_it_back(demo, active):
    demo.act(active, "resize", {"flavorRef": "2"})
    assert demo.server(active)["flavor"]["original_name"] == "m1.small"
    demo.act(active, "revertResize")
    assert demo.server(active)["flavor"]["original_name"] == "m1.tiny"


def test_a_failed_action_leaves_a_server_in_error_with_a_fault(quick, demo):
    server_id = demo.make_server(metadata={"fake_fail": "stop"})
    demo.act(server_id, "os-stop")
    shown = demo.server(server_id)
    assert shown["status"] == "ERROR"
    assert "stop" in shown["fault"]["message"]
    demo.act(server_id, "reboot", {"type": "HARD"})
    shown = demo.server(server_id)
    assert shown["status"] == "ACTIVE"
    assert "fault" not in shown


def test_a_given_port_is_active_with_the_server_and_free_and_down_after_it(simulator, demo):
    port_id = demo.make_port(name="mine")
    server_id = demo.make_server(networks=[{"port": port_id}])
    port = simulator.cloud.ports[port_id]
    assert (port.device_id, port.device_owner, port.status) == (server_id, "compute:nova", "DOWN")
    simulator.clock.advance(1)
    assert simulator.cloud.ports[port_id].status == "ACTIVE"
    demo.compute("DELETE", f"/servers/{server_id}")
    assert demo.server(server_id)["OS-EXT-STS:task_state"] == "deleting"
    simulator.clock.advance(1)
    assert demo.compute("GET", f"/servers/{server_id}").status == 404
    port = simulator.cloud.ports[port_id]
    assert (port.device_id, port.device_owner, port.status) == ("", "", "DOWN")


def test_a_port_that_nova_made_goes_with_its_server(quick, demo):
    before = {port.id for port in quick.cloud.ports}
    server_id = demo.make_server()
    assert len(quick.cloud.ports) == len(before) + 1
    demo.compute("DELETE", f"/servers/{server_id}")
    assert {port.id for port in quick.cloud.ports} == before


def test_one_port_is_never_given_to_two_servers(demo):
    port_id = demo.make_port()
    demo.make_server("a", networks=[{"port": port_id}])
    answer = demo.ask_for_server("b", networks=[{"port": port_id}])
    assert (answer.status, answer.json["conflictingRequest"]["message"]) == (409, f"Port {port_id} is still in use.")


def boot_volume(demo) -> str:
    return demo.make_volume(imageRef=next(iter(demo.simulator.cloud.images)).id)


def mapping(volume_id: str, **values) -> dict:
    return {"uuid": volume_id, "source_type": "volume", "destination_type": "volume", "boot_index": 0} | values


@pytest.mark.parametrize("goes", [True, False])
def test_a_boot_volume_goes_with_its_server_only_if_asked_to(quick, demo, goes):
    volume_id = boot_volume(demo)
    disk = mapping(volume_id, delete_on_termination=goes)
    server_id = demo.make_server(imageRef="", block_device_mapping_v2=[disk])
    volume = quick.cloud.volumes[volume_id]
    assert (volume.status, volume.attachments[0].device) == ("in-use", "/dev/vda")
    assert demo.server(server_id)["image"] == ""
    demo.compute("DELETE", f"/servers/{server_id}")
    quick.clock.advance(1)
    assert (volume_id not in quick.cloud.volumes) is goes
    if not goes:
        assert quick.cloud.volumes[volume_id].status == "available"


def test_a_volume_is_reserved_while_its_server_is_built_and_free_if_that_is_given_up(simulator, demo):
    volume_id = boot_volume(demo)
    simulator.clock.advance(1)
    simulator.faults.add(path="/servers$", stuck=True)
    server_id = demo.make_server(imageRef="", block_device_mapping_v2=[mapping(volume_id)])
    assert simulator.cloud.volumes[volume_id].status == "reserved"
    demo.compute("DELETE", f"/servers/{server_id}")
    simulator.clock.advance(1)
    assert simulator.cloud.volumes[volume_id].status == "available"


def test_an_empty_volume_a_busy_one_and_none_at_all_cannot_be_booted(quick, demo):
    empty, busy = demo.make_volume(), boot_volume(demo)
    demo.make_server("a", imageRef="", block_device_mapping_v2=[mapping(busy)])
    for disks, part in (
        ([mapping(empty)], f"Block Device {empty} is not bootable."),
        ([mapping(busy)], "the current status is in-use"),
        ([mapping("11111111-1111-1111-1111-111111111111")], "failed to get volume"),
        ([], "Boot sequence"),
    ):
        answer = demo.ask_for_server("b", imageRef="", block_device_mapping_v2=disks)
        assert answer.status == 400
        assert part in answer.json["badRequest"]["message"]
    assert len(quick.cloud.servers) == 1


def test_nova_makes_a_volume_from_an_image_when_asked(quick, demo):
    image = next(iter(quick.cloud.images)).id
    disk = {
        "uuid": image,
        "source_type": "image",
        "destination_type": "volume",
        "boot_index": 0,
        "volume_size": 2,
        "delete_on_termination": True,
    }
    server_id = demo.make_server(imageRef="", block_device_mapping_v2=[disk])
    [volume] = quick.cloud.volumes
    assert (volume.size, volume.status, volume.bootable) == (2, "in-use", True)
    assert volume.attachments[0].server_id == server_id


def attach(demo, server_id: str, volume_id: str):
    path = f"/servers/{server_id}/os-volume_attachments"
    return demo.compute("POST", path, {"volumeAttachment": {"volumeId": volume_id}})


def test_data_volumes_get_the_next_devices_and_come_off_again(simulator, demo):
    first, second, server_id = demo.make_volume(), demo.make_volume(), demo.make_server()
    simulator.clock.advance(1)
    answers = [attach(demo, server_id, one).json["volumeAttachment"] for one in (first, second)]
    assert [one["device"] for one in answers] == ["/dev/vdb", "/dev/vdc"]
    assert simulator.cloud.volumes[first].status == "attaching"
    assert attach(demo, server_id, first).status == 400
    simulator.clock.advance(1)
    shown = demo.volume("GET", f"/volumes/{first}").json["volume"]
    assert shown["status"] == "in-use"
    assert shown["attachments"][0]["server_id"] == server_id
    assert demo.volume("DELETE", f"/volumes/{first}").status == 400
    assert demo.compute("DELETE", f"/servers/{server_id}/os-volume_attachments/{first}").status == 202
    assert simulator.cloud.volumes[first].status == "detaching"
    simulator.clock.advance(1)
    assert simulator.cloud.volumes[first].status == "available"
    assert demo.compute("GET", f"/servers/{server_id}/os-volume_attachments/{first}").status == 404
    assert demo.server(server_id)["os-extended-volumes:volumes_attached"] == [
        {"id": second, "delete_on_termination": False}
    ]


def test_a_server_deleted_while_a_volume_is_being_attached_lets_it_go_for_good(simulator, demo):
    volume_id, server_id = demo.make_volume(), demo.make_server()
    simulator.clock.advance(1)
    simulator.lifecycle.paces["volume.attach"] = simulator.lifecycle.pace_of("server.create")
    attach(demo, server_id, volume_id)
    demo.compute("DELETE", f"/servers/{server_id}")
    simulator.clock.advance(10)
    volume = simulator.cloud.volumes[volume_id]
    assert (volume.status, volume.attachments) == ("available", [])


def test_the_root_disk_cannot_be_detached(quick, demo):
    volume_id = boot_volume(demo)
    server_id = demo.make_server(imageRef="", block_device_mapping_v2=[mapping(volume_id)])
    answer = demo.compute("DELETE", f"/servers/{server_id}/os-volume_attachments/{volume_id}")
    assert answer.status == 403


def test_ports_are_plugged_in_and_pulled_out(quick, demo, active):
    port_id = demo.make_port()
    path = f"/servers/{active}/os-interface"
    answer = demo.compute("POST", path, {"interfaceAttachment": {"port_id": port_id}})
    assert answer.json["interfaceAttachment"]["net_id"] == demo.network_named("private")
    assert len(demo.compute("GET", path).json["interfaceAttachments"]) == 2
    assert quick.cloud.ports[port_id].status == "ACTIVE"
    assert demo.compute("POST", path, {"interfaceAttachment": {"port_id": port_id}}).status == 409
    assert demo.compute("DELETE", f"{path}/{port_id}").status == 202
    assert quick.cloud.ports[port_id].device_id == ""


def test_servers_are_found_by_name_pattern_status_and_tags(quick, demo):
    demo.make_server("web-1", tags=["blue", "front"], networks="none")
    demo.make_server("web-2", tags=["green"], networks="none")
    stopped = demo.make_server("db-1", networks="none")
    demo.act(stopped, "os-stop")

    def names(query: str) -> set[str]:
        return {one["name"] for one in demo.compute("GET", f"/servers?{query}").json["servers"]}

    assert names("name=^web-") == {"web-1", "web-2"}
    assert names("name=^web-1$") == {"web-1"}
    assert names("status=SHUTOFF") == {"db-1"}
    assert names("tags=blue,front") == {"web-1"}
    assert names("tags-any=blue,green") == {"web-1", "web-2"}
    assert names("not-tags-any=blue,green") == {"db-1"}
    assert names("changes-since=2000-01-01T00:00:00Z") == {"web-1", "web-2", "db-1"}
    assert names("changes-since=2999-01-01T00:00:00%2B00:00") == set()


def test_metadata_and_tags_are_changed_one_by_one_and_all_at_once(demo, active):
    path = f"/servers/{active}"
    demo.compute("POST", f"{path}/metadata", {"metadata": {"a": "1", "b": "2"}})
    demo.compute("PUT", f"{path}/metadata/a", {"meta": {"a": "3"}})
    demo.compute("DELETE", f"{path}/metadata/b")
    assert demo.server(active)["metadata"] == {"a": "3"}
    assert demo.compute("PUT", f"{path}/tags/blue").status == 201
    assert demo.compute("PUT", f"{path}/tags/blue").status == 204
    assert demo.compute("PUT", f"{path}/tags", {"tags": ["red", "blue"]}).json == {"tags": ["red", "blue"]}
    assert demo.compute("DELETE", f"{path}/tags/red").status == 204
    assert demo.compute("GET", f"{path}/tags/red").status == 404
    assert demo.server(active)["tags"] == ["blue"]
    assert demo.compute("PUT", f"{path}/tags", {"tags": ["a/b"]}).status == 400


def test_a_servers_log_names_the_requests_that_changed_it(demo, active):
    stopped = demo.act(active, "os-stop")
    log = demo.compute("GET", f"/servers/{active}/os-instance-actions").json["instanceActions"]
    assert [one["action"] for one in log] == ["stop", "create"]
    assert log[0]["request_id"] == stopped.headers["x-openstack-request-id"]


def test_security_groups_are_put_on_the_ports_of_a_server(quick, demo, active):
    assert demo.act(active, "addSecurityGroup", {"name": "web"}).status == 202
    assert {one["name"] for one in demo.server(active)["security_groups"]} == {"default", "web"}
    assert demo.act(active, "removeSecurityGroup", {"name": "default"}).status == 202
    groups = demo.compute("GET", f"/servers/{active}/os-security-groups").json["security_groups"]
    assert [one["name"] for one in groups] == ["web"]
    assert demo.act(active, "addSecurityGroup", {"name": "nowhere"}).status == 404


def test_a_server_group_knows_its_members_while_they_live(quick, demo):
    made = demo.compute("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "anti-affinity"}})
    group_id = made.json["server_group"]["id"]
    image = next(iter(quick.cloud.images)).id
    body = {
        "server": {"name": "a", "flavorRef": "1", "imageRef": image, "networks": "none"},
        "os:scheduler_hints": {"group": group_id},
    }
    server_id = demo.compute("POST", "/servers", body).json["server"]["id"]
    path = f"/os-server-groups/{group_id}"
    assert demo.compute("GET", path).json["server_group"]["members"] == [server_id]
    assert demo.server(server_id)["server_groups"] == [group_id]
    demo.compute("DELETE", f"/servers/{server_id}")
    assert demo.compute("GET", path).json["server_group"]["members"] == []


def test_a_key_pair_is_made_or_taken_and_belongs_to_a_user(demo, admin):
    made = demo.compute("POST", "/os-keypairs", {"keypair": {"name": "k"}}, version="2.10")
    assert made.status == 201
    assert "PRIVATE KEY" in made.json["keypair"]["private_key"]
    public = made.json["keypair"]["public_key"]
    assert demo.compute("POST", "/os-keypairs", {"keypair": {"name": "k"}}, version="2.10").status == 409
    taken = demo.compute("POST", "/os-keypairs", {"keypair": {"name": "l", "public_key": public}})
    assert taken.json["keypair"]["fingerprint"] == made.json["keypair"]["fingerprint"]
    assert demo.compute("POST", "/os-keypairs", {"keypair": {"name": "m", "public_key": "x"}}).status == 400
    assert admin.compute("GET", "/os-keypairs/k").status == 404
    assert demo.ask_for_server(key_name="nowhere").status == 400
    assert demo.compute("DELETE", "/os-keypairs/k").status == 204


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"name": ""}, "name"),
        ({"flavorRef": "99"}, "Flavor 99 could not be found."),
        ({"imageRef": "11111111-1111-1111-1111-111111111111"}, "Can not find requested image"),
        ({"networks": [{"uuid": "x"}]}, "Network x could not be found."),
        ({"networks": [{"port": "x"}]}, "Port x could not be found."),
        ({"security_groups": [{"name": "x"}]}, "Security group x not found."),
        ({"availability_zone": "mars"}, "The requested availability zone is not available"),
        ({"user_data": "not base64!" + "x" * 70000}, "user_data"),
        ({"tags": ["a" * 61]}, "tags"),
    ],
)
def test_a_server_that_cannot_be_made_is_refused_with_the_reason(simulator, demo, values, part):
    answer = demo.ask_for_server(**values)
    assert answer.status == 400
    assert part.lower() in answer.json["badRequest"]["message"].lower().replace("user data", "user_data")
    assert len(simulator.cloud.servers) == 0
