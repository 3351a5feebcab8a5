import pytest


def status(demo, volume_id: str) -> str:
    return demo.simulator.cloud.volumes[volume_id].status


def act(demo, volume_id: str, action: str, values=None, version: str = "3.70"):
    return demo.volume("POST", f"/volumes/{volume_id}/action", {action: values or {}}, version=version)


def test_a_volume_is_made_deleted_and_gone_each_in_its_time(simulator, demo):
    volume_id = demo.make_volume()
    assert status(demo, volume_id) == "creating"
    assert demo.volume("DELETE", f"/volumes/{volume_id}").status == 400
    simulator.clock.advance(0.5)
    assert status(demo, volume_id) == "available"
    assert demo.volume("DELETE", f"/volumes/{volume_id}").status == 202
    assert status(demo, volume_id) == "deleting"
    simulator.clock.advance(0.2)
    assert demo.volume("GET", f"/volumes/{volume_id}").status == 404


def test_a_volume_from_an_image_is_bootable_and_remembers_it(quick, demo):
    image = next(iter(quick.cloud.images))
    volume_id = demo.make_volume(imageRef=image.id)
    shown = demo.volume("GET", f"/volumes/{volume_id}").json["volume"]
    assert shown["bootable"] == "true"
    assert shown["volume_image_metadata"]["image_id"] == image.id
    snapshot = demo.volume("POST", "/snapshots", {"snapshot": {"volume_id": volume_id}}).json["snapshot"]["id"]
    assert demo.volume("DELETE", f"/volumes/{volume_id}").status == 400, "it has a snapshot"
    restored = demo.make_volume(snapshot_id=snapshot)
    assert quick.cloud.volumes[restored].bootable
    assert quick.cloud.volumes[restored].image_metadata["image_id"] == image.id


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, 400),
        ({"size": 0}, 400),
        ({"size": "big"}, 400),
        ({"size": 1, "volume_type": "gold"}, 404),
        ({"size": 1, "availability_zone": "mars"}, 400),
        ({"size": 1, "imageRef": "11111111-1111-1111-1111-111111111111"}, 400),
        ({"size": 1, "snapshot_id": "11111111-1111-1111-1111-111111111111"}, 404),
    ],
)
def test_a_volume_that_cannot_be_made_is_refused(simulator, demo, values, code):
    assert demo.volume("POST", "/volumes", {"volume": values}).status == code
    assert len(simulator.cloud.volumes) == 0


def test_a_volume_only_grows_and_an_attached_one_only_since_3_42(quick, demo):
    volume_id = demo.make_volume(2)
    assert act(demo, volume_id, "os-extend", {"new_size": 2}).status == 400
    assert act(demo, volume_id, "os-extend", {"new_size": 3}).status == 202
    assert quick.cloud.volumes[volume_id].size == 3
    server_id = demo.make_server()
    path = f"/servers/{server_id}/os-volume_attachments"
    demo.compute("POST", path, {"volumeAttachment": {"volumeId": volume_id}})
    assert act(demo, volume_id, "os-extend", {"new_size": 4}, version="3.41").status == 400
    assert act(demo, volume_id, "os-extend", {"new_size": 4}, version="3.42").status == 202
    assert (quick.cloud.volumes[volume_id].size, status(demo, volume_id)) == (4, "in-use")


def test_a_volume_gets_another_type_and_a_bootable_flag(quick, demo):
    volume_id = demo.make_volume()
    assert act(demo, volume_id, "os-retype", {"new_type": "fake-hdd", "migration_policy": "never"}).status == 202
    assert act(demo, volume_id, "os-set_bootable", {"bootable": True}).status == 200
    volume = quick.cloud.volumes[volume_id]
    assert (volume.volume_type, volume.bootable, volume.status) == ("fake-hdd", True, "available")
    assert act(demo, volume_id, "os-retype", {"new_type": "gold"}).status == 404


def test_volumes_are_found_by_name_status_and_metadata(quick, demo):
    red = demo.make_volume(name="red", metadata={"key": "1", "team": "a"})
    demo.make_volume(name="green", metadata={"key": "2"})

    def found(query: str) -> list[str]:
        return [one["id"] for one in demo.volume("GET", f"/volumes/detail?{query}").json["volumes"]]

    assert found("name=red") == [red]
    assert found("metadata=%7B%27key%27%3A%20%271%27%7D") == [red]
    assert len(found("status=available")) == 2
    assert found("status=error") == []
    assert len(found("limit=1")) == 1


def test_only_an_admin_resets_a_status(quick, demo, admin):
    volume_id = demo.make_volume()
    assert act(demo, volume_id, "os-reset_status", {"status": "error"}).status == 403
    path = f"/volume/v3/{admin.project_id}/volumes/{volume_id}/action"
    assert admin.call("POST", path, {"os-reset_status": {"status": "error"}}).status == 202
    assert status(demo, volume_id) == "error"
    assert demo.volume("DELETE", f"/volumes/{volume_id}").status == 202


def test_an_attached_volume_is_snapshotted_by_force_or_since_3_66(quick, demo):
    volume_id, server_id = demo.make_volume(), demo.make_server()
    path = f"/servers/{server_id}/os-volume_attachments"
    demo.compute("POST", path, {"volumeAttachment": {"volumeId": volume_id}})
    asked = {"volume_id": volume_id, "name": "s"}
    assert demo.volume("POST", "/snapshots", {"snapshot": asked}, version="3.65").status == 400
    assert demo.volume("POST", "/snapshots", {"snapshot": asked | {"force": True}}, version="3.65").status == 202
    assert demo.volume("POST", "/snapshots", {"snapshot": asked}, version="3.66").status == 202


def test_metadata_ask_for_failures_as_they_do_on_the_cloud_we_compare_with(quick, demo):
    volume_id = demo.make_volume(metadata={"fake_fail": "create"})
    assert status(demo, volume_id) == "error"
