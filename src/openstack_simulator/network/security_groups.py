"""Security groups and their rules."""

import ipaddress
from typing import Any

from openstack_simulator.errors import BadRequest, Conflict
from openstack_simulator.network.records import SecurityGroup, SecurityGroupRule
from openstack_simulator.network.store import Networking, needed, owner_of
from openstack_simulator.records import Caller, new_id

DEFAULT = "default"
WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136")
ICMP = ("icmp", "icmpv6", "ipv6-icmp", "1", "58")
ETHERTYPES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def default_group(store: Networking, project_id: str) -> SecurityGroup:
    """A project's default group, made when it is first needed."""
    for group in store.security_groups:
        if group.project_id == project_id and group.name == DEFAULT:
            return group
    group = store.security_groups.add(
        SecurityGroup(id=new_id(), name=DEFAULT, description="Default security group", project_id=project_id)
    )
    for ethertype in ETHERTYPES.values():
        _add(store, group, _new_rule(group, "egress", ethertype))
        from_members = _new_rule(group, "ingress", ethertype)
        from_members.remote_group_id = group.id
        _add(store, group, from_members)
    return group


def create_group(store: Networking, caller: Caller, values: dict[str, Any]) -> SecurityGroup:
    """Make a group that lets everything out and nothing in.

    Raises:
        Conflict: The quota is exceeded, or it is to be a second default group.
    """
    project_id = owner_of(caller, values)
    default_group(store, project_id)
    name = str(values.get("name") or "")
    if name.lower() == DEFAULT:
        raise Conflict("Default security group already exists.", kind="SecurityGroupDefaultAlreadyExists")
    store.check_quota(project_id, "security_group")
    group = store.security_groups.add(
        SecurityGroup(
            id=new_id(),
            name=name,
            description=values.get("description") or "",
            project_id=project_id,
            stateful=values.get("stateful", True),
        )
    )
    for ethertype in ETHERTYPES.values():
        _add(store, group, _new_rule(group, "egress", ethertype))
    return group


def update_group(store: Networking, caller: Caller, group: SecurityGroup, values: dict[str, Any]) -> None:
    """Change a group's name or description.

    Raises:
        Conflict: The default group is to get another name.
    """
    if group.name == DEFAULT and values.get("name", DEFAULT) != DEFAULT:
        raise Conflict("Updating default security group not allowed.", kind="SecurityGroupCannotUpdateDefault")
    for name in ("name", "description", "stateful"):
        if name in values:
            setattr(group, name, values[name])


def delete_group(store: Networking, caller: Caller, group: SecurityGroup) -> None:
    """Delete a group and its rules.

    Raises:
        Conflict: A port uses it, or it is the default group.
    """
    if group.name == DEFAULT and not caller.is_admin:
        raise Conflict(
            "Insufficient rights for removing default security group.", kind="SecurityGroupCannotRemoveDefault"
        )
    if any(group.id in port.security_groups for port in store.ports):
        raise Conflict(f"Security Group {group.id} in use.", kind="SecurityGroupInUse")
    for rule in [rule for rule in store.rules if group.id in (rule.security_group_id, rule.remote_group_id)]:
        delete_rule(store, caller, rule)
    store.security_groups.remove(group.id)


def create_rule(store: Networking, caller: Caller, values: dict[str, Any]) -> SecurityGroupRule:
    """Add a rule to a group.

    Raises:
        NotFound: The caller has no such group.
        BadRequest: Ports without a protocol that has them, a range that ends before it starts, no CIDR, ...
        Conflict: The group has such a rule already, or the quota is exceeded.
    """
    group = store.security_groups.get(caller, str(needed(values, "security_group_id")))
    rule = _read(store, caller, group, values)
    for other in group.rules.values():
        if rule.same_as(other):
            raise Conflict(
                f"Security group rule already exists. Rule id is {other.id}.", kind="SecurityGroupRuleExists"
            )
    store.check_quota(group.project_id, "security_group_rule")
    _add(store, group, rule)
    store.touch(group)
    return rule


