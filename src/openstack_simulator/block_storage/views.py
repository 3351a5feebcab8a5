"""Cinder's calls on volumes and snapshots, and the routes of the whole service."""

import ast
from collections.abc import Callable
from typing import Any

import falcon

from openstack_simulator.block_storage import settings_views
from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volumes import HOST, Attachment, Snapshot, Volume, strings
from openstack_simulator.clock import in_microseconds
from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.paging import Query, as_bool, page, sort
from openstack_simulator.records import Caller, Collection
from openstack_simulator.web import App, body, caller_of, document, must_be_admin, required, service_url, version_of

Body = dict[str, Any]
EXTEND_ATTACHED = (3, 42)
SNAPSHOT_WITHOUT_FORCE = (3, 66)


def links(req: falcon.Request, kind: str, record_id: str) -> list[dict[str, str]]:
    """The ``links`` of a body."""
    base, project_id = service_url(req, "block_storage"), caller_of(req).project_id
    return [
        {"rel": "self", "href": f"{base}/v3/{project_id}/{kind}/{record_id}"},
        {"rel": "bookmark", "href": f"{base}/{project_id}/{kind}/{record_id}"},
    ]


def metadata_fit(record: Volume | Snapshot, wanted: str) -> bool:
    """Whether metadata have all the pairs of a filter, written as a dictionary: ``{'key': 'value'}``.

    What is not written so fits nothing. Cinder does it like that, and it is a trap: openstacksdk turns
    ``metadata={"key": "value"}`` into ``metadata=key``; callers must pass ``str({"key": "value"})``.
    """
    try:
        pairs = ast.literal_eval(wanted)
    except (ValueError, SyntaxError):
        return False
    return isinstance(pairs, dict) and strings(pairs).items() <= record.metadata.items()


