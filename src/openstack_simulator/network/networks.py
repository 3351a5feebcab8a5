"""Networks, their subnets, and policies that share them."""

import ipaddress
from typing import Any

from openstack_simulator.errors import BadRequest, Conflict
from openstack_simulator.network.addressing import AddressSpace, default_pools, read_pools
from openstack_simulator.network.records import Network, RbacPolicy, Subnet
from openstack_simulator.network.store import Networking, needed, owner_of, policy_forbids, take
from openstack_simulator.records import Caller, new_id

NETWORK_ATTRIBUTES = (
    "name",
    "description",
    "admin_state_up",
    "shared",
    "is_default",
    "mtu",
    "port_security_enabled",
    "availability_zone_hints",
)
SUBNET_ATTRIBUTES = ("name", "description", "enable_dhcp", "dns_nameservers", "host_routes")
SMALLEST_MTU = 68


def create_network(store: Networking, caller: Caller, values: dict[str, Any]) -> Network:
    """Make a network.

    Raises:
        Forbidden: A user without the admin's role wants it shared, external or on a provider's network.
        Conflict: The quota is exceeded.
    """
    project_id = owner_of(caller, values)
    _check_network(caller, values)
    store.check_quota(project_id, "network")
    network = Network(id=new_id(), project_id=project_id)
    _take_network(network, values)
    network.network_type = values.get("provider:network_type") or ("flat" if network.external else "vxlan")
    network.physical_network = values.get("provider:physical_network")
    network.segmentation_id = values.get("provider:segmentation_id") or len(store.networks) + 1
    return store.networks.add(network)


def update_network(store: Networking, caller: Caller, network: Network, values: dict[str, Any]) -> None:
    """Change a network."""
    _check_network(caller, values)
    _take_network(network, values)


def delete_network(store: Networking, caller: Caller, network: Network) -> None:
    """Delete a network and its subnets.

    Raises:
        Conflict: Ports, routers or floating IPs use it.
    """
    used = (
        any(port.network_id == network.id for port in store.ports)
        or any(ip.floating_network_id == network.id for ip in store.floating_ips)
        or any((router.external_gateway_info or {}).get("network_id") == network.id for router in store.routers)
    )
    if used:
        raise Conflict(
            f"Unable to complete operation on network {network.id}. There are one or more ports still in use on the "
            "network.",
            kind="NetworkInUse",
        )
    for subnet in store.subnets_of(network.id):
        store.subnets.remove(subnet.id)
    for policy in [one for one in store.rbac_policies if one.object_id == network.id]:
        store.rbac_policies.remove(policy.id)
    store.networks.remove(network.id)


def _check_network(caller: Caller, values: dict[str, Any]) -> None:
    for_admins = ("shared", "router:external", "is_default", "provider:network_type", "provider:segmentation_id")
    for name in for_admins:
        if values.get(name) and not caller.is_admin:
            raise policy_forbids(f"create_network:{name}")
    mtu = values.get("mtu")
    if mtu is not None and (not isinstance(mtu, int) or mtu < 0):
        raise BadRequest(f"Invalid input for mtu. Reason: '{mtu}' is not a valid MTU.", kind="HTTPBadRequest")
    if mtu is not None and 0 < mtu < SMALLEST_MTU:
        raise BadRequest(
            f"Invalid input for operation: Requested MTU is too small, minimum is {SMALLEST_MTU}.", kind="InvalidInput"
        )


def _take_network(network: Network, values: dict[str, Any]) -> None:
    take(network, {name: value for name, value in values.items() if value is not None}, NETWORK_ATTRIBUTES)
    if values.get("router:external") is not None:
        network.external = bool(values["router:external"])


def create_subnet(store: Networking, caller: Caller, values: dict[str, Any]) -> Subnet:
    """Make a subnet.

    Raises:
        NotFound: The caller has no such network.
        BadRequest: The CIDR is none, or overlaps with another subnet of the network.
        Conflict: The quota is exceeded, or the gateway lies in a pool.
    """
    network = store.network(caller, str(needed(values, "network_id")))
    if not caller.may_see(network.project_id):
        raise policy_forbids("create_subnet")
    project_id = owner_of(caller, values) if caller.is_admin else network.project_id
    cidr = _read_cidr(str(needed(values, "cidr")))
    version = int(values.get("ip_version") or cidr.version)
    if version != cidr.version:
        raise BadRequest(
            f"Invalid input for operation: ip_version '{version}' does not match cidr '{cidr}'.", kind="InvalidInput"
        )
    for other in store.subnets_of(network.id):
        if other.space.network.version == cidr.version and _overlap(other, cidr):
            raise BadRequest(
                f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network.id} overlaps "
                "with another subnet.",
                kind="InvalidInput",
            )
    store.check_quota(project_id, "subnet")
    gateway: str | None = str(next(cidr.hosts()))
    if "gateway_ip" in values:
        gateway = values["gateway_ip"] or None
    pools = read_pools(cidr, values.get("allocation_pools") or ()) or default_pools(cidr, gateway)
    _check_gateway(gateway, pools)
    subnet = Subnet(
        id=new_id(),
        project_id=project_id,
        network_id=network.id,
        cidr=str(cidr),
        ip_version=cidr.version,
        gateway_ip=gateway,
        space=AddressSpace(cidr, pools),
        ipv6_address_mode=values.get("ipv6_address_mode"),
        ipv6_ra_mode=values.get("ipv6_ra_mode"),
    )
    take(subnet, {name: value for name, value in values.items() if value is not None}, SUBNET_ATTRIBUTES)
    store.subnets.add(subnet)
    network.subnets.append(subnet.id)
    return subnet