def update_rule(store: Networking, caller: Caller, rule: SecurityGroupRule, values: dict[str, Any]) -> None:
    """Refuse: a rule cannot be changed, but for its description."""
    if set(values) - {"description"}:
        raise BadRequest("Cannot update read-only attribute", kind="HTTPBadRequest")
    rule.description = values.get("description") or ""


def delete_rule(store: Networking, caller: Caller, rule: SecurityGroupRule) -> None:
    """Take a rule out of its group."""
    group = store.security_groups.find(rule.security_group_id)
    if group is not None:
        group.rules.pop(rule.id, None)
        store.touch(group)
    store.rules.remove(rule.id)


def _new_rule(group: SecurityGroup, direction: str, ethertype: str) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=new_id(),
        project_id=group.project_id,
        security_group_id=group.id,
        direction=direction,
        ethertype=ethertype,
    )


def _add(store: Networking, group: SecurityGroup, rule: SecurityGroupRule) -> None:
    store.rules.add(rule)
    group.rules[rule.id] = rule


def _read(store: Networking, caller: Caller, group: SecurityGroup, values: dict[str, Any]) -> SecurityGroupRule:
    direction = str(needed(values, "direction"))
    if direction not in ("ingress", "egress"):
        raise BadRequest(
            f"Invalid input for direction. Reason: '{direction}' is not in ['ingress', 'egress'].",
            kind="HTTPBadRequest",
        )
    ethertype = ETHERTYPES.get(str(values.get("ethertype") or "IPv4").lower())
    if ethertype is None:
        raise BadRequest(
            f"Security group rule for ethertype '{values.get('ethertype')}' not supported. "
            "Allowed values are ['IPv4', 'IPv6'].",
            kind="SecurityGroupInvalidEtherType",
        )
    protocol = values.get("protocol")
    protocol = None if protocol in (None, "", "any", "0") else str(protocol).lower()
    low, high = _number(values.get("port_range_min")), _number(values.get("port_range_max"))
    _check_range(protocol, low, high)
    prefix, remote = values.get("remote_ip_prefix") or None, values.get("remote_group_id") or None
    if prefix and remote:
        raise BadRequest(
            "Only remote_ip_prefix or remote_group_id may be provided.",
            kind="SecurityGroupRemoteGroupAndRemoteIpPrefix",
        )
    if remote:
        store.security_groups.get(caller, str(remote))
    return SecurityGroupRule(
        id=new_id(),
        project_id=group.project_id,
        security_group_id=group.id,
        description=values.get("description") or "",
        direction=direction,
        ethertype=ethertype,
        protocol=protocol,
        port_range_min=low,
        port_range_max=high,
        remote_ip_prefix=_prefix(str(prefix), ethertype) if prefix else None,
        remote_group_id=remote,
    )


def _number(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadRequest(f"Invalid value for port {value}", kind="SecurityGroupInvalidPortValue") from None


def _check_range(protocol: str | None, low: int | None, high: int | None) -> None:
    if low is None and high is None:
        return
    if protocol is None:
        raise BadRequest(
            "Must also specify protocol if port range is given.", kind="SecurityGroupProtocolRequiredWithPorts"
        )
    if protocol in ICMP:
        for field, value in (("type", low), ("code", high)):
            if value is not None and not 0 <= value <= 255:
                raise BadRequest(
                    f"Invalid value for ICMP {field} {value}. It must be 0 to 255.",
                    kind="SecurityGroupInvalidIcmpValue",
                )
        return
    if protocol not in WITH_PORTS:
        raise BadRequest(
            f"Invalid protocol {protocol} for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.",
            kind="SecurityGroupInvalidProtocolForPort",
        )
    if low is None or high is None or not 1 <= low <= high <= 65535:
        raise BadRequest(
            "For TCP/UDP protocols, port_range_min must be <= port_range_max", kind="SecurityGroupInvalidPortRange"
        )


def _prefix(text: str, ethertype: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadRequest(
            f"Invalid input for remote_ip_prefix. Reason: '{text}' is not a valid IP subnet.", kind="HTTPBadRequest"
        ) from None
    if f"IPv{network.version}" != ethertype:
        raise BadRequest(
            f"Conflicting value ethertype {ethertype} for CIDR {text}", kind="SecurityGroupRuleParameterConflict"
        )
    return str(network)
