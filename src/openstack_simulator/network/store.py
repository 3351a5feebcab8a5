"""Neutron's state, and the questions every part of it asks: may this project, is there quota left."""

from collections.abc import Sequence
from typing import Any

from openstack_simulator.errors import BadRequest, Conflict, Forbidden
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.network.records import (
    FloatingIp,
    Network,
    NetworkRecord,
    Port,
    RbacPolicy,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)
from openstack_simulator.quotas import Quotas
from openstack_simulator.records import Caller, Collection

QUOTAS = {
    "network": 100,
    "subnet": 100,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "security_group": 10,
    "security_group_rule": 100,
    "rbac_policy": 10,
    "subnetpool": -1,
}


class Networking:
    """The network service's state."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.networks: Collection[Network] = Collection(
            lifecycle, "Network {id} could not be found.", "NetworkNotFound"
        )
        self.subnets: Collection[Subnet] = Collection(lifecycle, "Subnet {id} could not be found.", "SubnetNotFound")
        self.ports: Collection[Port] = Collection(lifecycle, "Port {id} could not be found.", "PortNotFound")
        self.routers: Collection[Router] = Collection(lifecycle, "Router {id} could not be found", "RouterNotFound")
        self.floating_ips: Collection[FloatingIp] = Collection(
            lifecycle, "Floating IP {id} could not be found", "FloatingIPNotFound"
        )
        self.security_groups: Collection[SecurityGroup] = Collection(
            lifecycle, "Security group {id} does not exist", "SecurityGroupNotFound"
        )
        self.rules: Collection[SecurityGroupRule] = Collection(
            lifecycle, "Security group rule {id} does not exist", "SecurityGroupRuleNotFound"
        )
        self.rbac_policies: Collection[RbacPolicy] = Collection(
            lifecycle, "RBAC policy of type network with ID {id} not found", "RbacPolicyNotFound"
        )
        self.quotas = Quotas(QUOTAS)
        # Servers are shown with their ports, and lists of servers can be long: no search through all ports.
        self._ports_by_device: dict[str, dict[str, Port]] = {}
        self._ips_by_port: dict[str, dict[str, FloatingIp]] = {}

    def used(self, project_id: str, resource: str) -> int:
        """How many of a quota's resource a project has."""
        collections: dict[str, Collection[Any]] = {
            "network": self.networks,
            "subnet": self.subnets,
            "port": self.ports,
            "router": self.routers,
            "floatingip": self.floating_ips,
            "security_group": self.security_groups,
            "security_group_rule": self.rules,
            "rbac_policy": self.rbac_policies,
        }
        return len(collections[resource].of_project(project_id)) if resource in collections else 0

    def check_quota(self, project_id: str, resource: str, wanted: int = 1) -> None:
        """Make sure that a project may have more.

        Raises:
            Conflict: ``wanted`` more are more than the project may have.
        """
        if not self.quotas.allows(project_id, resource, self.used(project_id, resource), wanted):
            raise Conflict(f"Quota exceeded for resources: ['{resource}'].", kind="OverQuota")

    def may_use(self, caller: Caller, network: Network) -> bool:
        """Whether a network exists for a caller: the caller's own, a shared or external one, or one let by a policy."""
        return (
            caller.is_admin
            or network.project_id == caller.project_id
            or network.shared
            or network.external
            or any(
                policy.object_id == network.id and policy.target_tenant in ("*", caller.project_id)
                for policy in self.rbac_policies
            )
        )

    def network(self, caller: Caller, network_id: str) -> Network:
        """A network that the caller may use.

        Raises:
            NotFound: There is none with this id.
        """
        return self.networks.get(caller, network_id, lambda network: self.may_use(caller, network))

    def subnet(self, caller: Caller, subnet_id: str) -> Subnet:
        """A subnet of a network that the caller may use.

        Raises:
            NotFound: There is none with this id.
        """
        return self.subnets.get(caller, subnet_id, lambda one: self.sees_subnet(caller, one))

    def sees_subnet(self, caller: Caller, subnet: Subnet) -> bool:
        """Whether a subnet exists for a caller. Those of a foreign external network do not."""
        if caller.may_see(subnet.project_id):
            return True
        network = self.networks.find(subnet.network_id)
        return network is not None and not network.external and self.may_use(caller, network)

    def subnets_of(self, network_id: str) -> list[Subnet]:
        """The subnets of a network, oldest first."""
        return [subnet for subnet in self.subnets if subnet.network_id == network_id]

    def ports_of(self, device_id: str) -> list[Port]:
        """The ports of a server or router, in the order they were given to it."""
        return list(self._ports_by_device.get(device_id, {}).values())

    def give_port(self, port: Port, device_id: str, device_owner: str) -> None:
        """Give a port to a server or router; an empty id takes it away."""
        self._ports_by_device.get(port.device_id, {}).pop(port.id, None)
        port.device_id, port.device_owner = device_id, device_owner
        if device_id:
            self._ports_by_device.setdefault(device_id, {})[port.id] = port

    def ips_on(self, port_id: str) -> list[FloatingIp]:
        """The floating IPs on a port."""
        return list(self._ips_by_port.get(port_id, {}).values())

    def put_ip(self, ip: FloatingIp, port_id: str | None, fixed_address: str | None, router_id: str | None) -> None:
        """Put a floating IP on a port; ``None`` takes it off."""
        self._ips_by_port.get(ip.port_id or "", {}).pop(ip.id, None)
        ip.port_id, ip.fixed_ip_address, ip.router_id = port_id, fixed_address, router_id
        if port_id:
            self._ips_by_port.setdefault(port_id, {})[ip.id] = ip

    def touch(self, record: NetworkRecord) -> None:
        """Note that an object was changed."""
        record.updated_at = self.lifecycle.now()
        record.revision_number += 1


def owner_of(caller: Caller, values: dict[str, Any]) -> str:
    """The project that a new object is for: the caller's, or for admins the one they name.

    Raises:
        Forbidden: Somebody else names another project.
    """
    project_id = str(values.get("project_id") or values.get("tenant_id") or caller.project_id)
    if project_id != caller.project_id and not caller.is_admin:
        raise Forbidden("((rule:admin_only) or (rule:owner)) is disallowed by policy", kind="PolicyNotAuthorized")
    return project_id


def take(record: NetworkRecord, values: dict[str, Any], names: Sequence[str]) -> None:
    """Copy those values that a client may set."""
    for name in names:
        if name in values:
            setattr(record, name, values[name])


def needed(values: dict[str, Any], name: str) -> Any:
    """A value that a create call must have.

    Raises:
        BadRequest: It has not.
    """
    if values.get(name) is None:
        raise BadRequest(f"Failed to parse request. Required attribute '{name}' not specified", kind="HTTPBadRequest")
    return values[name]


def policy_forbids(what: str) -> Forbidden:
    """The error for a call or an attribute that only admins may use."""
    return Forbidden(f"(rule:{what}) is disallowed by policy", kind="PolicyNotAuthorized")