class Metadata:
    """The calls on an object's metadata, the same for volumes and snapshots."""

    def __init__(self, find: Callable[[Caller, str], Volume | Snapshot]) -> None:
        self.find = find

    def on_get(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Show all."""
        resp.media = {"metadata": self.find(caller_of(req), record_id).metadata}

    def on_post(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Add some."""
        record = self.find(caller_of(req), record_id)
        record.metadata |= strings(body(req, "metadata"))
        resp.media = {"metadata": record.metadata}

    def on_put(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Replace all."""
        record = self.find(caller_of(req), record_id)
        record.metadata = strings(body(req, "metadata"))
        resp.media = {"metadata": record.metadata}

    def on_get_key(self, req: falcon.Request, resp: falcon.Response, record_id: str, key: str) -> None:
        """Show one."""
        record = self.find(caller_of(req), record_id)
        if key not in record.metadata:
            raise NotFound(f"Volume {record_id} has no metadata with key {key}.")
        resp.media = {"meta": {key: record.metadata[key]}}

    def on_put_key(self, req: falcon.Request, resp: falcon.Response, record_id: str, key: str) -> None:
        """Set one."""
        record = self.find(caller_of(req), record_id)
        record.metadata |= strings(body(req, "meta"))
        resp.media = {"meta": {key: record.metadata.get(key)}}

    def on_delete_key(self, req: falcon.Request, resp: falcon.Response, record_id: str, key: str) -> None:
        """Take one away."""
        record = self.find(caller_of(req), record_id)
        if record.metadata.pop(key, None) is None:
            raise NotFound(f"Volume {record_id} has no metadata with key {key}.")


class Volumes:
    """``/volumes``."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    def render(self, req: falcon.Request, volume: Volume) -> Body:
        """A volume's body."""
        shown: Body = {
            "id": volume.id,
            "name": volume.name,
            "description": volume.description,
            "status": volume.status,
            "size": volume.size,
            "user_id": volume.user_id,
            "volume_type": volume.volume_type,
            "availability_zone": volume.availability_zone,
            # Cinder writes this one as text.
            "bootable": "true" if volume.bootable else "false",
            "encrypted": False,
            "multiattach": volume.multiattach,
            "snapshot_id": volume.snapshot_id,
            "source_volid": volume.source_volume_id,
            "consistencygroup_id": None,
            "replication_status": None,
            "migration_status": None,
            "metadata": volume.metadata,
            "attachments": [render_on_volume(one) for one in volume.attachments if one.attached_at is not None],
            "created_at": in_microseconds(volume.created_at),
            "updated_at": None if volume.updated_at is None else in_microseconds(volume.updated_at),
            "os-vol-tenant-attr:tenant_id": volume.project_id,
            "links": links(req, "volumes", volume.id),
        }
        if volume.image_metadata:
            shown["volume_image_metadata"] = volume.image_metadata
        if caller_of(req).is_admin:
            shown |= {
                "os-vol-host-attr:host": HOST,
                "os-vol-mig-status-attr:migstat": None,
                "os-vol-mig-status-attr:name_id": None,
            }
        version = version_of(req)
        if version >= (3, 13):
            shown["group_id"] = None
        if version >= (3, 48):
            shown |= {"shared_targets": False, "service_uuid": None}
        if version >= (3, 61):
            shown["cluster_name"] = None
        if version >= (3, 63):
            shown["volume_type_id"] = self.store.type_of(volume.volume_type).id
        if version >= (3, 65):
            shown["consumes_quota"] = True
        return shown

    def _listed(self, req: falcon.Request) -> tuple[list[Volume], str | None]:
        query = Query.of(req)
        volumes = listed(req, self.store.volumes, query, _volume_fits)
        shown, marker = page(volumes, query, key=lambda one: one.id)
        for volume in shown:
            self.store.lifecycle.observed(volume.id)
        return list(shown), marker

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List volumes by name and id."""
        volumes, marker = self._listed(req)
        brief = [{"id": one.id, "name": one.name, "links": links(req, "volumes", one.id)} for one in volumes]
        resp.media = with_next(req, "volumes", brief, marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List volumes in full."""
        query = Query.of(req)
        volumes, marker = self._listed(req)
        resp.media = with_next(req, "volumes", [self.render(req, one) for one in volumes], marker)
        if query.flag("with_count"):
            resp.media["count"] = len(listed(req, self.store.volumes, query, _volume_fits))

    def on_get_summary(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Count volumes and gigabytes."""
        volumes = listed(req, self.store.volumes, Query.of(req), _volume_fits)
        total = sum(one.size for one in volumes)
        resp.media = {"volume-summary": {"total_count": len(volumes), "total_size": total, "metadata": {}}}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start making a volume."""
        volume = self.store.create_volume(caller_of(req), body(req, "volume"))
        resp.status, resp.media = 202, {"volume": self.render(req, volume)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Show a volume."""
        volume = self.store.volumes.get(caller_of(req), record_id)
        resp.media = {"volume": self.render(req, volume)}
        self.store.lifecycle.observed(volume.id)

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Change name, description or metadata."""
        volume = self.store.volumes.get(caller_of(req), record_id)
        values = body(req, "volume")
        volume.name = values.get("name", values.get("display_name", volume.name)) or ""
        volume.description = values.get("description", volume.description)
        if "metadata" in values:
            volume.metadata = strings(values["metadata"])
        volume.updated_at = self.store.lifecycle.now()
        resp.media = {"volume": self.render(req, volume)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Start deleting a volume."""
        volume, query = self.store.volumes.get(caller_of(req), record_id), Query.of(req)
        self.store.delete_volume(volume, cascade=bool(query.flag("cascade")), force=bool(query.flag("force")))
        resp.status = 202

    def on_post_action(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Do something to a volume; the body's one key says what."""
        volume = self.store.volumes.get(caller_of(req), record_id)
        name, values = next(iter(document(req).items()), ("", None))
        action = ACTIONS.get(name)
        if action is None:
            raise BadRequest(f"There is no such action: {name}")
        answer = action(self.store, req, volume, values if isinstance(values, dict) else {})
        resp.status = 202 if name not in ("os-set_bootable", "os-set_image_metadata", "os-show_image_metadata") else 200
        if answer is not None:
            resp.media = answer
            resp.status = 202 if name == "os-volume_upload_image" else 200


def _volume_fits(volume: Volume, key: str, wanted: str) -> bool:
    if key in ("bootable", "multiattach"):
        return bool(getattr(volume, key)) == as_bool(wanted)
    if key == "size":
        return str(volume.size) == wanted
    return key not in ("status", "availability_zone", "volume_type", "snapshot_id") or (
        str(getattr(volume, key)).lower() == wanted.lower()
    )


def listed(
    req: falcon.Request,
    records: Collection[Any],
    query: Query,
    fits: Callable[[Any, str, str], bool],
) -> list[Any]:
    """The objects that a list call shows, in its order."""
    caller = caller_of(req)
    everyone = caller.is_admin and query.flag("all_tenants")
    project_id = query.get("project_id") if everyone else caller.project_id

    def keep(record: Any) -> bool:
        if project_id is not None and record.project_id != project_id:
            return False
        for key, wanted in query.pairs:
            if key in ("name", "id") and getattr(record, key) != wanted:
                return False
            if key in ("name~", "display_name~") and wanted.lower() not in record.name.lower():
                return False
            if key == "metadata" and not metadata_fit(record, wanted):
                return False
            if not fits(record, key, wanted):
                return False
        return True

    return sort(records.visible(keep), query, lambda one, key: getattr(one, key, None), "created_at:desc")


def with_next(req: falcon.Request, kind: str, bodies: list[Body], marker: str | None) -> Body:
    """A list's body, with the link to the next page if there is one."""
    shown: Body = {kind: bodies}
    if marker:
        link = f"{req.prefix}{req.path}?{Query.of(req).with_marker(marker)}"
        shown[f"{kind}_links"] = [{"rel": "next", "href": link}]
    return shown


def render_on_volume(attachment: Attachment) -> Body:
    """An attachment as it is shown in a volume's body."""
    return {
        "id": attachment.volume_id,
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "server_id": attachment.server_id,
        "host_name": attachment.host or None,
        "device": attachment.device,
        "attached_at": in_microseconds(attachment.attached_at or 0),
    }


Action = Callable[[BlockStorage, falcon.Request, Volume, Body], Body | None]


def _extend(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    store.extend_volume(volume, values.get("new_size"), may_be_attached=version_of(req) >= EXTEND_ATTACHED)


def _set_bootable(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    wanted = as_bool(str(values.get("bootable")))
    if wanted is None:
        raise BadRequest(f"Invalid input for field/attribute bootable. Value: {values.get('bootable')}.")
    volume.bootable, volume.updated_at = wanted, store.lifecycle.now()


def _retype(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    store.retype_volume(volume, str(required(values, "new_type")))


def _reset_status(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    must_be_admin(req, "volume_extension:volume_admin_actions:reset_status")
    store.lifecycle.drop(volume.id)
    volume.status = str(values.get("status") or volume.status)
    if values.get("attach_status") == "detached":
        volume.attachments = []


def _force_delete(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    must_be_admin(req, "volume_extension:volume_admin_actions:force_delete")
    store.delete_volume(volume, force=True, cascade=True)


def _reserve(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status != "available":
        raise BadRequest(f"Invalid volume: Volume {volume.id} status must be available to reserve.")
    volume.status = "attaching"


def _unreserve(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status in ("attaching", "reserved"):
        volume.status = "available"


def _attach(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status == "attaching":
        volume.status = "available"
    attachment = store.reserve(volume, str(values.get("instance_uuid") or ""))
    store.attach(volume, attachment, values.get("mountpoint"))


def _detach(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if not volume.attachments:
        raise BadRequest(f"Invalid volume: Unable to detach volume. Volume {volume.id} has no attachments.")
    wanted = values.get("attachment_id")
    for attachment in list(volume.attachments):
        if wanted in (None, attachment.id):
            store.release(volume, attachment.server_id)


def _begin_detaching(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status != "in-use":
        raise BadRequest(
            f"Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be "
            f"'attached' to detach. Currently: status: '{volume.status}'."
        )
    volume.status = "detaching"


def _roll_detaching(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status == "detaching":
        volume.status = "in-use"


def _set_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    volume.image_metadata |= strings(values.get("metadata"))
    return {"metadata": volume.image_metadata}


def _unset_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.image_metadata.pop(str(values.get("key")), None) is None:
        raise NotFound("Metadata item was not found.")


def _show_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    return {"metadata": volume.image_metadata}


def _update_readonly(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    volume.readonly = bool(as_bool(str(values.get("readonly"))))


def _upload_image(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    image = store.upload_to_image(caller_of(req), volume, values)
    return {
        "os-volume_upload_image": {
            "id": volume.id,
            "status": "uploading",
            "size": volume.size,
            "image_id": image.id,
            "image_name": image.name,
            "disk_format": values.get("disk_format") or "raw",
            "container_format": values.get("container_format") or "bare",
            "display_description": volume.description,
            "updated_at": in_microseconds(store.lifecycle.now()),
            "volume_type": None,
        }
    }


ACTIONS: dict[str, Action] = {
    "os-extend": _extend,
    "os-set_bootable": _set_bootable,
    "os-retype": _retype,
    "os-reset_status": _reset_status,
    "os-force_delete": _force_delete,
    "os-reserve": _reserve,
    "os-unreserve": _unreserve,
    "os-attach": _attach,
    "os-detach": _detach,
    "os-force_detach": _detach,
    "os-begin_detaching": _begin_detaching,
    "os-roll_detaching": _roll_detaching,
    "os-set_image_metadata": _set_image_metadata,
    "os-unset_image_metadata": _unset_image_metadata,
    "os-show_image_metadata": _show_image_metadata,
    "os-update_readonly_flag": _update_readonly,
    "os-volume_upload_image": _upload_image,
}


class Snapshots:
    """``/snapshots``."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    def render(self, req: falcon.Request, snapshot: Snapshot) -> Body:
        """A snapshot's body."""
        return {
            "id": snapshot.id,
            "name": snapshot.name,
            "description": snapshot.description,
            "status": snapshot.status,
            "size": snapshot.size,
            "volume_id": snapshot.volume_id,
            "user_id": snapshot.user_id,
            "metadata": snapshot.metadata,
            "group_snapshot_id": None,
            "created_at": in_microseconds(snapshot.created_at),
            "updated_at": None if snapshot.updated_at is None else in_microseconds(snapshot.updated_at),
            "os-extended-snapshot-attributes:project_id": snapshot.project_id,
            "os-extended-snapshot-attributes:progress": snapshot.progress,
        }

    def _listed(self, req: falcon.Request) -> tuple[list[Body], str | None]:
        query = Query.of(req)
        shown, marker = page(listed(req, self.store.snapshots, query, _snapshot_fits), query, key=lambda one: one.id)
        bodies = [self.render(req, one) for one in shown]
        for one in shown:
            self.store.lifecycle.observed(one.id)
        return bodies, marker

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List snapshots."""
        bodies, marker = self._listed(req)
        brief = [{key: value for key, value in one.items() if not key.startswith("os-")} for one in bodies]
        resp.media = with_next(req, "snapshots", brief, marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List snapshots in full."""
        bodies, marker = self._listed(req)
        resp.media = with_next(req, "snapshots", bodies, marker)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start making a snapshot."""
        needs_force = version_of(req) < SNAPSHOT_WITHOUT_FORCE
        snapshot = self.store.create_snapshot(caller_of(req), body(req, "snapshot"), needs_force=needs_force)
        resp.status, resp.media = 202, {"snapshot": self.render(req, snapshot)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Show a snapshot."""
        snapshot = self.store.snapshots.get(caller_of(req), record_id)
        resp.media = {"snapshot": self.render(req, snapshot)}
        self.store.lifecycle.observed(snapshot.id)

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Change name or description."""
        snapshot = self.store.snapshots.get(caller_of(req), record_id)
        values = body(req, "snapshot")
        snapshot.name = values.get("name", snapshot.name) or ""
        snapshot.description = values.get("description", snapshot.description)
        snapshot.updated_at = self.store.lifecycle.now()
        resp.media = {"snapshot": self.render(req, snapshot)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Start deleting a snapshot."""
        snapshot = self.store.snapshots.get(caller_of(req), record_id)
        self.store.delete_snapshot(snapshot, force=bool(Query.of(req).flag("force")))
        resp.status = 202

    def on_post_action(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Reset the status or delete by force; admins only."""
        must_be_admin(req, "volume_extension:snapshot_admin_actions")
        snapshot = self.store.snapshots.get(caller_of(req), record_id)
        asked = document(req)
        if "os-reset_status" in asked:
            self.store.lifecycle.drop(snapshot.id)
            snapshot.status = str(asked["os-reset_status"].get("status"))
        elif "os-force_delete" in asked:
            self.store.delete_snapshot(snapshot, force=True)
        resp.status = 202


def _snapshot_fits(snapshot: Snapshot, key: str, wanted: str) -> bool:
    return key not in ("status", "volume_id") or str(getattr(snapshot, key)).lower() == wanted.lower()


class Attachments:
    """``/attachments``: for reading, Nova makes them."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    def _of(self, caller: Caller) -> list[Attachment]:
        return [
            attachment
            for volume in self.store.volumes
            if volume.project_id == caller.project_id
            for attachment in volume.attachments
        ]

    @staticmethod
    def render(attachment: Attachment) -> Body:
        """An attachment's body."""
        return {
            "id": attachment.id,
            "volume_id": attachment.volume_id,
            "instance": attachment.server_id,
            "status": "attached" if attachment.attached_at is not None else "reserved",
            "attach_mode": "rw",
            "attached_at": None if attachment.attached_at is None else in_microseconds(attachment.attached_at),
            "detached_at": None,
            "connection_info": {},
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List attachments."""
        query = Query.of(req)
        shown = [
            self.render(one)
            for one in self._of(caller_of(req))
            if query.get("volume_id") in (None, one.volume_id) and query.get("instance_id") in (None, one.server_id)
        ]
        resp.media = {"attachments": shown}

    on_get_detail = on_get

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Show an attachment."""
        for one in self._of(caller_of(req)):
            if one.id == record_id:
                resp.media = {"attachment": self.render(one)}
                return
        raise NotFound(f"Volume attachment could not be found with filter: attachment_id = {record_id}.")


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Cinder's calls."""
    store, root = cloud.block_storage, "/volume/v3/{project_in_url}"
    volumes, snapshots, attachments = Volumes(store), Snapshots(store), Attachments(store)
    app.add_route(f"{root}/volumes", volumes)
    app.add_route(f"{root}/volumes/detail", volumes, suffix="detail")
    app.add_route(f"{root}/volumes/summary", volumes, suffix="summary")
    app.add_route(f"{root}/volumes/{{record_id}}", volumes, suffix="one")
    app.add_route(f"{root}/volumes/{{record_id}}/action", volumes, suffix="action")
    app.add_route(f"{root}/snapshots", snapshots)
    app.add_route(f"{root}/snapshots/detail", snapshots, suffix="detail")
    app.add_route(f"{root}/snapshots/{{record_id}}", snapshots, suffix="one")
    app.add_route(f"{root}/snapshots/{{record_id}}/action", snapshots, suffix="action")
    metadata_of_volumes = Metadata(store.volumes.get)
    metadata_of_snapshots = Metadata(store.snapshots.get)
    for kind, metadata in (("volumes", metadata_of_volumes), ("snapshots", metadata_of_snapshots)):
        app.add_route(f"{root}/{kind}/{{record_id}}/metadata", metadata)
        app.add_route(f"{root}/{kind}/{{record_id}}/metadata/{{key}}", metadata, suffix="key")
    app.add_route(f"{root}/attachments", attachments)
    app.add_route(f"{root}/attachments/detail", attachments, suffix="detail")
    app.add_route(f"{root}/attachments/{{record_id}}", attachments, suffix="one")
    settings_views.add_routes(app, store, root)
