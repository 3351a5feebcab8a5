"""Routers: gateways to external networks, interfaces on subnets, and extra routes."""

import ipaddress
from typing import Any

from openstack_simulator.errors import BadRequest, Conflict, NotFound
from openstack_simulator.network import ports
from openstack_simulator.network.records import Port, Router, Subnet
from openstack_simulator.network.store import Networking, needed, owner_of, policy_forbids, take
from openstack_simulator.records import Caller, new_id

ATTRIBUTES = ("name", "description", "admin_state_up", "routes", "distributed", "ha", "availability_zone_hints")


def create_router(store: Networking, caller: Caller, values: dict[str, Any]) -> Router:
    """Make a router, with a gateway if one is named.

    Raises:
        NotFound: The external network does not exist.
        Conflict: The quota is exceeded, or the external network has no address left.
    """
    project_id = owner_of(caller, values)
    _check(caller, values)
    store.check_quota(project_id, "router")
    router = Router(id=new_id(), project_id=project_id)
    take(router, {name: value for name, value in values.items() if value is not None}, ATTRIBUTES)
    if values.get("external_gateway_info"):
        _set_gateway(store, caller, router, values["external_gateway_info"])
    return store.routers.add(router)


def update_router(store: Networking, caller: Caller, router: Router, values: dict[str, Any]) -> None:
    """Change a router.

    Raises:
        BadRequest: A route's next hop is on no subnet of the router.
        Conflict: The gateway is to go while floating IPs need it.
    """
    _check(caller, values)
    if "routes" in values:
        _check_routes(store, router, values["routes"] or [])
    if "external_gateway_info" in values:
        _set_gateway(store, caller, router, values["external_gateway_info"] or None)
    take(router, values, ATTRIBUTES)


def delete_router(store: Networking, caller: Caller, router: Router) -> None:
    """Delete a router.

    Raises:
        Conflict: It still has interfaces.
    """
    if store.ports_of(router.id):
        raise Conflict(f"Router {router.id} still has ports", kind="RouterInUse")
    _set_gateway(store, caller, router, None)
    store.routers.remove(router.id)


def add_interface(store: Networking, caller: Caller, router: Router, values: dict[str, Any]) -> Port:
    """Connect a router to a subnet, with the subnet's gateway address, or by a port that is there.

    Raises:
        BadRequest: Neither is named, the subnet has no gateway or is connected already, or subnets overlap.
        Conflict: The port is in use.
    """
    if values.get("port_id"):
        port = store.ports.get(caller, str(values["port_id"]))
        if port.device_id:
            raise Conflict(
                f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has an "
                f"attached device {port.device_id}.",
                kind="PortInUse",
            )
        for pair in port.fixed_ips:
            _check_new_subnet(store, router, store.subnets[pair["subnet_id"]])
    elif values.get("subnet_id"):
        subnet = store.subnet(caller, str(values["subnet_id"]))
        if not subnet.gateway_ip:
            raise BadRequest(
                "Bad router request: Subnet for router interface must have a gateway IP.", kind="BadRequest"
            )
        _check_new_subnet(store, router, subnet)
        asked = {
            "network_id": subnet.network_id,
            "project_id": router.project_id,
            "fixed_ips": [{"subnet_id": subnet.id, "ip_address": subnet.gateway_ip}],
            "security_groups": [],
        }
        port = ports.create_port(store, caller, asked)
    else:
        raise BadRequest("Bad router request: Either subnet_id or port_id must be specified.", kind="BadRequest")
    store.give_port(port, router.id, ports.ROUTER_INTERFACE)
    port.status, port.host_id, port.security_groups = "ACTIVE", "compute1", []
    store.touch(router)
    return port


def remove_interface(store: Networking, caller: Caller, router: Router, values: dict[str, Any]) -> Port:
    """Disconnect a router from a subnet; the port is deleted.

    Raises:
        NotFound: There is no such interface.
        Conflict: A floating IP or a route needs it.
    """
    for port in store.ports_of(router.id):
        subnets = [pair["subnet_id"] for pair in port.fixed_ips]
        if port.id == values.get("port_id") or values.get("subnet_id") in subnets:
            break
    else:
        wanted = values.get("port_id") or values.get("subnet_id")
        raise NotFound(
            f"Router {router.id} has no interface on subnet {wanted}", kind="RouterInterfaceNotFoundForSubnet"
        )
    for subnet_id in subnets:
        _check_unused(store, router, store.subnets[subnet_id])
    ports.remove(store, port)
    store.touch(router)
    return port


