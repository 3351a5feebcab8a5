"""Attaching volumes and ports to servers that are there, and detaching them."""

from typing import Any

from openstack_simulator.block_storage.volumes import Volume
from openstack_simulator.compute.servers import HOST, Disk, Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from openstack_simulator.network import ports
from openstack_simulator.network.records import Port
from openstack_simulator.records import Caller

ATTACHABLE = ("active", "paused", "stopped", "resized", "suspended")


def attach_volume(store: Compute, caller: Caller, server: Server, values: dict[str, Any]) -> Disk:
    """Start attaching a volume: it is reserved at once and in use a little later.

    Raises:
        NotFound: There is no such volume.
        BadRequest: The volume is not available, or is on this server already.
        Conflict: The server's state does not allow it.
    """
    volume = store.block_storage.volumes.get(caller, str(values.get("volumeId")))
    server.must_be("attach_volume", *ATTACHABLE, any_task=True)
    if server.disk_of(volume.id) is not None:
        raise BadRequest(f"Invalid volume: volume {volume.id} already attached")
    attachment = store.block_storage.reserve(volume, server.id)
    disk = Disk(
        volume_id=volume.id,
        attachment_id=attachment.id,
        device=values.get("device") or server.free_device(),
        delete_on_termination=bool(values.get("delete_on_termination")),
        tag=values.get("tag"),
    )
    server.disks.append(disk)
    volume.status = "attaching"

    def done() -> None:
        if disk in server.disks:
            store.block_storage.attach(volume, attachment, disk.device)

    def failed(_message: str) -> None:
        # Nova gives up quietly: the volume is free again and nothing shows why.
        _take_off(store, server, volume, disk)

    store.lifecycle.begin("volume.attach", volume.id, done, failed, failure=volume.fails("attach"))
    return disk


def detach_volume(store: Compute, server: Server, volume_id: str) -> None:
    """Start detaching a volume.

    Raises:
        NotFound: It is not on this server.
        Forbidden: It is the root disk.
        BadRequest: It is not in use, for example still attaching.
        Conflict: The server's state does not allow it.
    """
    disk = server.disk_of(volume_id)
    volume = store.block_storage.volumes.find(volume_id)
    if disk is None or volume is None:
        raise NotFound(f"volume_id not found: {volume_id}")
    if disk.boot_index == 0:
        raise Forbidden("Cannot detach a root device volume")
    server.must_be("detach_volume", *ATTACHABLE, any_task=True)
    if volume.status != "in-use":
        raise BadRequest(
            "Invalid input received: Invalid volume: Unable to detach volume. Volume status must be 'in-use' and "
            f"attach_status must be 'attached' to detach. Currently: status: '{volume.status}', attach_status: "
            "'detached.'"
        )
    volume.status = "detaching"

    def done() -> None:
        _take_off(store, server, volume, disk)

    def failed(_message: str) -> None:
        volume.status = "in-use"

    store.lifecycle.begin("volume.detach", volume.id, done, failed)


def _take_off(store: Compute, server: Server, volume: Volume, disk: Disk) -> None:
    # The server may have been deleted meanwhile, and the volume be somebody else's by now.
    if disk in server.disks:
        server.disks.remove(disk)
        store.block_storage.release(volume, server.id)


def attach_interface(store: Compute, caller: Caller, server: Server, values: dict[str, Any]) -> Port:
    """Plug a port into a server, one that is there or a new one.

    Raises:
        NotFound: The port or network does not exist.
        Conflict: The port is in use, or the server's state does not allow it.
        BadRequest: Both a port and a network are named, or no network can be chosen.
    """
    server.must_be("attach_interface", "active", "paused", "stopped")
    port_id, network_id = values.get("port_id"), values.get("net_id")
    if port_id and network_id:
        raise BadRequest("Must not input both network_id and port_id")
    if port_id:
        port = store.network.ports.get(caller, str(port_id))
        if port.device_id:
            raise Conflict(f"Port {port.id} is still in use.")
    else:
        asked: dict[str, Any] = {"network_id": network_id or _only_network(store, caller)}
        if values.get("fixed_ips"):
            asked["fixed_ips"] = [{"ip_address": one["ip_address"]} for one in values["fixed_ips"]]
        try:
            port = ports.create_port(store.network, caller, asked)
        except ApiError as error:
            if error.kind == "OverQuota":
                raise Forbidden("Maximum number of ports exceeded") from error
            raise
        server.own_ports.add(port.id)
    ports.claim(store.network, port, server.id, server.availability_zone)
    ports.bind(store.network, port, HOST)
    return port


def detach_interface(store: Compute, server: Server, port_id: str) -> None:
    """Start unplugging a port; one that Nova made is deleted.

    Raises:
        NotFound: It is not on this server.
        Conflict: The server's state does not allow it.
    """
    server.must_be("detach_interface", "active", "paused", "stopped")
    port = store.network.ports.find(port_id)
    if port is None or port.device_id != server.id:
        raise NotFound(f"Port {port_id} is not attached")

    def done() -> None:
        if port.device_id != server.id:
            return
        if port.id in server.own_ports:
            server.own_ports.discard(port.id)
            ports.remove(store.network, port)
        else:
            ports.unbind(store.network, port)

    store.lifecycle.begin("port.unbind", port.id, done)


def _only_network(store: Compute, caller: Caller) -> str:
    own = [one.id for one in store.network.networks if one.project_id == caller.project_id and one.subnets]
    if len(own) != 1:
        raise BadRequest("Multiple possible networks found, use a Network ID to be more specific.")
    return own[0]
