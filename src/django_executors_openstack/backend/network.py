"""Networks, ports, floating IPs and security groups, in Neutron's words.

Neutron stores no tags in the request that makes an object, so the idempotency key is at the end of its description.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django_executors.exceptions import BackendNotFound, BackendRejected
from django_executors.states import ResourceState

from ..models import FloatingIP, Instance, Network, Port, SecurityGroup, SecurityGroupRule, Subnet
from .adoption import adopt_or_create, marked, unmarked
from .base import ServiceBackend, store
from .errors import translated, translation

__all__ = ["Networking"]

SERVICE = "network"


class Networking(ServiceBackend):
    """Neutron."""

    # -- ports -------------------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def create_port(self, port: Port) -> None:
        """Make the port, or adopt the one that an earlier attempt of this step made.

        Sets ``backend_id``, addresses and status. A port is usable at once; it becomes ``"ACTIVE"`` with its server.

        Raises:
            BackendRejected: The cloud will never accept it (quota, address taken or outside of the subnet).
        """
        adopt_or_create(
            port,
            find=lambda key: _with_key(
                self.cloud.network.ports(network_id=self.require_id(port.network), project_id=self.project_id), key
            ),
            create=partial(self._request_port, port),
            delete=lambda extra: self.cloud.network.delete_port(extra.id, ignore_missing=True),
            save=lambda made: store(port, backend_id=made.id, **_port_fields(made)),
        )

    def _request_port(self, port: Port, key: str) -> Any:
        attributes: dict[str, Any] = {
            "network_id": self.require_id(port.network),
            "name": port.name,
            "description": marked(port.description, key),
        }
        groups = [self.require_id(group) for group in port.security_groups.all()]
        if groups:
            attributes["security_groups"] = groups
        if port.mac_address:
            attributes["mac_address"] = port.mac_address
        if port.fixed_ips:
            attributes["fixed_ips"] = [
                {name: value for name, value in fixed.items() if name in ("ip_address", "subnet_id") and value}
                for fixed in port.fixed_ips
            ]
        elif port.subnet is not None:
            attributes["fixed_ips"] = [{"subnet_id": self.require_id(port.subnet)}]
        return self.cloud.network.create_port(**attributes)

    @translated(SERVICE)
    def delete_port(self, port: Port) -> None:
        """Remove the port; one that is gone is success."""
        if port.backend_id:
            self.cloud.network.delete_port(port.backend_id, ignore_missing=True)

    @translated(SERVICE)
    def is_port_deleted(self, port: Port) -> bool:
        """Say whether the port is gone."""
        return not port.backend_id or not self._exists(self.cloud.network.get_port, port.backend_id)

    @translated(SERVICE)
    def pull_port(self, port: Port) -> None:
        """Read addresses, security groups, owner and status."""
        found = self.cloud.network.get_port(self.require_id(port))
        store(port, name=found.name or "", description=unmarked(found.description)[:200], **_port_fields(found))
        self._set_groups(port, found.security_group_ids)

    @translated(SERVICE)
    def pull_port_runtime_state(self, port: Port) -> None:
        """Read the status."""
        store(port, runtime_state=self.cloud.network.get_port(self.require_id(port)).status or "")

    @translated(SERVICE)
    def pull_instance_ports(self, instance: Instance) -> None:
        """Read the server's ports; those that the cloud made itself get rows too."""
        found = list(self.cloud.network.ports(device_id=self.require_id(instance)))
        rows = {row.backend_id: row for row in Port.objects.filter(tenant=self.tenant).exclude(backend_id="")}
        networks = dict(Network.objects.filter(tenant=self.tenant).values_list("backend_id", "pk"))
        for item in found:
            row = rows.get(item.id)
            if row is None:
                if item.network_id not in networks:
                    continue  # a network that this project has no row of
                row = Port.objects.create(
                    tenant=self.tenant,
                    network_id=networks[item.network_id],
                    name=item.name or "",
                    backend_id=item.id,
                    state=ResourceState.OK,
                )
            store(row, instance=instance, **_port_fields(item))
            self._set_groups(row, item.security_group_ids)
        for row in instance.ports.exclude(backend_id__in=[item.id for item in found]).exclude(backend_id=""):
            store(row, device_id="", device_owner="")

    @translated(SERVICE)
    def pull_instance_security_groups(self, instance: Instance) -> None:
        """Read which security groups apply to the server: those of its ports."""
        ports = self.cloud.network.ports(device_id=self.require_id(instance))
        ids = {group for port in ports for group in port.security_group_ids or ()}
        instance.security_groups.set(SecurityGroup.objects.filter(tenant=self.tenant, backend_id__in=ids))

    def _set_groups(self, port: Port, ids: Iterable[str] | None) -> None:
        port.security_groups.set(SecurityGroup.objects.filter(tenant=self.tenant, backend_id__in=list(ids or ())))

    # -- floating IPs ------------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def create_floating_ip(self, floating_ip: FloatingIP) -> None:
        """Take an address, or adopt the one that an earlier attempt of this step took.

        Sets ``backend_id``, ``address``, ``external_network_id`` and status. It leads nowhere yet, see
        `attach_floating_ip_to_port`.

        Raises:
            BackendRejected: No address is left, the quota is full, or no external network is known.
        """
        network_id = floating_ip.external_network_id or self.tenant.external_network_id
        if not network_id:
            raise BackendRejected(f"tenant {self.tenant} has no external network to take a floating IP from")
        adopt_or_create(
            floating_ip,
            find=lambda key: _with_key(
                self.cloud.network.ips(floating_network_id=network_id, project_id=self.project_id), key
            ),
            create=lambda key: self.cloud.network.create_ip(
                floating_network_id=network_id, description=marked(floating_ip.description, key)
            ),
            delete=lambda extra: self.cloud.network.delete_ip(extra.id, ignore_missing=True),
            save=lambda made: store(
                floating_ip,
                backend_id=made.id,
                address=made.floating_ip_address,
                name=floating_ip.name or made.floating_ip_address,
                external_network_id=network_id,
                runtime_state=made.status or "",
            ),
        )

    @translated(SERVICE)
    def attach_floating_ip_to_port(self, floating_ip: FloatingIP, port: int | None = None) -> None:
        """Let the address lead to a port; one that does is success.

        Args:
            floating_ip: The row.
            port: Primary key of the port's row; None: the floating IP's own.
        """
        target = floating_ip.port if port is None else Port.objects.get(pk=port, tenant=self.tenant)
        if target is None:
            raise BackendRejected(f"floating IP {floating_ip} has no port to lead to")
        changed = self.cloud.network.update_ip(self.require_id(floating_ip), port_id=self.require_id(target))
        store(floating_ip, port=target, runtime_state=changed.status or "")

    @translated(SERVICE)
    def detach_floating_ip_from_port(self, floating_ip: FloatingIP) -> None:
        """Let the address lead nowhere; one that does is success."""
        changed = self.cloud.network.update_ip(self.require_id(floating_ip), port_id=None)
        store(floating_ip, port=None, runtime_state=changed.status or "")

    @translated(SERVICE)
    def update_floating_ip(self, floating_ip: FloatingIP) -> None:
        """Give the floating IP the description of the row."""
        self.cloud.network.update_ip(self.require_id(floating_ip), description=floating_ip.description)

    @translated(SERVICE)
    def delete_floating_ip(self, floating_ip: FloatingIP) -> None:
        """Give the address back; one that is gone is success."""
        if floating_ip.backend_id:
            self.cloud.network.delete_ip(floating_ip.backend_id, ignore_missing=True)

    @translated(SERVICE)
    def is_floating_ip_deleted(self, floating_ip: FloatingIP) -> bool:
        """Say whether the floating IP is gone."""
        return not floating_ip.backend_id or not self._exists(self.cloud.network.get_ip, floating_ip.backend_id)

    @translated(SERVICE)
    def pull_floating_ip(self, floating_ip: FloatingIP) -> None:
        """Read address, port and status."""
        store(floating_ip, **self._floating_ip_fields(self.cloud.network.get_ip(self.require_id(floating_ip))))

    @translated(SERVICE)
    def pull_floating_ip_runtime_state(self, floating_ip: FloatingIP) -> None:
        """Read the status."""
        store(floating_ip, runtime_state=self.cloud.network.get_ip(self.require_id(floating_ip)).status or "")

    @translated(SERVICE)
    def pull_floating_ips(self) -> None:
        """Read all floating IPs of the project."""
        found = self.cloud.network.ips(project_id=self.project_id)
        self.pull_resources(FloatingIP, [{"backend_id": item.id, **self._floating_ip_fields(item)} for item in found])

    @translated(SERVICE)
    def pull_instance_floating_ips(self, instance: Instance) -> None:
        """Read the floating IPs that lead to the server's ports, and note those that no longer do."""
        ports = {port.backend_id: port for port in instance.ports.exclude(backend_id="")}
        found = [item for item in self.cloud.network.ips(project_id=self.project_id) if item.port_id in ports]
        self._pull_rows(
            FloatingIP,
            [{"backend_id": item.id, **self._floating_ip_fields(item)} for item in found],
            {"state": ResourceState.OK},
        )
        here = FloatingIP.objects.filter(port__instance=instance).exclude(backend_id="")
        for floating_ip in here.exclude(backend_id__in=[item.id for item in found]):
            store(floating_ip, port=None)

    def _floating_ip_fields(self, found: Any) -> dict[str, Any]:
        port = Port.objects.filter(tenant=self.tenant, backend_id=found.port_id).first() if found.port_id else None
        return {
            "name": found.floating_ip_address or "",
            "description": unmarked(found.description)[:200],
            "address": found.floating_ip_address,
            "external_network_id": found.floating_network_id or "",
            "runtime_state": found.status or "",
            "port": port,
        }

    # -- security groups ---------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def create_security_group(self, security_group: SecurityGroup) -> None:
        """Make the security group, or adopt the one that an earlier attempt of this step made; sets ``backend_id``.

        Neutron gives a new group rules that let everything out. `push_security_group_rules` adds the row's.
        """
        adopt_or_create(
            security_group,
            find=lambda key: _with_key(self.cloud.network.security_groups(project_id=self.project_id), key),
            create=lambda key: self.cloud.network.create_security_group(
                name=security_group.name, description=marked(security_group.description, key)
            ),
            delete=lambda extra: self.cloud.network.delete_security_group(extra.id, ignore_missing=True),
            save=lambda made: store(security_group, backend_id=made.id),
        )

    @translated(SERVICE)
    def push_security_group_rules(self, security_group: SecurityGroup) -> None:
        """Make the group's rules in the cloud those of the rows: what is missing is added, what is too much goes.

        Rules are compared by what they let through, so running it twice changes nothing. A group whose rows say nothing
        about outgoing packets keeps the cloud's rules for those.
        """
        group_id = self.require_id(security_group)
        found = {
            _rule_of_cloud(rule): rule for rule in self.cloud.network.security_group_rules(security_group_id=group_id)
        }
        wanted = {_rule_of_row(row): row for row in security_group.rules.select_related("remote_group")}
        directions = {row.direction for row in wanted.values()} | {SecurityGroupRule.Direction.INGRESS}
        for content, row in wanted.items():
            rule = found.get(content)
            if rule is None:
                rule = self._add_rule(group_id, row)
            store(row, backend_id=rule.id)
        for content, rule in found.items():
            if content not in wanted and rule.direction in directions:
                self.cloud.network.delete_security_group_rule(rule.id, ignore_missing=True)

    def _add_rule(self, group_id: str, row: SecurityGroupRule) -> Any:
        attributes: dict[str, Any] = {
            "security_group_id": group_id,
            "direction": row.direction,
            "ether_type": row.ethertype,
            "protocol": row.protocol or None,
            "port_range_min": row.port_range_min,
            "port_range_max": row.port_range_max,
            "remote_ip_prefix": row.remote_ip_prefix or None,
            "description": row.description,
        }
        if row.remote_group is not None:
            attributes["remote_group_id"] = self.require_id(row.remote_group)
        try:
            with translation(SERVICE):
                return self.cloud.network.create_security_group_rule(
                    **{name: value for name, value in attributes.items() if value is not None}
                )
        except BackendRejected as exc:
            if exc.status != 409:
                raise
            # Neutron has the rule: an earlier request was still under way.
            for rule in self.cloud.network.security_group_rules(security_group_id=group_id):
                if _rule_of_cloud(rule) == _rule_of_row(row):
                    return rule
            raise

    @translated(SERVICE)
    def delete_security_group(self, security_group: SecurityGroup) -> None:
        """Remove the group; one that is gone is success.

        Raises:
            BackendRejected: A port uses it.
        """
        if security_group.backend_id:
            self.cloud.network.delete_security_group(security_group.backend_id, ignore_missing=True)

    @translated(SERVICE)
    def pull_security_group(self, security_group: SecurityGroup) -> None:
        """Read name, description and rules."""
        found = self.cloud.network.get_security_group(self.require_id(security_group))
        store(security_group, name=found.name or "", description=unmarked(found.description)[:200])
        self._pull_rules(security_group, found.security_group_rules or ())

    @translated(SERVICE)
    def pull_security_groups(self) -> None:
        """Read all security groups of the project, and their rules."""
        found = {group.id: group for group in self.cloud.network.security_groups(project_id=self.project_id)}
        rows = self.pull_resources(
            SecurityGroup,
            [
                {
                    "backend_id": group.id,
                    "name": group.name or "",
                    "description": unmarked(group.description)[:200],
                }
                for group in found.values()
            ],
        )
        for row in rows:
            if row.state == ResourceState.OK:
                self._pull_rules(row, found[row.backend_id].security_group_rules or ())

    def _pull_rules(self, security_group: SecurityGroup, rules: Iterable[Any]) -> None:
        # Within a group's answer Neutron's rules are plain dictionaries.
        kept = []
        groups = {
            row.backend_id: row for row in SecurityGroup.objects.filter(tenant=self.tenant).exclude(backend_id="")
        }
        for rule in rules:
            row, _ = SecurityGroupRule.objects.update_or_create(
                security_group=security_group,
                backend_id=rule["id"],
                defaults={
                    "direction": rule["direction"],
                    "ethertype": rule.get("ethertype") or "IPv4",
                    "protocol": rule.get("protocol") or "",
                    "port_range_min": rule.get("port_range_min"),
                    "port_range_max": rule.get("port_range_max"),
                    "remote_ip_prefix": rule.get("remote_ip_prefix") or "",
                    "remote_group": groups.get(rule.get("remote_group_id") or ""),
                    "description": rule.get("description") or "",
                },
            )
            kept.append(row.pk)
        security_group.rules.exclude(pk__in=kept).delete()

    # -- networks ----------------------------------------------------------------------------------------------------

    @translated(SERVICE)
    def pull_networks(self) -> None:
        """Read the networks that the project can use: its own, shared and external ones."""
        mine = self.project_id
        self.pull_resources(
            Network,
            [
                {
                    "backend_id": found.id,
                    "name": found.name or "",
                    "description": unmarked(found.description)[:200],
                    "is_external": bool(found.is_router_external),
                    "is_shared": bool(found.is_shared),
                    "mtu": found.mtu,
                    "runtime_state": found.status or "",
                }
                for found in self.cloud.network.networks()
                if found.project_id == mine or found.is_shared or found.is_router_external
            ],
        )

    @translated(SERVICE)
    def pull_subnets(self) -> None:
        """Read the subnets of the networks that have rows; pull those first."""
        networks = {row.backend_id: row for row in Network.objects.filter(tenant=self.tenant).exclude(backend_id="")}
        self.pull_resources(
            Subnet,
            [
                {
                    "backend_id": found.id,
                    "name": found.name or "",
                    "description": unmarked(found.description)[:200],
                    "network": networks[found.network_id],
                    "cidr": found.cidr or "",
                    "ip_version": found.ip_version or 4,
                    "gateway_ip": found.gateway_ip,
                    "enable_dhcp": found.is_dhcp_enabled is not False,
                    "allocation_pools": found.allocation_pools or [],
                    "dns_nameservers": found.dns_nameservers or [],
                }
                for found in self.cloud.network.subnets()
                if found.network_id in networks
            ],
        )

    @translated(SERVICE)
    def detect_external_network(self) -> None:
        """Store the id of the network floating IPs come from, when the cloud has exactly one or the row's is gone.

        Raises:
            BackendRejected: There are several to choose from, and none has been chosen.
        """
        found = sorted(network.id for network in self.cloud.network.networks(is_router_external=True))
        if self.tenant.external_network_id in found:
            return
        if len(found) > 1:
            raise BackendRejected(f"the cloud has {len(found)} external networks; choose one in external_network_id")
        store(self.tenant, external_network_id=found[0] if found else "")

    def _exists(self, get: Any, object_id: str) -> bool:
        try:
            with translation(SERVICE):
                get(object_id)
        except BackendNotFound:
            return False
        return True


def _with_key(found: Iterable[Any], key: str) -> list[Any]:
    return [item for item in found if (item.description or "").endswith(f"[{key}]")]


def _port_fields(found: Any) -> dict[str, Any]:
    return {
        "mac_address": found.mac_address or "",
        "fixed_ips": [
            {"ip_address": fixed.get("ip_address"), "subnet_id": fixed.get("subnet_id")}
            for fixed in found.fixed_ips or ()
        ],
        "runtime_state": found.status or "",
        "device_id": found.device_id or "",
        "device_owner": found.device_owner or "",
    }


def _rule_of_cloud(rule: Any) -> tuple[Any, ...]:
    return (
        rule.direction,
        rule.ether_type,
        rule.protocol or "",
        rule.port_range_min,
        rule.port_range_max,
        rule.remote_ip_prefix or "",
        rule.remote_group_id or "",
    )


def _rule_of_row(row: SecurityGroupRule) -> tuple[Any, ...]:
    return (
        str(row.direction),
        row.ethertype,
        row.protocol,
        row.port_range_min,
        row.port_range_max,
        row.remote_ip_prefix,
        row.remote_group.backend_id if row.remote_group else "",
    )
