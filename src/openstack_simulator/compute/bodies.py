"""What a server looks like to a client, by microversion."""

import hashlib
from typing import Any

import falcon

from openstack_simulator.clock import in_seconds
from openstack_simulator.compute.servers import Disk, Flavor, Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.network.records import Port
from openstack_simulator.web import caller_of, service_url, version_of

Body = dict[str, Any]
FLAVOR_EMBEDDED = (2, 47)


def links(req: falcon.Request, kind: str, record_id: str) -> list[dict[str, str]]:
    """The ``links`` of a body."""
    base = service_url(req, "compute")
    return [
        {"rel": "self", "href": f"{base}/v2.1/{kind}/{record_id}"},
        {"rel": "bookmark", "href": f"{base}/{kind}/{record_id}"},
    ]


def brief(req: falcon.Request, server: Server) -> Body:
    """A server in the short list."""
    return {"id": server.id, "name": server.name, "links": links(req, "servers", server.id)}


def full(store: Compute, req: falcon.Request, server: Server) -> Body:
    """A server in full."""
    version = version_of(req)
    shown: Body = brief(req, server) | {
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": host_id(server),
        "image": ""
        if server.image_id is None
        else {"id": server.image_id, "links": links(req, "images", server.image_id)},
        "flavor": _flavor(req, server.flavor),
        "created": in_seconds(server.created_at),
        "updated": in_seconds(server.updated_at or server.created_at),
        "addresses": addresses(store, server),
        "accessIPv4": "",
        "accessIPv6": "",
        "OS-DCF:diskConfig": "MANUAL",
        "key_name": server.key_name,
        "config_drive": "True" if server.config_drive else "",
        "OS-EXT-AZ:availability_zone": server.availability_zone if server.host else "",
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:power_state": int(server.power_state),
        "OS-SRV-USG:launched_at": (
            None if server.launched_at is None else in_seconds(server.launched_at).replace("Z", ".000000")
        ),
        "OS-SRV-USG:terminated_at": None,
        "os-extended-volumes:volumes_attached": [_disk(disk, version) for disk in server.disks],
    }
    if server.status == "ACTIVE" or server.task_state is not None:
        shown["progress"] = 100 if server.vm_state != "building" else 0
    groups = security_groups(store, server)
    if groups:
        shown["security_groups"] = [{"name": name} for name in groups]
    if server.fault is not None and server.vm_state == "error":
        shown["fault"] = {
            "code": server.fault.code,
            "message": server.fault.message,
            "created": in_seconds(server.fault.created_at),
        }
        if caller_of(req).is_admin:
            shown["fault"]["details"] = server.fault.details
    if version >= (2, 90) or (version >= (2, 3) and caller_of(req).is_admin):
        shown["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    if caller_of(req).is_admin:
        shown |= _for_admins(server, version)
    if version >= (2, 9):
        shown["locked"] = server.locked
    if version >= (2, 19):
        shown["description"] = server.description
    if version >= (2, 26):
        shown["tags"] = server.tags
    if version >= (2, 63):
        shown["trusted_image_certificates"] = None
    if version >= (2, 73):
        shown["locked_reason"] = None
    if version >= (2, 96):
        shown["pinned_availability_zone"] = None
    return shown


def server_groups(server: Server) -> Body:
    """What only the answer about one server has, from 2.71 on."""
    return {"server_groups": [server.server_group_id] if server.server_group_id else []}


def host_id(server: Server) -> str:
    """The host as users see it: a number that says only whether two servers share one."""
    if server.host is None:
        return ""
    return hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest()


def _for_admins(server: Server, version: tuple[int, int]) -> Body:
    shown: Body = {
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.id[:8]}",
    }
    if version >= (2, 3):
        shown |= {
            "OS-EXT-SRV-ATTR:reservation_id": f"r-{server.id[:8]}",
            "OS-EXT-SRV-ATTR:launch_index": 0,
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:root_device_name": server.root_device,
            "OS-EXT-SRV-ATTR:user_data": server.user_data,
        }
    if version >= (2, 16):
        shown["host_status"] = "UP" if server.host else ""
    return shown


def _flavor(req: falcon.Request, flavor: Flavor) -> Body:
    if version_of(req) < FLAVOR_EMBEDDED:
        return {"id": flavor.id, "links": links(req, "flavors", flavor.id)[1:]}
    return {
        "original_name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "extra_specs": flavor.extra_specs,
    }


def _disk(disk: Disk, version: tuple[int, int]) -> Body:
    shown: Body = {"id": disk.volume_id}
    if version >= (2, 3):
        shown["delete_on_termination"] = disk.delete_on_termination
    return shown


def addresses(store: Compute, server: Server) -> dict[str, list[Body]]:
    """A server's addresses by network name, fixed ones before the floating ones on them."""
    shown: dict[str, list[Body]] = {}
    for port in store.network.ports_of(server.id):
        network = store.network.networks[port.network_id]
        entries = shown.setdefault(network.name, [])
        floating = {ip.fixed_ip_address: ip.floating_ip_address for ip in store.network.ips_on(port.id)}
        for address in port.addresses:
            entries.append(_address(port, address, "fixed"))
            if address in floating:
                entries.append(_address(port, floating[address], "floating"))
    return shown


def _address(port: Port, address: str, kind: str) -> Body:
    return {
        "addr": address,
        "version": 6 if ":" in address else 4,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": port.mac_address,
    }


def security_groups(store: Compute, server: Server) -> list[str]:
    """The names of the security groups on a server's ports, one for each port and group."""
    names = []
    for port in store.network.ports_of(server.id):
        for group_id in port.security_groups:
            group = store.network.security_groups.find(group_id)
            if group is not None:
                names.append(group.name or group.id)
    return list(dict.fromkeys(names))


def volume_attachment(server: Server, disk: Disk, version: tuple[int, int]) -> Body:
    """An entry of ``os-volume_attachments``."""
    shown: Body = {"volumeId": disk.volume_id, "serverId": server.id, "device": disk.device}
    if version < (2, 89):
        shown["id"] = disk.volume_id
    else:
        shown |= {"attachment_id": disk.attachment_id, "bdm_uuid": disk.attachment_id}
    if version >= (2, 70):
        shown["tag"] = disk.tag
    if version >= (2, 79):
        shown["delete_on_termination"] = disk.delete_on_termination
    return shown


def interface(port: Port, version: tuple[int, int]) -> Body:
    """An entry of ``os-interface``."""
    shown: Body = {
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac_address,
        "port_state": port.status,
        "fixed_ips": port.fixed_ips,
    }
    if version >= (2, 70):
        shown["tag"] = None
    return shown
