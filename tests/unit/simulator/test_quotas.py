"""Limits hold: one below goes, the limit goes, one above does not, in each service's own words."""

import pytest


@pytest.fixture
def limited(quick, demo):
    cloud, project = quick.cloud, demo.project_id
    cloud.compute.quotas.set(project, {"instances": 2, "cores": 20, "ram": 5000})
    cloud.block_storage.quotas.set(project, {"volumes": 2, "gigabytes": 10, "snapshots": 1})
    cloud.network.quotas.set(project, {"port": 3, "floatingip": 1, "security_group": 3, "network": 2})
    return demo


def test_nova_refuses_the_server_above_the_limit_with_403(limited):
    limited.make_server("a", networks="none")
    limited.make_server("b", networks="none")
    answer = limited.ask_for_server("c", networks="none")
    assert answer.status == 403
    assert answer.json == {
        "forbidden": {
            "code": 403,
            "message": "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances",
        }
    }


def test_nova_counts_memory_and_names_what_is_exceeded(limited):
    limited.make_server("a", networks="none", flavorRef="3")
    answer = limited.ask_for_server("b", networks="none", flavorRef="3")
    assert answer.json["forbidden"]["message"] == (
        "Quota exceeded for ram: Requested 4096, but already used 4096 of 5000 ram"
    )


def test_several_servers_at_once_are_made_all_or_none(quick, limited):
    assert limited.ask_for_server("many", networks="none", min_count=3).status == 403
    assert len(quick.cloud.servers) == 0
    limited.make_server("many", networks="none", min_count=2)
    assert sorted(one.name for one in quick.cloud.servers) == ["many-1", "many-2"]


def test_a_deleted_server_frees_its_place(limited):
    first = limited.make_server("a", networks="none")
    limited.make_server("b", networks="none")
    limited.compute("DELETE", f"/servers/{first}")
    assert limited.ask_for_server("c", networks="none").status == 202


def test_cinder_refuses_the_volume_above_the_limit_with_413(limited):
    limited.make_volume()
    limited.make_volume()
    answer = limited.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert answer.status == 413
    assert answer.headers["retry-after"] == "0"
    assert answer.json == {
        "overLimit": {
            "code": 413,
            "message": "VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes'.",
            "retryAfter": "0",
        }
    }


def test_cinder_counts_gigabytes_of_volumes_snapshots_and_growth(limited):
    volume_id = limited.make_volume(5)
    assert limited.volume("POST", "/snapshots", {"snapshot": {"volume_id": volume_id}}).status == 202
    grown = limited.volume("POST", f"/volumes/{volume_id}/action", {"os-extend": {"new_size": 6}})
    assert grown.status == 413
    assert "Requested 1G, quota is 10G and 10G has been consumed" in grown.json["overLimit"]["message"]
    assert limited.volume("POST", "/volumes", {"volume": {"size": 1}}).status == 413


def test_neutron_refuses_the_port_above_the_limit_with_409(limited):
    limited.make_port()
    limited.make_port()  # the third is the router's, there from the start
    answer = limited.network("POST", "/ports", {"port": {"network_id": limited.network_named("private")}})
    assert answer.status == 409
    assert answer.json == {
        "NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}
    }


def test_a_server_that_would_exceed_the_ports_is_refused_and_leaves_nothing(quick, limited):
    given = limited.make_port()
    limited.make_port()
    networks = [{"port": given}, {"uuid": limited.network_named("private")}]
    answer = limited.ask_for_server(networks=networks)
    assert (answer.status, answer.json["forbidden"]["message"]) == (403, "Maximum number of ports exceeded")
    assert quick.cloud.ports[given].device_id == ""
    assert len(quick.cloud.servers) == 0


def test_limits_and_quota_details_tell_what_is_used(limited):
    limited.make_server("a", networks="none")
    limited.make_volume(3)
    absolute = limited.compute("GET", "/limits").json["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["maxTotalInstances"], absolute["totalRAMUsed"]) == (1, 2, 512)
    absolute = limited.volume("GET", "/limits").json["limits"]["absolute"]
    assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"]) == (1, 3)
    details = limited.network("GET", f"/quotas/{limited.project_id}/details.json").json["quota"]
    assert details["port"] == {"limit": 3, "used": 1, "reserved": 0}


def test_only_an_admin_changes_limits(limited, admin):
    path, body = f"/os-quota-sets/{limited.project_id}", {"quota_set": {"instances": 5}}
    assert limited.compute("PUT", path, body).status == 403
    assert admin.compute("PUT", path, body).json["quota_set"]["instances"] == 5
    assert admin.compute("DELETE", path).status == 202
    assert limited.compute("GET", path).json["quota_set"]["instances"] == 10


def test_lifted_quotas_let_everything_through(quick, demo):
    quick.lift_quotas()
    for number in range(12):
        demo.make_volume()
        demo.make_server(f"s-{number}", networks="none")
    assert len(quick.cloud.servers) == 12