def connected_subnets(store: Networking, router: Router) -> list[Subnet]:
    """The subnets a router has interfaces on."""
    return [
        store.subnets[pair["subnet_id"]]
        for port in store.ports_of(router.id)
        for pair in port.fixed_ips
        if pair["subnet_id"] in store.subnets
    ]


def router_between(store: Networking, subnet_id: str, external_network_id: str) -> Router | None:
    """The router that connects a subnet with an external network, if there is one."""
    for router in store.routers:
        gateway = router.external_gateway_info or {}
        if gateway.get("network_id") == external_network_id and any(
            subnet.id == subnet_id for subnet in connected_subnets(store, router)
        ):
            return router
    return None


def _check(caller: Caller, values: dict[str, Any]) -> None:
    for name in ("distributed", "ha"):
        if values.get(name) is not None and not caller.is_admin:
            raise policy_forbids(f"create_router:{name}")


def _check_new_subnet(store: Networking, router: Router, subnet: Subnet) -> None:
    for other in connected_subnets(store, router):
        if other.id == subnet.id:
            raise BadRequest(f"Bad router request: Router already has a port on subnet {subnet.id}.", kind="BadRequest")
        mine, theirs = subnet.space.network, other.space.network
        if mine.version == theirs.version and ipaddress.ip_network(mine).overlaps(ipaddress.ip_network(theirs)):
            raise BadRequest(
                f"Bad router request: Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {other.cidr} of "
                f"subnet {other.id}.",
                kind="BadRequest",
            )


def _check_unused(store: Networking, router: Router, subnet: Subnet) -> None:
    for ip in store.floating_ips:
        if ip.router_id == router.id and ip.fixed_ip_address and subnet.space.contains(ip.fixed_ip_address):
            raise Conflict(
                f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, as it is required "
                "by one or more floating IPs.",
                kind="RouterInterfaceInUseByFloatingIP",
            )
    for route in router.routes:
        if subnet.space.contains(route["nexthop"]):
            raise Conflict(
                f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, as it is required "
                "by one or more routes.",
                kind="RouterInterfaceInUseByRoute",
            )


def _check_routes(store: Networking, router: Router, routes: list[dict[str, str]]) -> None:
    reachable = connected_subnets(store, router)
    for pair in (router.external_gateway_info or {}).get("external_fixed_ips", []):
        reachable.append(store.subnets[pair["subnet_id"]])
    for route in routes:
        hop = str(needed(route, "nexthop"))
        try:
            ipaddress.ip_network(str(needed(route, "destination")))
            known = any(subnet.space.contains(hop) for subnet in reachable)
        except ValueError as error:
            raise BadRequest(f"Invalid input for routes. Reason: {error}.", kind="HTTPBadRequest") from error
        if not known:
            raise BadRequest(
                f"Invalid format for routes: {routes}, the nexthop is not connected with router", kind="InvalidRoutes"
            )


def _set_gateway(store: Networking, caller: Caller, router: Router, asked: dict[str, Any] | None) -> None:
    old = router.external_gateway_info
    if asked is not None and old is not None and asked.get("network_id") == old["network_id"]:
        if asked.get("enable_snat") is not None:
            old["enable_snat"] = asked["enable_snat"]
        return
    if old is not None:
        if any(ip.router_id == router.id for ip in store.floating_ips):
            raise Conflict(
                f"Gateway cannot be updated for router {router.id}, since a gateway to external network "
                f"{old['network_id']} is required by one or more floating IPs.",
                kind="RouterExternalGatewayInUseByFloatingIp",
            )
        for pair in old["external_fixed_ips"]:
            store.subnets[pair["subnet_id"]].space.give_back(pair["ip_address"])
        router.external_gateway_info = None
    if asked is None:
        return
    network = store.network(caller, str(needed(asked, "network_id")))
    if not network.external:
        raise BadRequest(f"Bad router request: Network {network.id} is not an external network.", kind="BadRequest")
    fixed = []
    subnets = {subnet.id: subnet for subnet in store.subnets_of(network.id)}
    wanted = asked.get("external_fixed_ips") or [{"subnet_id": one} for one in list(subnets)[:1]]
    for pair in wanted:
        subnet = subnets.get(str(pair.get("subnet_id"))) or next(iter(subnets.values()))
        address = pair.get("ip_address")
        taken = subnet.space.take(address, subnet.id) if address else subnet.space.take_any(network.id)
        fixed.append({"subnet_id": subnet.id, "ip_address": taken})
    router.external_gateway_info = {
        "network_id": network.id,
        "external_fixed_ips": fixed,
        "enable_snat": asked.get("enable_snat", True),
    }
