"""Glance's calls: images, their bytes, and the schemas that clients ask for."""

import json
from typing import Any

import falcon

from openstack_simulator.clock import in_seconds
from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, Conflict, NotFound
from openstack_simulator.image.store import STATUSES, Image, ImageService
from openstack_simulator.paging import Query, page, sort
from openstack_simulator.records import new_id
from openstack_simulator.web import App, caller_of, document

BASE_ATTRIBUTES = (
    "id",
    "name",
    "status",
    "visibility",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "size",
    "checksum",
    "owner",
    "protected",
    "tags",
    "created_at",
    "updated_at",
    "os_hidden",
    "os_hash_algo",
    "os_hash_value",
    "virtual_size",
    "self",
    "file",
    "schema",
    "locations",
    "direct_url",
)
CHANGEABLE = ("name", "visibility", "disk_format", "container_format", "min_disk", "min_ram", "protected", "tags")


def render(image: Image) -> dict[str, Any]:
    """An image's body: Glance has no envelope, and puts properties beside the attributes."""
    return {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": image.visibility,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
        "virtual_size": None,
        "checksum": image.checksum,
        "os_hash_algo": "sha512" if image.sha512 else None,
        "os_hash_value": image.sha512,
        "os_hidden": False,
        "owner": image.project_id,
        "protected": image.protected,
        "tags": image.tags,
        "created_at": in_seconds(image.created_at),
        "updated_at": in_seconds(image.updated_at or image.created_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


class Images:
    """``/v2/images``."""

    def __init__(self, store: ImageService) -> None:
        self.store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the images that the caller sees."""
        query = Query.of(req)
        shown = [render(image) for image in self.store.visible_to(caller_of(req))]
        for key, wanted in query.pairs:
            if key == "tag":
                shown = [one for one in shown if wanted in one["tags"]]
            elif key in ("size_min", "size_max"):
                low, high = (int(wanted), None) if key == "size_min" else (None, int(wanted))
                shown = [
                    one
                    for one in shown
                    if (low is None or (one["size"] or 0) >= low) and (high is None or (one["size"] or 0) <= high)
                ]
            elif key not in ("limit", "marker", "sort_key", "sort_dir", "sort", "member_status", "os_hidden"):
                # Glance takes a list of alternatives as "in:a,b".
                accepted = wanted[3:].split(",") if wanted.startswith("in:") else [wanted]
                shown = [
                    one for one in shown if _text(one.get(key)) in accepted or (key, wanted) == ("visibility", "all")
                ]
        ordered = sort(shown, query, lambda one, key: one.get(key), "created_at:desc")
        items, marker = page(ordered, query, key=lambda one: str(one["id"]))
        resp.media = {"images": items, "schema": "/v2/schemas/images", "first": "/v2/images"}
        if marker:
            resp.media["next"] = f"/v2/images?{query.with_marker(marker)}"

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an image without bytes."""
        values = document(req)
        image_id = str(values.get("id") or new_id())
        if image_id in self.store.images:
            raise Conflict(f"Image ID {image_id} already exists!")
        image = Image(id=image_id, project_id=caller_of(req).project_id)
        for key, value in values.items():
            _put(image, key, value)
        self.store.images.add(image)
        resp.status, resp.media = 201, render(image)
        resp.set_header("Location", f"{req.prefix}/image/v2/images/{image.id}")
        resp.set_header("OpenStack-image-import-methods", "glance-direct")

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Show an image."""
        image = self.store.get(caller_of(req), image_id)
        resp.media = render(image)
        self.store.lifecycle.observed(image.id)

    def on_patch_one(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change an image by a JSON patch of the kind Glance takes: whole attributes, no deeper paths."""
        image = self.store.owned(caller_of(req), image_id)
        patch = json.loads(req.bounded_stream.read() or b"[]")
        if not isinstance(patch, list):
            raise BadRequest("Request body must be a JSON array of operation objects.")
        for operation in patch:
            key = str(operation.get("path", "")).lstrip("/")
            if operation.get("op") == "remove":
                image.properties.pop(key, None)
            else:
                _put(image, key, operation.get("value"))
        image.updated_at = self.store.lifecycle.now()
        resp.media = render(image)

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete an image."""
        self.store.delete(self.store.owned(caller_of(req), image_id))
        resp.status = 204

    def on_put_file(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Take the bytes."""
        image = self.store.owned(caller_of(req), image_id)
        if not image.disk_format or not image.container_format:
            raise BadRequest("Properties disk_format, container_format must be set prior to saving data.")
        self.store.upload(image, req.bounded_stream.read())
        resp.status = 204

    def on_get_file(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Give the bytes."""
        image = self.store.get(caller_of(req), image_id)
        resp.content_type, resp.data = "application/octet-stream", image.content
        resp.set_header("Content-MD5", image.checksum or "")

    def on_put_tag(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Add a tag."""
        image = self.store.owned(caller_of(req), image_id)
        if tag not in image.tags:
            image.tags.append(tag)
        resp.status = 204

    def on_delete_tag(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Take a tag away."""
        image = self.store.owned(caller_of(req), image_id)
        if tag not in image.tags:
            raise NotFound(f"Tag {tag} not found")
        image.tags.remove(tag)
        resp.status = 204


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _put(image: Image, key: str, value: Any) -> None:
    if key in CHANGEABLE:
        setattr(image, key, value)
    elif key not in BASE_ATTRIBUTES and key != "os_hidden":
        image.properties[key] = value


class Schemas:
    """``/v2/schemas``: what an image looks like; clients use it to tell attributes from properties."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Show a schema."""
        properties: dict[str, Any] = {key: {"type": ["null", "string"]} for key in BASE_ATTRIBUTES}
        properties["status"] = {"type": "string", "enum": list(STATUSES), "readOnly": True}
        resp.media = {"name": name, "properties": properties, "additionalProperties": {"type": "string"}}


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Glance's calls."""
    images, root = Images(cloud.image), "/image/v2"
    app.add_route(f"{root}/images", images)
    app.add_route(f"{root}/images/{{image_id}}", images, suffix="one")
    app.add_route(f"{root}/images/{{image_id}}/file", images, suffix="file")
    app.add_route(f"{root}/images/{{image_id}}/tags/{{tag}}", images, suffix="tag")
    app.add_route(f"{root}/schemas/{{name}}", Schemas())