def update_subnet(store: Networking, caller: Caller, subnet: Subnet, values: dict[str, Any]) -> None:
    """Change a subnet; pools and gateway too, as long as they fit each other.

    Raises:
        Conflict: The new gateway lies in a pool.
    """
    pools = subnet.space.pools
    if values.get("allocation_pools"):
        pools = read_pools(subnet.space.network, values["allocation_pools"])
    gateway = values.get("gateway_ip", subnet.gateway_ip) or None
    _check_gateway(gateway, pools)
    subnet.space.pools, subnet.gateway_ip = sorted(pools), gateway
    take(subnet, values, SUBNET_ATTRIBUTES)


def delete_subnet(store: Networking, caller: Caller, subnet: Subnet) -> None:
    """Delete a subnet.

    Raises:
        Conflict: A port has an address of it.
    """
    if subnet.space.taken:
        raise Conflict(
            f"Unable to complete operation on subnet {subnet.id}: One or more ports have an IP allocation from this "
            "subnet.",
            kind="SubnetInUse",
        )
    network = store.networks.find(subnet.network_id)
    if network is not None and subnet.id in network.subnets:
        network.subnets.remove(subnet.id)
    store.subnets.remove(subnet.id)


def _read_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise BadRequest(
            f"Invalid input for cidr. Reason: '{text}' is not a valid IP subnet.", kind="HTTPBadRequest"
        ) from None


def _overlap(other: Subnet, cidr: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    theirs = other.space.network
    return int(theirs.network_address) <= int(cidr.broadcast_address) and int(cidr.network_address) <= int(
        theirs.broadcast_address
    )


def _check_gateway(gateway: str | None, pools: list[tuple[int, int]]) -> None:
    if gateway is None:
        return
    try:
        number = int(ipaddress.ip_address(gateway))
    except ValueError:
        raise BadRequest(f"'{gateway}' is not a valid IP address.", kind="HTTPBadRequest") from None
    if any(first <= number <= last for first, last in pools):
        raise Conflict(
            f"Gateway ip {gateway} conflicts with allocation pool.", kind="GatewayConflictWithAllocationPools"
        )


def create_rbac_policy(store: Networking, caller: Caller, values: dict[str, Any]) -> RbacPolicy:
    """Share a network with another project.

    Raises:
        NotFound: There is no such network of the caller's.
        Conflict: There is such a policy already, or the quota is exceeded.
    """
    project_id = owner_of(caller, values)
    object_type, object_id = str(needed(values, "object_type")), str(needed(values, "object_id"))
    if object_type == "network":
        network = store.network(caller, object_id)
        if not caller.may_see(network.project_id):
            raise policy_forbids("create_rbac_policy")
    policy = RbacPolicy(
        id=new_id(),
        project_id=project_id,
        object_type=object_type,
        object_id=object_id,
        target_tenant=str(values.get("target_tenant") or needed(values, "target_project_id")),
        action=str(needed(values, "action")),
    )
    if policy.target_tenant == "*" and not caller.is_admin:
        raise policy_forbids("create_rbac_policy:target_tenant")
    for other in store.rbac_policies:
        if (other.object_id, other.target_tenant, other.action) == (object_id, policy.target_tenant, policy.action):
            raise Conflict("An RBAC policy already exists with those values.", kind="DuplicatePolicyError")
    store.check_quota(project_id, "rbac_policy")
    return store.rbac_policies.add(policy)


def update_rbac_policy(store: Networking, caller: Caller, policy: RbacPolicy, values: dict[str, Any]) -> None:
    """Change for which project a policy is."""
    policy.target_tenant = str(values.get("target_tenant") or policy.target_tenant)


def delete_rbac_policy(store: Networking, caller: Caller, policy: RbacPolicy) -> None:
    """End the sharing of a network.

    Raises:
        Conflict: The other project still has ports on it.
    """
    for port in store.ports:
        if port.network_id == policy.object_id and port.project_id == policy.target_tenant:
            raise Conflict(
                f"RBAC policy on object {policy.object_id} cannot be removed because other objects depend on it.",
                kind="RbacPolicyInUse",
            )
    store.rbac_policies.remove(policy.id)
