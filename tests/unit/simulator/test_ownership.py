"""What belongs to one project does not exist for another."""

import pytest

from tests.unit.simulator.api import Api


@pytest.fixture
def other(simulator, admin) -> Api:
    project = admin.identity("POST", "/projects", {"project": {"name": "other"}}).json["project"]["id"]
    user = admin.identity("POST", "/users", {"user": {"name": "olga", "password": "olga"}}).json["user"]["id"]
    role = admin.identity("GET", "/roles?name=member").json["roles"][0]["id"]
    assert admin.identity("PUT", f"/projects/{project}/users/{user}/roles/{role}").status == 204
    return Api(simulator, "olga", "other")


def test_servers_volumes_and_ports_of_another_project_are_not_found(quick, demo, other):
    server, volume, port = demo.make_server(), demo.make_volume(), demo.make_port()
    assert other.compute("GET", f"/servers/{server}").status == 404
    assert other.compute("DELETE", f"/servers/{server}").status == 404
    assert other.volume("GET", f"/volumes/{volume}").status == 404
    assert other.network("GET", f"/ports/{port}").status == 404
    assert other.network("DELETE", f"/ports/{port}").status == 404
    assert other.compute("GET", "/servers").json["servers"] == []
    assert other.volume("GET", "/volumes").json["volumes"] == []
    assert other.network("GET", "/ports").json["ports"] == []


def test_a_user_sees_the_external_network_but_neither_its_subnets_nor_foreign_networks(other):
    seen = [one["name"] for one in other.network("GET", "/networks").json["networks"]]
    assert seen == ["public"]
    assert other.network("GET", "/subnets").json["subnets"] == []


def test_a_policy_shares_a_network_with_one_project(demo, other):
    network = demo.network_named("private")
    policy = {
        "object_type": "network",
        "object_id": network,
        "target_tenant": other.project_id,
        "action": "access_as_shared",
    }
    made = demo.network("POST", "/rbac-policies", {"rbac_policy": policy})
    assert made.status == 201
    assert other.network("GET", f"/networks/{network}").status == 200
    port = other.network("POST", "/ports", {"port": {"network_id": network}})
    assert port.status == 201
    path = f"/rbac-policies/{made.json['rbac_policy']['id']}"
    assert demo.network("DELETE", path).status == 409
    other.network("DELETE", f"/ports/{port.json['port']['id']}")
    assert demo.network("DELETE", path).status == 204
    assert other.network("GET", f"/networks/{network}").status == 404


def test_an_admin_lists_all_projects_only_when_asked_to(quick, demo, admin):
    server, volume = demo.make_server(), demo.make_volume()
    assert admin.compute("GET", "/servers").json["servers"] == []
    assert [one["id"] for one in admin.compute("GET", "/servers?all_tenants=1").json["servers"]] == [server]
    assert admin.volume("GET", "/volumes/detail").json["volumes"] == []
    assert [one["id"] for one in admin.volume("GET", "/volumes/detail?all_tenants=1").json["volumes"]] == [volume]
    assert admin.compute("GET", f"/servers/{server}").status == 200


def test_a_user_may_not_list_all_projects(demo):
    assert demo.compute("GET", "/servers?all_tenants=1").status == 403


def test_what_only_admins_see_is_not_in_a_users_answer(quick, demo, admin):
    server = demo.make_server()
    assert "OS-EXT-SRV-ATTR:host" not in demo.server(server)
    assert admin.server(server)["OS-EXT-SRV-ATTR:host"] == "compute1"
    network = demo.network_named("private")
    assert "provider:network_type" not in demo.network("GET", f"/networks/{network}").json["network"]
    assert admin.network("GET", f"/networks/{network}").json["network"]["provider:network_type"] == "vxlan"


def test_a_url_with_another_project_in_it_is_refused(demo, other):
    assert demo.call("GET", f"/volume/v3/{other.project_id}/volumes").status == 400


def test_a_user_may_not_make_shared_or_external_networks(demo):
    for name in ("shared", "router:external"):
        answer = demo.network("POST", "/networks", {"network": {"name": "n", name: True}})
        assert answer.status == 403
        assert answer.json["NeutronError"]["type"] == "PolicyNotAuthorized"
