"""Making servers and deleting them."""

import base64
import binascii
import re
from typing import Any

from openstack_simulator.block_storage.store import image_metadata
from openstack_simulator.block_storage.volumes import Volume
from openstack_simulator.compute.servers import HOST, ZONE, Disk, Fault, Flavor, Power, Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from openstack_simulator.network import ports
from openstack_simulator.network.records import Port
from openstack_simulator.records import Caller, new_id
from openstack_simulator.versions import Microversion

TAGS_ON_CREATE = (2, 52)
NETWORKS_NEEDED = (2, 37)
LARGEST_USER_DATA = 65535
"""Characters, after base64."""


def create_servers(
    store: Compute, caller: Caller, values: dict[str, Any], hints: dict[str, Any], version: Microversion
) -> list[Server]:
    """Start making one server, or several at once with ``min_count``; all or none.

    Raises:
        BadRequest, Forbidden, Conflict: As :func:`create_server`.
    """
    count = int(values.get("min_count") or 1)
    if count == 1:
        return [create_server(store, caller, values, hints, version)]
    flavor = _flavor(store, values)
    wanted = {"instances": count, "cores": count * flavor.vcpus, "ram": count * flavor.ram}
    store.check_quota(caller.project_id, wanted)
    names = (f"{values.get('name')}-{number}" for number in range(1, count + 1))
    return [create_server(store, caller, values | {"name": name}, hints, version) for name in names]


