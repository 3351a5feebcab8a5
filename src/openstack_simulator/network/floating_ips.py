"""Floating IPs: taken from an external network, put on ports and taken off again."""

from typing import Any

from openstack_simulator.errors import BadRequest, Conflict, NotFound
from openstack_simulator.network.records import FloatingIp, Port
from openstack_simulator.network.routers import router_between
from openstack_simulator.network.store import Networking, needed, owner_of
from openstack_simulator.records import Caller, new_id


def create_floating_ip(store: Networking, caller: Caller, values: dict[str, Any]) -> FloatingIp:
    """Take an address of an external network, and put it on a port if one is named.

    Raises:
        BadRequest: The network is not external.
        NotFound: The network or port does not exist, or no router connects them.
        Conflict: The quota is exceeded, the address is taken, or none is left.
    """
    project_id = owner_of(caller, values)
    network = store.network(caller, str(needed(values, "floating_network_id")))
    if not network.external:
        raise BadRequest(
            f"Bad floatingip request: Network {network.id} is not a valid external network.", kind="BadRequest"
        )
    store.check_quota(project_id, "floatingip")
    subnets = store.subnets_of(network.id)
    wanted = values.get("floating_ip_address")
    if values.get("subnet_id"):
        subnets = [subnet for subnet in subnets if subnet.id == values["subnet_id"]]
    elif wanted:
        subnets = [subnet for subnet in subnets if subnet.space.contains(str(wanted))]
    subnets = [subnet for subnet in subnets if subnet.ip_version == 4]
    if not subnets:
        raise BadRequest(
            f"Bad floatingip request: Network {network.id} does not contain any IPv4 subnet.", kind="BadRequest"
        )
    port = store.ports.get(caller, str(values["port_id"])) if values.get("port_id") else None
    place = _find_place(store, port, network.id, values.get("fixed_ip_address"), None) if port else None
    space = subnets[0].space
    address = space.take(str(wanted), subnets[0].id) if wanted else space.take_any(network.id)
    ip = store.floating_ips.add(
        FloatingIp(
            id=new_id(),
            project_id=project_id,
            description=values.get("description") or "",
            floating_network_id=network.id,
            floating_ip_address=address,
            subnet_id=subnets[0].id,
        )
    )
    if port is not None and place is not None:
        _associate(store, ip, port, *place)
    return ip


def update_floating_ip(store: Networking, caller: Caller, ip: FloatingIp, values: dict[str, Any]) -> None:
    """Change the description, or the port: ``port_id`` ``None`` takes the address off.

    The status follows a little later, so the answer to this call still shows the old one.

    Raises:
        NotFound: The port does not exist, or no router connects it with the external network.
        Conflict: The port's address has a floating IP already.
    """
    if "description" in values:
        ip.description = values["description"] or ""
    if "port_id" not in values:
        return
    if not values["port_id"]:
        _disassociate(store, ip)
        return
    port = store.ports.get(caller, str(values["port_id"]))
    place = _find_place(store, port, ip.floating_network_id, values.get("fixed_ip_address"), ip)
    _associate(store, ip, port, *place)


def delete_floating_ip(store: Networking, caller: Caller, ip: FloatingIp) -> None:
    """Give an address back."""
    subnet = store.subnets.find(ip.subnet_id)
    if subnet is not None:
        subnet.space.give_back(ip.floating_ip_address)
    store.put_ip(ip, None, None, None)
    store.floating_ips.remove(ip.id)


def _find_place(
    store: Networking, port: Port, external_network_id: str, asked: str | None, own: FloatingIp | None
) -> tuple[str, str]:
    """The fixed address and the router for a floating IP on a port."""
    pairs = [pair for pair in port.fixed_ips if ":" not in pair["ip_address"]]
    if asked:
        pairs = [pair for pair in pairs if pair["ip_address"] == asked]
    if not pairs:
        raise BadRequest(
            f"Bad floatingip request: Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses.",
            kind="BadRequest",
        )
    address, subnet_id = pairs[0]["ip_address"], pairs[0]["subnet_id"]
    for other in store.ips_on(port.id):
        if other is not own and other.fixed_ip_address == address:
            raise Conflict(
                f"Cannot associate floating IP {own.floating_ip_address if own else ''} ({own.id if own else None}) "
                f"with port {port.id} using fixed IP {address}, as that fixed IP already has a floating IP on "
                f"external network {external_network_id}.",
                kind="FloatingIPPortAlreadyAssociated",
            )
    router = router_between(store, subnet_id, external_network_id)
    if router is None:
        raise NotFound(
            f"External network {external_network_id} is not reachable from subnet {subnet_id}.  Therefore, cannot "
            f"associate Port {port.id} with a Floating IP.",
            kind="ExternalGatewayForFloatingIPNotFound",
        )
    return address, router.id


def _associate(store: Networking, ip: FloatingIp, port: Port, address: str, router_id: str) -> None:
    store.put_ip(ip, port.id, address, router_id)

    def up() -> None:
        if ip.port_id == port.id:
            ip.status = "ACTIVE"
            store.touch(ip)

    def failed(_message: str) -> None:
        ip.status = "ERROR"

    store.lifecycle.drop(ip.id)
    store.lifecycle.begin("floating_ip.associate", ip.id, up, failed)


def _disassociate(store: Networking, ip: FloatingIp) -> None:
    store.put_ip(ip, None, None, None)

    def down() -> None:
        if ip.port_id is None:
            ip.status = "DOWN"
            store.touch(ip)

    store.lifecycle.drop(ip.id)
    store.lifecycle.begin("floating_ip.disassociate", ip.id, down)
