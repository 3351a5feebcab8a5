"""Ports: made by clients or by Nova, bound to servers, and let go again."""

import random
from typing import Any

from openstack_simulator.errors import BadRequest, Conflict
from openstack_simulator.network import security_groups
from openstack_simulator.network.records import Network, Port, Subnet
from openstack_simulator.network.store import Networking, needed, owner_of, policy_forbids, take
from openstack_simulator.records import Caller, new_id

ATTRIBUTES = (
    "name",
    "description",
    "admin_state_up",
    "allowed_address_pairs",
    "port_security_enabled",
)
ROUTER_INTERFACE = "network:router_interface"


def create_port(store: Networking, caller: Caller, values: dict[str, Any]) -> Port:
    """Make a port with addresses.

    Without ``fixed_ips`` it gets one address of the first subnet of each IP version; without ``security_groups`` the
    project's default group.

    Raises:
        NotFound: The network, a subnet or a security group does not exist for the caller.
        BadRequest: An address is none of the subnet's.
        Conflict: The quota is exceeded, an address is taken, or none is left.
    """
    network = store.network(caller, str(needed(values, "network_id")))
    if network.external and not network.shared and not caller.may_see(network.project_id):
        raise policy_forbids("create_port")
    project_id = owner_of(caller, values)
    groups = _groups(store, caller, project_id, network, values)
    store.check_quota(project_id, "port")
    port = Port(
        id=new_id(),
        project_id=project_id,
        network_id=network.id,
        mac_address=str(values.get("mac_address") or _new_mac()),
        security_groups=groups,
        vnic_type=str(values.get("binding:vnic_type") or "normal"),
        profile=dict(values.get("binding:profile") or {}),
        host_id=str(values.get("binding:host_id") or "") if caller.is_admin else "",
    )
    take(port, {name: value for name, value in values.items() if value is not None}, ATTRIBUTES)
    _check_pairs(port)
    port.fixed_ips = _allocate(store, caller, network, values.get("fixed_ips"))
    store.give_port(port, str(values.get("device_id") or ""), str(values.get("device_owner") or ""))
    return store.ports.add(port)


def update_port(store: Networking, caller: Caller, port: Port, values: dict[str, Any]) -> None:
    """Change a port; ``fixed_ips`` replaces the whole list of addresses."""
    network = store.networks[port.network_id]
    if "security_groups" in values:
        port.security_groups = _groups(store, caller, port.project_id, network, values)
    if values.get("fixed_ips") is not None:
        _replace_addresses(store, caller, port, network, values["fixed_ips"])
    before = port.device_id
    take(port, values, ATTRIBUTES)
    _check_pairs(port)
    if "device_id" in values or "device_owner" in values:
        device_id = str(values.get("device_id", port.device_id) or "")
        store.give_port(port, device_id, str(values.get("device_owner", port.device_owner) or ""))
    if "binding:host_id" in values and caller.is_admin:
        port.host_id = str(values["binding:host_id"] or "")
    if before and not port.device_id:
        port.status, port.host_id = "DOWN", ""


def delete_port(store: Networking, caller: Caller, port: Port) -> None:
    """Delete a port that a client may delete.

    Raises:
        Conflict: It is a router's interface.
    """
    if port.device_owner == ROUTER_INTERFACE:
        raise Conflict(
            f"Port {port.id} cannot be deleted directly via the port API: has device owner {ROUTER_INTERFACE}.",
            kind="ServicePortInUse",
        )
    remove(store, port)


def remove(store: Networking, port: Port) -> None:
    """Delete a port, give its addresses back and free the floating IPs on it."""
    for ip in store.ips_on(port.id):
        store.put_ip(ip, None, None, None)
        ip.status = "DOWN"
        store.touch(ip)
    store.give_port(port, "", "")
    for pair in port.fixed_ips:
        _release(store, pair)
    store.ports.remove(port.id)


def claim(store: Networking, port: Port, device_id: str, zone: str) -> None:
    """Reserve a port for a server; it stays down until it is bound."""
    store.give_port(port, device_id, f"compute:{zone}")
    store.touch(port)


def bind(store: Networking, port: Port, host: str) -> None:
    """Plug a claimed port in on a host; it becomes active."""
    port.host_id = host
    store.touch(port)
    device_id = port.device_id

    def up() -> None:
        if port.device_id == device_id:
            port.status = "ACTIVE"
            store.touch(port)

    def failed(_message: str) -> None:
        port.status = "ERROR"

    store.lifecycle.begin("port.bind", port.id, up, failed)


