import pytest


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/identity", 300),
        ("/identity/v3", 200),
        ("/image", 300),
        ("/compute", 200),
        ("/compute/v2.1", 200),
        ("/volume", 300),
        ("/volume/v3", 200),
        ("/network", 200),
        ("/network/v2.0", 200),
        ("/placement", 200),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_versions_are_discovered_without_a_token(demo, path, status, slash):
    answer = demo.call("GET", path + slash, X_Auth_Token="")
    assert answer.status == status
    assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_without_a_header_nova_speaks_its_oldest_microversion(quick, demo):
    server_id = demo.make_server()
    answer = demo.call("GET", f"/compute/v2.1/servers/{server_id}")
    assert answer.headers["openstack-api-version"] == "compute 2.1"
    assert "tags" not in answer.json["server"]
    assert set(answer.json["server"]["flavor"]) == {"id", "links"}


def test_the_latest_microversion_is_told_in_the_headers(demo):
    answer = demo.compute("GET", "/servers", version="latest")
    assert answer.headers["openstack-api-version"] == "compute 2.96"
    assert answer.headers["x-openstack-nova-api-version"] == "2.96"
    assert "OpenStack-API-Version" in answer.headers["vary"]
    old_header = demo.call("GET", "/compute/v2.1/servers", X_OpenStack_Nova_API_Version="2.10")
    assert old_header.headers["openstack-api-version"] == "compute 2.10"


@pytest.mark.parametrize(("version", "status"), [("2.97", 406), ("3.0", 406), ("2.x", 400), ("new", 400)])
def test_a_microversion_that_is_not_there_is_refused(demo, version, status):
    assert demo.compute("GET", "/servers", version=version).status == status


def test_tags_on_create_came_with_2_52_and_networks_became_required_with_2_37(demo):
    image = next(iter(demo.simulator.cloud.images)).id
    server = {"name": "a", "flavorRef": "1", "imageRef": image, "networks": "none"}
    assert demo.compute("POST", "/servers", {"server": server | {"tags": ["x"]}}, version="2.51").status == 400
    assert demo.compute("POST", "/servers", {"server": server | {"tags": ["x"]}}, version="2.52").status == 202
    del server["networks"]
    assert demo.compute("POST", "/servers", {"server": server}, version="2.37").status == 400
    assert demo.compute("POST", "/servers", {"server": server}, version="2.36").status == 202


def test_server_groups_have_policies_before_2_64_and_one_policy_since(demo):
    old = {"server_group": {"name": "a", "policies": ["affinity"]}}
    made = demo.compute("POST", "/os-server-groups", old, version="2.63").json["server_group"]
    assert made["policies"] == ["affinity"]
    shown = demo.compute("GET", f"/os-server-groups/{made['id']}", version="2.64").json["server_group"]
    assert shown["policy"] == "affinity"
    assert demo.compute("POST", "/os-server-groups", old, version="2.64").status == 400


def test_errors_are_shaped_as_each_service_shapes_them(demo):
    missing = "11111111-2222-3333-4444-555555555555"
    assert demo.compute("GET", f"/servers/{missing}").json == {
        "itemNotFound": {"code": 404, "message": f"Instance {missing} could not be found."}
    }
    assert demo.volume("GET", f"/volumes/{missing}").json == {
        "itemNotFound": {"code": 404, "message": f"Volume {missing} could not be found."}
    }
    assert demo.network("GET", f"/ports/{missing}").json == {
        "NeutronError": {"type": "PortNotFound", "message": f"Port {missing} could not be found.", "detail": ""}
    }
    image = demo.call("GET", f"/image/v2/images/{missing}")
    assert image.status == 404
    assert image.headers["content-type"].startswith("text/html")
    assert f"No image found with ID {missing}" in image.text


def test_an_unknown_call_is_404_and_a_broken_body_is_400(demo):
    assert demo.compute("GET", "/no-such-thing").status == 404
    assert demo.compute("POST", "/servers", {"sever": {}}).status == 400
    assert demo.compute("POST", "/servers", ["no", "object"]).status == 400
    demo.connection.request("POST", "/compute/v2.1/servers", "{", demo.headers)
    answer = demo.connection.getresponse()
    assert answer.status == 400
    answer.read()
