"""Neutron's objects. Field names are Neutron's attribute names; ``body()`` is what a client sees."""

from dataclasses import dataclass, field
from typing import Any

from openstack_simulator.clock import in_seconds
from openstack_simulator.network.addressing import AddressSpace, shown_pools
from openstack_simulator.records import Record


@dataclass(kw_only=True)
class NetworkRecord(Record):
    """What all of Neutron's objects have."""

    description: str = ""
    tags: list[str] = field(default_factory=list)
    revision_number: int = 1

    def body(self) -> dict[str, Any]:
        """The object as a client sees it."""
        return {
            "id": self.id,
            "name": self.name,
            "project_id": self.project_id,
            "tenant_id": self.project_id,
            "description": self.description,
            "tags": self.tags,
            "revision_number": self.revision_number,
            "created_at": in_seconds(self.created_at),
            "updated_at": in_seconds(self.updated_at or self.created_at),
        }


@dataclass(kw_only=True)
class Network(NetworkRecord):
    """A network; an external one is where floating IPs come from."""

    admin_state_up: bool = True
    shared: bool = False
    external: bool = False
    is_default: bool = False
    mtu: int = 1450
    port_security_enabled: bool = True
    network_type: str = "vxlan"
    physical_network: str | None = None
    segmentation_id: int | None = None
    availability_zone_hints: list[str] = field(default_factory=list)
    subnets: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """The network as a client sees it; ``provider:*`` is for admins, the view takes it away from others."""
        return super().body() | {
            "status": "ACTIVE",
            "admin_state_up": self.admin_state_up,
            "shared": self.shared,
            "router:external": self.external,
            "is_default": self.is_default,
            "mtu": self.mtu,
            "port_security_enabled": self.port_security_enabled,
            "subnets": self.subnets,
            "availability_zones": ["nova"],
            "availability_zone_hints": self.availability_zone_hints,
            "ipv4_address_scope": None,
            "ipv6_address_scope": None,
            "provider:network_type": self.network_type,
            "provider:physical_network": self.physical_network,
            "provider:segmentation_id": self.segmentation_id,
        }


@dataclass(kw_only=True)
class Subnet(NetworkRecord):
    """A subnet and its addresses."""

    network_id: str
    cidr: str
    ip_version: int
    space: AddressSpace
    gateway_ip: str | None = None
    enable_dhcp: bool = True
    dns_nameservers: list[str] = field(default_factory=list)
    host_routes: list[dict[str, str]] = field(default_factory=list)
    ipv6_address_mode: str | None = None
    ipv6_ra_mode: str | None = None

    def body(self) -> dict[str, Any]:
        """The subnet as a client sees it."""
        return super().body() | {
            "network_id": self.network_id,
            "cidr": self.cidr,
            "ip_version": self.ip_version,
            "gateway_ip": self.gateway_ip,
            "enable_dhcp": self.enable_dhcp,
            "allocation_pools": shown_pools(self.space),
            "dns_nameservers": self.dns_nameservers,
            "host_routes": self.host_routes,
            "ipv6_address_mode": self.ipv6_address_mode,
            "ipv6_ra_mode": self.ipv6_ra_mode,
            "service_types": [],
            "subnetpool_id": None,
            "segment_id": None,
        }


@dataclass(kw_only=True)
class Port(NetworkRecord):
    """A port; ``fixed_ips`` are pairs of subnet id and address."""

    network_id: str
    mac_address: str
    status: str = "DOWN"
    admin_state_up: bool = True
    fixed_ips: list[dict[str, str]] = field(default_factory=list)
    device_id: str = ""
    device_owner: str = ""
    security_groups: list[str] = field(default_factory=list)
    allowed_address_pairs: list[dict[str, str]] = field(default_factory=list)
    port_security_enabled: bool = True
    host_id: str = ""
    vnic_type: str = "normal"
    profile: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The port as a client sees it; ``binding:host_id`` and its like are for admins."""
        return super().body() | {
            "network_id": self.network_id,
            "mac_address": self.mac_address,
            "status": self.status,
            "admin_state_up": self.admin_state_up,
            "fixed_ips": self.fixed_ips,
            "device_id": self.device_id,
            "device_owner": self.device_owner,
            "security_groups": self.security_groups,
            "allowed_address_pairs": self.allowed_address_pairs,
            "port_security_enabled": self.port_security_enabled,
            "extra_dhcp_opts": [],
            "binding:vnic_type": self.vnic_type,
            "binding:host_id": self.host_id,
            "binding:profile": self.profile,
            "binding:vif_type": "ovs" if self.host_id else "unbound",
            "binding:vif_details": {},
        }

    @property
    def addresses(self) -> list[str]:
        """The port's addresses without their subnets."""
        return [pair["ip_address"] for pair in self.fixed_ips]


