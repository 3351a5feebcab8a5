"""Cinder's calls on volumes, and the routes of the whole service."""

from collections.abc import Callable
from typing import Any

import falcon

from openstack_simulator.block_storage import settings_views
from openstack_simulator.block_storage.listing import links, listed
from openstack_simulator.block_storage.snapshot_views import Attachments, Snapshots
from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volume_actions import ACTIONS
from openstack_simulator.block_storage.volumes import HOST, Attachment, Snapshot, Volume, strings
from openstack_simulator.clock import in_microseconds
from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.paging import Query, as_bool, next_link, page
from openstack_simulator.records import Caller
from openstack_simulator.web import App, body, caller_of, document, version_of

Body = dict[str, Any]


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
        resp.media = {"volumes": brief} | next_link(req, "volumes", marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List volumes in full."""
        query = Query.of(req)
        volumes, marker = self._listed(req)
        resp.media = {"volumes": [self.render(req, one) for one in volumes]} | next_link(req, "volumes", marker)
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
