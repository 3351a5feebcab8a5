import pytest


def rule(group_id: str, **values) -> dict:
    return {
        "security_group_rule": {
            "security_group_id": group_id,
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": 443,
            "port_range_max": 443,
        }
        | values
    }


@pytest.fixture
def group(demo) -> str:
    made = demo.network("POST", "/security-groups", {"security_group": {"name": "g"}})
    return str(made.json["security_group"]["id"])


@pytest.fixture
def floating_ip(demo) -> str:
    body = {"floatingip": {"floating_network_id": demo.network_named("public")}}
    return str(demo.network("POST", "/floatingips", body).json["floatingip"]["id"])


def error(answer) -> tuple[int, str]:
    return answer.status, answer.json["NeutronError"]["type"]


def test_every_project_has_a_default_group_and_a_new_group_lets_only_out(demo, group):
    groups = {one["name"]: one for one in demo.network("GET", "/security-groups").json["security_groups"]}
    assert set(groups) == {"default", "web", "g"}
    directions = sorted(one["direction"] for one in groups["default"]["security_group_rules"])
    assert directions == ["egress", "egress", "ingress", "ingress"]
    assert [one["direction"] for one in groups["g"]["security_group_rules"]] == ["egress", "egress"]


def test_the_same_rule_twice_is_a_conflict_that_names_the_first(demo, group):
    first = demo.network("POST", "/security-group-rules", rule(group)).json["security_group_rule"]["id"]
    answer = demo.network("POST", "/security-group-rules", rule(group, description="again"))
    assert error(answer) == (409, "SecurityGroupRuleExists")
    assert first in answer.json["NeutronError"]["message"]
    assert demo.network("POST", "/security-group-rules", rule(group, port_range_max=444)).status == 201


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"protocol": None}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"port_range_min": 500}, "SecurityGroupInvalidPortRange"),
        ({"remote_ip_prefix": "x"}, "HTTPBadRequest"),
        ({"remote_ip_prefix": "fd00::/64"}, "SecurityGroupRuleParameterConflict"),
        ({"ethertype": "IPX"}, "SecurityGroupInvalidEtherType"),
        ({"direction": "up"}, "HTTPBadRequest"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(demo, group, values, kind):
    assert error(demo.network("POST", "/security-group-rules", rule(group, **values))) == (400, kind)


def test_a_group_in_use_cannot_be_deleted_and_the_default_group_never(demo, group):
    port = demo.make_port(security_groups=[group])
    assert error(demo.network("DELETE", f"/security-groups/{group}")) == (409, "SecurityGroupInUse")
    demo.network("PUT", f"/ports/{port}", {"port": {"security_groups": []}})
    assert demo.network("DELETE", f"/security-groups/{group}").status == 204
    default = demo.network("GET", "/security-groups?name=default").json["security_groups"][0]["id"]
    assert error(demo.network("DELETE", f"/security-groups/{default}")) == (409, "SecurityGroupCannotRemoveDefault")


def test_a_port_takes_the_address_it_asks_for_or_the_next_free_one(demo):
    subnet = demo.network("GET", "/subnets").json["subnets"][0]["id"]
    port = demo.make_port(fixed_ips=[{"subnet_id": subnet, "ip_address": "10.20.1.1"}])
    shown = demo.network("GET", f"/ports/{port}").json["port"]
    assert shown["fixed_ips"] == [{"subnet_id": subnet, "ip_address": "10.20.1.1"}]
    assert (shown["status"], shown["device_id"], len(shown["security_groups"])) == ("DOWN", "", 1)
    network = shown["network_id"]
    again = {"port": {"network_id": network, "fixed_ips": [{"ip_address": "10.20.1.1"}]}}
    assert error(demo.network("POST", "/ports", again)) == (409, "IpAddressAlreadyAllocated")
    foreign = {"port": {"network_id": network, "fixed_ips": [{"ip_address": "10.99.0.1"}]}}
    assert error(demo.network("POST", "/ports", foreign)) == (400, "InvalidIpForNetwork")
    demo.network("DELETE", f"/ports/{port}")
    assert demo.network("POST", "/ports", again).status == 201


def test_ports_are_found_by_what_they_have(demo):
    subnet = demo.network("GET", "/subnets").json["subnets"][0]["id"]
    mine = demo.make_port(name="mine", description="d")
    demo.make_port(name="other")
    demo.network("PUT", f"/ports/{mine}/tags", {"tags": ["key-1", "blue"]})

    def found(query: str) -> list[str]:
        return [one["id"] for one in demo.network("GET", f"/ports?{query}").json["ports"]]

    address = demo.network("GET", f"/ports/{mine}").json["port"]["fixed_ips"][0]["ip_address"]
    assert found("name=mine") == [mine]
    assert found("tags=key-1") == [mine]
    assert found("tags=key-1,red") == []
    assert found("tags-any=red,blue") == [mine]
    assert found(f"fixed_ips=ip_address%3D{address}") == [mine]
    assert len(found(f"fixed_ips=subnet_id%3D{subnet}")) == 3
    assert found(f"id={mine}&id=x") == [mine]
    assert found("device_owner=network:router_interface&status=ACTIVE") != []
    assert len(found("device_id=")) == 2
    assert demo.network("GET", "/ports?colour=red").status == 400
    only = demo.network("GET", "/ports?name=mine&fields=id&fields=name").json["ports"]
    assert only == [{"id": mine, "name": "mine"}]


def test_lists_come_in_pages_with_links(demo):
    for number in range(4):
        demo.make_port(name=f"p{number}")
    path, seen = "/ports?limit=2", []
    while path:
        body = demo.network("GET", path).json
        seen += [one["id"] for one in body["ports"]]
        path = body["ports_links"][0]["href"].partition("/network/v2.0")[2] if "ports_links" in body else ""
    assert len(seen) == len(set(seen)) == 5


def test_a_tag_is_put_on_and_taken_off(demo):
    port = demo.make_port()
    assert demo.network("PUT", f"/ports/{port}/tags/blue").status == 201
    assert demo.network("GET", f"/ports/{port}/tags/blue").status == 204
    assert demo.network("DELETE", f"/ports/{port}/tags/blue").status == 204
    assert error(demo.network("DELETE", f"/ports/{port}/tags/blue")) == (404, "TagNotFound")


def test_a_floating_ip_is_active_shortly_after_the_answer_that_put_it_on_a_port(simulator, demo, floating_ip):
    path, port = f"/floatingips/{floating_ip}", demo.make_port()
    answer = demo.network("PUT", path, {"floatingip": {"port_id": port}}).json["floatingip"]
    assert (answer["status"], answer["port_id"]) == ("DOWN", port)
    simulator.clock.advance(0.1)
    shown = demo.network("GET", path).json["floatingip"]
    assert shown["status"] == "ACTIVE"
    assert shown["fixed_ip_address"].startswith("10.20.")
    answer = demo.network("PUT", path, {"floatingip": {"port_id": None}}).json["floatingip"]
    assert (answer["status"], answer["port_id"]) == ("ACTIVE", None)
    simulator.clock.advance(0.1)
    assert demo.network("GET", path).json["floatingip"]["status"] == "DOWN"


def test_a_port_has_one_floating_ip_and_frees_it_when_it_goes(quick, demo, floating_ip):
    port = demo.make_port()
    demo.network("PUT", f"/floatingips/{floating_ip}", {"floatingip": {"port_id": port}})
    body = {"floatingip": {"floating_network_id": demo.network_named("public"), "port_id": port}}
    assert error(demo.network("POST", "/floatingips", body)) == (409, "FloatingIPPortAlreadyAssociated")
    demo.network("DELETE", f"/ports/{port}")
    ip = quick.cloud.floating_ips[floating_ip]
    assert (ip.port_id, ip.status) == (None, "DOWN")


def test_a_port_that_no_router_connects_cannot_have_a_floating_ip(demo, floating_ip):
    network = demo.network("POST", "/networks", {"network": {"name": "lonely"}}).json["network"]["id"]
    demo.network("POST", "/subnets", {"subnet": {"network_id": network, "cidr": "10.99.0.0/24", "ip_version": 4}})
    port = demo.network("POST", "/ports", {"port": {"network_id": network}}).json["port"]["id"]
    answer = demo.network("PUT", f"/floatingips/{floating_ip}", {"floatingip": {"port_id": port}})
    assert error(answer) == (404, "ExternalGatewayForFloatingIPNotFound")


def test_a_tenants_network_is_built_and_taken_down_in_the_order_neutron_wants(quick, demo):
    network = demo.network("POST", "/networks", {"network": {"name": "n", "mtu": 1400}}).json["network"]["id"]
    subnet_body = {"network_id": network, "cidr": "192.168.7.0/24", "ip_version": 4, "dns_nameservers": ["1.1.1.1"]}
    subnet = demo.network("POST", "/subnets", {"subnet": subnet_body}).json["subnet"]
    assert subnet["gateway_ip"] == "192.168.7.1"
    assert subnet["allocation_pools"] == [{"start": "192.168.7.2", "end": "192.168.7.254"}]
    assert error(demo.network("POST", "/subnets", {"subnet": subnet_body})) == (400, "InvalidInput")
    gateway = {"network_id": demo.network_named("public")}
    body = {"router": {"name": "r", "external_gateway_info": gateway}}
    router = demo.network("POST", "/routers", body).json["router"]["id"]
    by_subnet = {"subnet_id": subnet["id"]}
    added = demo.network("PUT", f"/routers/{router}/add_router_interface", by_subnet).json
    assert quick.cloud.ports[added["port_id"]].addresses == ["192.168.7.1"]
    assert error(demo.network("PUT", f"/routers/{router}/add_router_interface", by_subnet))[0] == 400
    routes = [{"destination": "10.1.0.0/16", "nexthop": "192.168.7.9"}]
    assert demo.network("PUT", f"/routers/{router}", {"router": {"routes": routes}}).status == 200
    wrong = [{"destination": "10.1.0.0/16", "nexthop": "172.16.0.1"}]
    assert error(demo.network("PUT", f"/routers/{router}", {"router": {"routes": wrong}})) == (400, "InvalidRoutes")

    assert error(demo.network("DELETE", f"/routers/{router}")) == (409, "RouterInUse")
    assert error(demo.network("DELETE", f"/subnets/{subnet['id']}")) == (409, "SubnetInUse")
    assert error(demo.network("DELETE", f"/networks/{network}")) == (409, "NetworkInUse")
    assert error(demo.network("DELETE", f"/ports/{added['port_id']}")) == (409, "ServicePortInUse")
    remove = f"/routers/{router}/remove_router_interface"
    assert error(demo.network("PUT", remove, by_subnet)) == (409, "RouterInterfaceInUseByRoute")
    demo.network("PUT", f"/routers/{router}", {"router": {"routes": []}})
    assert demo.network("PUT", remove, by_subnet).status == 200
    assert error(demo.network("PUT", remove, by_subnet)) == (404, "RouterInterfaceNotFoundForSubnet")
    assert demo.network("DELETE", f"/routers/{router}").status == 204
    assert demo.network("DELETE", f"/networks/{network}").status == 204
    assert subnet["id"] not in quick.cloud.subnets


def test_a_gateway_that_floating_ips_need_cannot_be_taken_away(quick, demo, floating_ip):
    port = demo.make_port()
    demo.network("PUT", f"/floatingips/{floating_ip}", {"floatingip": {"port_id": port}})
    [router] = demo.network("GET", "/routers").json["routers"]
    answer = demo.network("PUT", f"/routers/{router['id']}", {"router": {"external_gateway_info": None}})
    assert error(answer) == (409, "RouterExternalGatewayInUseByFloatingIp")


def test_an_exhausted_subnet_is_a_conflict(demo):
    network = demo.network("POST", "/networks", {"network": {"name": "tiny"}}).json["network"]["id"]
    demo.network("POST", "/subnets", {"subnet": {"network_id": network, "cidr": "10.9.0.0/30", "ip_version": 4}})
    assert demo.network("POST", "/ports", {"port": {"network_id": network}}).status == 201
    answer = demo.network("POST", "/ports", {"port": {"network_id": network}})
    assert error(answer) == (409, "IpAddressGenerationFailure")


def test_several_objects_are_made_by_one_call(demo):
    network = demo.network_named("private")
    ports = [{"network_id": network, "name": name} for name in ("a", "b")]
    made = demo.network("POST", "/ports", {"ports": ports})
    assert [one["name"] for one in made.json["ports"]] == ["a", "b"]


def test_allowed_address_pairs_get_the_ports_own_mac(demo):
    port = demo.make_port(allowed_address_pairs=[{"ip_address": "10.20.0.99"}])
    shown = demo.network("GET", f"/ports/{port}").json["port"]
    assert shown["allowed_address_pairs"] == [{"ip_address": "10.20.0.99", "mac_address": shown["mac_address"]}]