def create_server(
    store: Compute, caller: Caller, values: dict[str, Any], hints: dict[str, Any], version: Microversion
) -> Server:
    """Start making a server. Its ports and volumes are reserved at once, so that no other server takes them.

    Raises:
        BadRequest: A part of the request is missing, unknown or not usable.
        Forbidden: The quota is exceeded.
        Conflict: A port is in use.
    """
    name = values.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > 255:
        raise BadRequest(f"Invalid input for field/attribute name. Value: {name}. {name!r} is too short")
    flavor = _flavor(store, values)
    server = Server(
        id=new_id(),
        name=name.strip(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        flavor=flavor,
        description=values.get("description") if version >= (2, 19) else name,
        metadata=dict(values.get("metadata") or {}),
        tags=_tags(values, version),
        availability_zone=_zone(values),
        config_drive=str(values.get("config_drive") or "").lower() in ("true", "1"),
        user_data=_user_data(values),
        key_name=values.get("key_name"),
        hostname=values.get("hostname") or re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-"),
    )
    most = store.quotas.of(caller.project_id)["metadata_items"]
    if 0 <= most < len(server.metadata):
        raise Forbidden(f"Maximum number of metadata items exceeds {most}")
    if server.key_name and (caller.user_id, server.key_name) not in store.keypairs:
        raise BadRequest("Invalid key_name provided.")
    server.image_id = _image(store, caller, values, server)
    volumes = _volumes(store, caller, values)
    if not server.image_id and not any(mapping.get("boot_index") == 0 for mapping, _ in volumes):
        raise BadRequest(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device "
            "mapping combination is not valid."
        )
    found_ports, new_ports = _networks(store, caller, values, version)
    store.check_quota(caller.project_id, {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram})
    _join_group(store, caller, server, hints)
    try:
        _plug(store, caller, server, found_ports, new_ports, _security_groups(store, caller, values))
        _reserve(store, caller, server, volumes)
    except ApiError as error:
        let_go(store, server)
        if error.kind == "OverQuota":
            raise Forbidden("Maximum number of ports exceeded") from error
        raise
    store.servers.add(server)
    _spawn(store, server)
    return server


def _spawn(store: Compute, server: Server) -> None:
    def done() -> None:
        server.vm_state, server.task_state, server.power_state = "active", None, Power.RUNNING
        server.host, server.launched_at = HOST, store.lifecycle.now()
        store.touch(server)
        for port in store.network.ports_of(server.id):
            ports.bind(store.network, port, HOST)
        for disk in server.disks:
            volume = store.block_storage.volumes.find(disk.volume_id)
            attachment = store.block_storage.attachment_to(volume, server.id) if volume else None
            if volume is not None and attachment is not None:
                store.block_storage.attach(volume, attachment, disk.device)

    def failed(message: str) -> None:
        server.vm_state, server.task_state = "error", None
        server.fault = Fault(message, store.lifecycle.now())
        store.touch(server)

    failure = server.fails("spawn")
    unbindable = [port for port in store.network.ports_of(server.id) if port.name.startswith("fake-fail-bind")]
    if unbindable:
        failure = f"Binding failed for port {unbindable[0].id}, please check neutron logs for more information."
    store.lifecycle.begin("server.create", server.id, done, failed, extra_seconds=server.extra_seconds, failure=failure)


def delete_server(store: Compute, server: Server) -> None:
    """Start deleting a server, whatever it is doing.

    Ports that Nova made and volumes with ``delete_on_termination`` go with it; other ports and volumes are let go.

    Raises:
        Conflict: It is locked.
    """
    if server.locked:
        raise Conflict(f"Instance {server.id} is locked")
    if server.task_state == "deleting":
        return
    store.lifecycle.drop(server.id)
    server.task_state = "deleting"
    store.touch(server)

    def gone() -> None:
        let_go(store, server)
        store.servers.remove(server.id)

    def failed(message: str) -> None:
        server.vm_state, server.task_state = "error", None
        server.fault = Fault(message, store.lifecycle.now())

    store.lifecycle.begin("server.delete", server.id, gone, failed, extra_seconds=server.extra_seconds)


def let_go(store: Compute, server: Server) -> None:
    """Free everything a server holds."""
    for port in store.network.ports_of(server.id):
        if port.id in server.own_ports:
            ports.remove(store.network, port)
        else:
            ports.unbind(store.network, port)
    disks, server.disks = server.disks, []
    for disk in disks:
        volume = store.block_storage.volumes.find(disk.volume_id)
        if volume is None:
            continue
        store.block_storage.release(volume, server.id)
        if disk.delete_on_termination:
            store.block_storage.delete_volume(volume, force=True)
    if server.server_group_id in store.server_groups:
        members = store.server_groups[str(server.server_group_id)].members
        if server.id in members:
            members.remove(server.id)


def _flavor(store: Compute, values: dict[str, Any]) -> Flavor:
    wanted = str(values.get("flavorRef") or "").rsplit("/", 1)[-1]
    flavor = store.flavors.find(wanted)
    if flavor is None:
        raise BadRequest(f"Flavor {wanted} could not be found." if wanted else "Missing flavorRef attribute")
    return flavor


def _tags(values: dict[str, Any], version: Microversion) -> list[str]:
    if "tags" not in values:
        return []
    if version < TAGS_ON_CREATE:
        raise BadRequest(
            "Invalid input for field/attribute server. Additional properties are not allowed ('tags' was unexpected)"
        )
    return check_tags(values["tags"])


def check_tags(tags: Any) -> list[str]:
    """Tags as Nova takes them: at most 50, each of 1 to 60 characters without ``,`` and ``/``.

    Raises:
        BadRequest: They are not.
    """
    if not isinstance(tags, list) or len(tags) > 50:
        raise BadRequest("The number of tags exceeded the per-server limit 50")
    for tag in tags:
        if not isinstance(tag, str) or not 1 <= len(tag) <= 60 or "," in tag or "/" in tag:
            raise BadRequest(f"Invalid input for field/attribute tags. Value: {tag}. {tag!r} is not a valid tag.")
    return list(dict.fromkeys(tags))


def _zone(values: dict[str, Any]) -> str:
    zone = str(values.get("availability_zone") or ZONE).split(":")[0]
    if zone != ZONE:
        raise BadRequest("The requested availability zone is not available")
    return zone


def _user_data(values: dict[str, Any]) -> str | None:
    text = values.get("user_data")
    if text is None:
        return None
    try:
        base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("Invalid input for field/attribute user_data. It must be base64.") from None
    if len(text) > LARGEST_USER_DATA:
        raise BadRequest(f"User data too large. User data must be no larger than {LARGEST_USER_DATA} bytes")
    return str(text)


def _image(store: Compute, caller: Caller, values: dict[str, Any], server: Server) -> str | None:
    wanted = str(values.get("imageRef") or "").rsplit("/", 1)[-1]
    if not wanted:
        return None
    try:
        image = store.images.get(caller, wanted)
    except NotFound:
        raise BadRequest(f"Can not find requested image {wanted}") from None
    if image.status != "active":
        raise BadRequest(f"Image {image.id} is not active.")
    if image.min_ram > server.flavor.ram:
        raise BadRequest("Flavor's memory is too small for requested image.")
    if server.flavor.disk and image.min_disk > server.flavor.disk:
        raise BadRequest("Flavor's disk is too small for requested image.")
    return image.id


Mapping = tuple[dict[str, Any], Volume | None]
"""A block device as asked for, and the volume that it names, if any."""


def _volumes(store: Compute, caller: Caller, values: dict[str, Any]) -> list[Mapping]:
    mappings: list[Mapping] = []
    for asked in values.get("block_device_mapping_v2") or values.get("block_device_mapping") or []:
        mapping = dict(asked)
        index = mapping.get("boot_index")
        mapping["boot_index"] = int(index) if index not in (None, "") else None
        volume = None
        source = mapping.get("source_type") or ("volume" if mapping.get("volume_id") else "blank")
        mapping["source_type"] = source
        if source == "volume":
            volume_id = str(mapping.get("uuid") or mapping.get("volume_id"))
            try:
                volume = store.block_storage.volumes.get(caller, volume_id)
            except NotFound:
                raise BadRequest(f"Block Device Mapping is Invalid: failed to get volume {volume_id}.") from None
            if mapping["boot_index"] == 0 and not volume.bootable:
                raise BadRequest(f"Block Device {volume.id} is not bootable.")
        mappings.append((mapping, volume))
    return mappings


def _reserve(store: Compute, caller: Caller, server: Server, mappings: list[Mapping]) -> None:
    for mapping, named in mappings:
        wants_new = named is None and mapping.get("destination_type") == "volume"
        volume = _new_volume(store, caller, mapping) if wants_new else named
        if volume is None:
            continue
        attachment = store.block_storage.reserve(volume, server.id)
        boots = mapping["boot_index"] == 0
        server.disks.append(
            Disk(
                volume_id=volume.id,
                attachment_id=attachment.id,
                device=server.root_device if boots else mapping.get("device_name") or server.free_device(),
                boot_index=mapping["boot_index"],
                delete_on_termination=bool(mapping.get("delete_on_termination")),
                tag=mapping.get("tag"),
            )
        )


def _new_volume(store: Compute, caller: Caller, mapping: dict[str, Any]) -> Volume:
    """A volume that Nova makes for a server; it is ready with the server, whatever a volume's pace."""
    asked: dict[str, Any] = {"size": mapping.get("volume_size"), "volume_type": mapping.get("volume_type")}
    source = {"image": "imageRef", "snapshot": "snapshot_id"}.get(str(mapping["source_type"]))
    if source:
        asked[source] = mapping.get("uuid")
    volume = store.block_storage.create_volume(caller, asked)
    store.lifecycle.drop(volume.id)
    volume.status = "available"
    if source == "imageRef":
        volume.image_metadata = image_metadata(store.images.images[str(mapping["uuid"])])
    return volume


Ports = list[Port]
NewPorts = list[dict[str, Any]]


def _networks(store: Compute, caller: Caller, values: dict[str, Any], version: Microversion) -> tuple[Ports, NewPorts]:
    """The ports a server is given, and what it needs new ones on."""
    asked = values.get("networks")
    if asked is None and version >= NETWORKS_NEEDED:
        raise BadRequest("Invalid input for field/attribute server. 'networks' is a required property")
    if asked == "none":
        return [], []
    if asked in (None, [], "auto"):
        own = [network for network in store.network.networks if network.project_id == caller.project_id]
        if len(own) > 1 and asked is None:
            raise Conflict("Multiple possible networks found, use a Network ID to be more specific.")
        usable = [network for network in own if network.subnets]
        return [], [{"network_id": network.id} for network in usable[:1]]
    given: Ports = []
    new: NewPorts = []
    for one in asked:
        if one.get("port"):
            given.append(_free_port(store, caller, str(one["port"])))
            continue
        try:
            network = store.network.network(caller, str(one.get("uuid")))
        except NotFound:
            raise BadRequest(f"Network {one.get('uuid')} could not be found.") from None
        if not network.subnets:
            raise BadRequest(f"Network {network.id} requires a subnet in order to boot instances on.")
        wanted: dict[str, Any] = {"network_id": network.id}
        if one.get("fixed_ip"):
            wanted["fixed_ips"] = [{"ip_address": one["fixed_ip"]}]
        new.append(wanted)
    return given, new


def _free_port(store: Compute, caller: Caller, port_id: str) -> Port:
    try:
        port = store.network.ports.get(caller, port_id)
    except NotFound:
        raise BadRequest(f"Port {port_id} could not be found.") from None
    if port.device_id:
        raise Conflict(f"Port {port.id} is still in use.")
    if not port.fixed_ips:
        raise BadRequest(f"Port {port.id} requires a FixedIP in order to be used.")
    return port


def _security_groups(store: Compute, caller: Caller, values: dict[str, Any]) -> list[str] | None:
    asked = [one.get("name") for one in values.get("security_groups") or []]
    if not asked or asked == ["default"]:
        return None
    return [find_security_group(store, caller, str(name)) for name in asked]


def find_security_group(store: Compute, caller: Caller, wanted: str) -> str:
    """A security group's id, by id or name.

    Raises:
        BadRequest: There is none, or several have the name.
    """
    own = [one for one in store.network.security_groups if one.project_id == caller.project_id]
    found = [one.id for one in own if wanted in (one.id, one.name)]
    if not found:
        raise BadRequest(f"Security group {wanted} not found.")
    if len(found) > 1:
        raise Conflict(f"Multiple security_groups matches found for name '{wanted}', use an ID to be more specific.")
    return found[0]


def _plug(
    store: Compute, caller: Caller, server: Server, given: Ports, new: NewPorts, groups: list[str] | None
) -> None:
    for port in given:
        ports.claim(store.network, port, server.id, server.availability_zone)
    for wanted in new:
        asked = wanted if groups is None else wanted | {"security_groups": groups}
        port = ports.create_port(store.network, caller, asked)
        server.own_ports.add(port.id)
        ports.claim(store.network, port, server.id, server.availability_zone)


def _join_group(store: Compute, caller: Caller, server: Server, hints: dict[str, Any]) -> None:
    group_id = hints.get("group")
    if not group_id:
        return
    try:
        group = store.server_groups.get(caller, str(group_id))
    except NotFound:
        raise BadRequest(f"Instance group {group_id} could not be found.") from None
    if not store.quotas.allows(caller.project_id, "server_group_members", len(group.members)):
        raise Forbidden("Quota exceeded, too many servers in group")
    group.members.append(server.id)
    server.server_group_id = group.id
