"""Cinder's calls on snapshots and attachments."""

from typing import Any

import falcon

from openstack_simulator.block_storage.listing import listed
from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volumes import Attachment, Snapshot
from openstack_simulator.clock import in_microseconds
from openstack_simulator.errors import NotFound
from openstack_simulator.paging import Query, next_link, page
from openstack_simulator.records import Caller
from openstack_simulator.web import body, caller_of, document, must_be_admin, version_of

Body = dict[str, Any]
SNAPSHOT_WITHOUT_FORCE = (3, 66)


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
        resp.media = {"snapshots": brief} | next_link(req, "snapshots", marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List snapshots in full."""
        bodies, marker = self._listed(req)
        resp.media = {"snapshots": bodies} | next_link(req, "snapshots", marker)

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