def unbind(store: Networking, port: Port) -> None:
    """Let go of a port that outlives its server."""
    store.lifecycle.drop(port.id)
    store.give_port(port, "", "")
    port.host_id, port.status = "", "DOWN"
    store.touch(port)


def _groups(store: Networking, caller: Caller, project_id: str, network: Network, values: dict[str, Any]) -> list[str]:
    if values.get("port_security_enabled") is False or not network.port_security_enabled:
        if values.get("security_groups"):
            raise BadRequest(
                "Port Security must be enabled in order to have allowed address pairs and security groups on a port.",
                kind="PortSecurityAndIPRequiredForSecurityGroups",
            )
        return []
    asked = values.get("security_groups")
    if asked is None:
        return [security_groups.default_group(store, project_id).id]
    return [store.security_groups.get(caller, str(one)).id for one in asked]


def _check_pairs(port: Port) -> None:
    for pair in port.allowed_address_pairs:
        if not isinstance(pair, dict) or "ip_address" not in pair:
            raise BadRequest(
                "Invalid input for allowed_address_pairs. Reason: AllowedAddressPair must contain ip_address.",
                kind="AllowedAddressPairsMissingIP",
            )
        pair.setdefault("mac_address", port.mac_address)


def _allocate(
    store: Networking, caller: Caller, network: Network, asked: list[dict[str, str]] | None
) -> list[dict[str, str]]:
    """Take addresses; if one cannot be had, those taken before are given back."""
    taken: list[dict[str, str]] = []
    try:
        for subnet, address in _wanted(store, caller, network, asked):
            space = subnet.space
            address = space.take(address, subnet.id) if address else space.take_any(network.id)
            taken.append({"subnet_id": subnet.id, "ip_address": address})
    except Exception:
        for pair in taken:
            _release(store, pair)
        raise
    return taken


def _wanted(
    store: Networking, caller: Caller, network: Network, asked: list[dict[str, str]] | None
) -> list[tuple[Subnet, str | None]]:
    subnets = store.subnets_of(network.id)
    if asked is None:
        versions = {subnet.ip_version: subnet for subnet in reversed(subnets)}
        return [(subnet, None) for _, subnet in sorted(versions.items())]
    wanted: list[tuple[Subnet, str | None]] = []
    for one in asked:
        address = one.get("ip_address")
        if one.get("subnet_id"):
            subnet = store.subnets.find(one["subnet_id"])
            if subnet is None or subnet.network_id != network.id:
                raise BadRequest(
                    f"Failed to create port on network {network.id}, because fixed_ips included invalid subnet "
                    f"{one['subnet_id']}.",
                    kind="InvalidInput",
                )
            wanted.append((subnet, address))
        else:
            wanted.append((_subnet_with(subnets, network, str(address)), address))
    return wanted


def _subnet_with(subnets: list[Subnet], network: Network, address: str) -> Subnet:
    no_subnet = BadRequest(
        f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
        kind="InvalidIpForNetwork",
    )
    for subnet in subnets:
        try:
            if subnet.space.contains(address):
                return subnet
        except ValueError:
            raise no_subnet from None
    raise no_subnet


def _replace_addresses(
    store: Networking, caller: Caller, port: Port, network: Network, asked: list[dict[str, str]]
) -> None:
    kept = [
        pair
        for pair in port.fixed_ips
        if any(
            one.get("ip_address") == pair["ip_address"]
            or (not one.get("ip_address") and one.get("subnet_id") == pair["subnet_id"])
            for one in asked
        )
    ]
    still = {pair["ip_address"] for pair in kept} | {pair["subnet_id"] for pair in kept}
    new = [
        one
        for one in asked
        if one.get("ip_address") not in still and (one.get("ip_address") or one.get("subnet_id") not in still)
    ]
    added = _allocate(store, caller, network, new)
    for pair in port.fixed_ips:
        if pair not in kept:
            _release(store, pair)
    port.fixed_ips = kept + added


def _release(store: Networking, pair: dict[str, str]) -> None:
    subnet = store.subnets.find(pair["subnet_id"])
    if subnet is not None:
        subnet.space.give_back(pair["ip_address"])


def _new_mac() -> str:
    return "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))  # noqa: S311 - no secret