@dataclass(kw_only=True)
class Router(NetworkRecord):
    """A router; its interfaces are the ports whose ``device_id`` it is."""

    admin_state_up: bool = True
    external_gateway_info: dict[str, Any] | None = None
    routes: list[dict[str, str]] = field(default_factory=list)
    distributed: bool = False
    ha: bool = False
    availability_zone_hints: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """The router as a client sees it."""
        return super().body() | {
            "status": "ACTIVE",
            "admin_state_up": self.admin_state_up,
            "external_gateway_info": self.external_gateway_info,
            "routes": self.routes,
            "distributed": self.distributed,
            "ha": self.ha,
            "availability_zones": ["nova"],
            "availability_zone_hints": self.availability_zone_hints,
            "flavor_id": None,
        }


@dataclass(kw_only=True)
class FloatingIp(NetworkRecord):
    """A floating IP, free or on a port."""

    floating_network_id: str
    floating_ip_address: str
    subnet_id: str
    status: str = "DOWN"
    port_id: str | None = None
    fixed_ip_address: str | None = None
    router_id: str | None = None

    def body(self) -> dict[str, Any]:
        """The floating IP as a client sees it."""
        return super().body() | {
            "floating_network_id": self.floating_network_id,
            "floating_ip_address": self.floating_ip_address,
            "status": self.status,
            "port_id": self.port_id,
            "fixed_ip_address": self.fixed_ip_address,
            "router_id": self.router_id,
            "port_details": None,
            "qos_policy_id": None,
            "dns_domain": "",
            "dns_name": "",
            "port_forwardings": [],
        }


@dataclass(kw_only=True)
class SecurityGroupRule(NetworkRecord):
    """One rule of a security group."""

    security_group_id: str
    direction: str
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None

    def body(self) -> dict[str, Any]:
        """The rule as a client sees it."""
        shown = super().body() | {
            "security_group_id": self.security_group_id,
            "direction": self.direction,
            "ethertype": self.ethertype,
            "protocol": self.protocol,
            "port_range_min": self.port_range_min,
            "port_range_max": self.port_range_max,
            "remote_ip_prefix": self.remote_ip_prefix,
            "remote_group_id": self.remote_group_id,
            "remote_address_group_id": None,
            "normalized_cidr": self.remote_ip_prefix,
            "belongs_to_default_sg": False,
        }
        del shown["name"]
        return shown

    def same_as(self, other: "SecurityGroupRule") -> bool:
        """Whether both let through the same packets, which Neutron does not allow in one group."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in (
                "direction",
                "ethertype",
                "protocol",
                "port_range_min",
                "port_range_max",
                "remote_ip_prefix",
                "remote_group_id",
            )
        )


@dataclass(kw_only=True)
class SecurityGroup(NetworkRecord):
    """A security group; its rules are kept here."""

    rules: dict[str, SecurityGroupRule] = field(default_factory=dict)
    stateful: bool = True

    def body(self) -> dict[str, Any]:
        """The group as a client sees it, rules included."""
        return super().body() | {
            "security_group_rules": [rule.body() for rule in self.rules.values()],
            "stateful": self.stateful,
            "shared": False,
        }


@dataclass(kw_only=True)
class RbacPolicy(NetworkRecord):
    """Lets another project use a network (or other object) of this one."""

    object_type: str
    object_id: str
    target_tenant: str
    action: str

    def body(self) -> dict[str, Any]:
        """The policy as a client sees it."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "tenant_id": self.project_id,
            "object_type": self.object_type,
            "object_id": self.object_id,
            "target_tenant": self.target_tenant,
            "action": self.action,
        }
