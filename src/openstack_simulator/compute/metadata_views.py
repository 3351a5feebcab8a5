"""Nova's calls on what is written about a server: metadata, tags and its log."""

import falcon

from openstack_simulator import clock
from openstack_simulator.compute import building
from openstack_simulator.compute.base import Body, ServerView
from openstack_simulator.compute.servers import InstanceAction, Server
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.web import body, document

METADATA_LIMIT = 255


class Metadata(ServerView):
    """``/servers/{}/metadata``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Show all."""
        resp.media = {"metadata": self.find(req, server_id).metadata}

    def on_post(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Add some."""
        server = self.find(req, server_id)
        server.metadata = server.metadata | _metadata(body(req, "metadata"))
        self.store.touch(server)
        resp.media = {"metadata": server.metadata}

    def on_put(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Replace all."""
        server = self.find(req, server_id)
        server.metadata = _metadata(body(req, "metadata"))
        self.store.touch(server)
        resp.media = {"metadata": server.metadata}

    def on_get_key(self, req: falcon.Request, resp: falcon.Response, server_id: str, key: str) -> None:
        """Show one."""
        server = self.find(req, server_id)
        if key not in server.metadata:
            raise NotFound("Metadata item was not found")
        resp.media = {"meta": {key: server.metadata[key]}}

    def on_put_key(self, req: falcon.Request, resp: falcon.Response, server_id: str, key: str) -> None:
        """Set one."""
        server, values = self.find(req, server_id), _metadata(body(req, "meta"))
        if list(values) != [key]:
            raise BadRequest("Request body and URI mismatch")
        server.metadata = server.metadata | values
        resp.media = {"meta": values}

    def on_delete_key(self, req: falcon.Request, resp: falcon.Response, server_id: str, key: str) -> None:
        """Take one away."""
        server = self.find(req, server_id)
        if key not in server.metadata:
            raise NotFound("Metadata item was not found")
        server.metadata = {name: value for name, value in server.metadata.items() if name != key}
        resp.status = 204


def _metadata(values: Body) -> dict[str, str]:
    for key, value in values.items():
        if not isinstance(value, str) or len(value) > METADATA_LIMIT or not 1 <= len(key) <= METADATA_LIMIT:
            raise BadRequest(f"Invalid input for field/attribute {key}. Value: {value}.")
    return dict(values)


class Tags(ServerView):
    """``/servers/{}/tags``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List tags."""
        resp.media = {"tags": self.find(req, server_id).tags}

    def on_put(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Replace all tags."""
        server = self.find(req, server_id)
        server.tags = building.check_tags(document(req).get("tags"))
        resp.media = {"tags": server.tags}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Take all tags off."""
        self.find(req, server_id).tags = []
        resp.status = 204

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, tag: str) -> None:
        """Check for a tag."""
        if tag not in self.find(req, server_id).tags:
            raise NotFound(f"Server {server_id} has no tag '{tag}'")
        resp.status = 204

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, tag: str) -> None:
        """Put a tag on."""
        server = self.find(req, server_id)
        if tag in server.tags:
            resp.status = 204
            return
        server.tags = building.check_tags([*server.tags, tag])
        resp.status = 201

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, tag: str) -> None:
        """Take a tag off."""
        server = self.find(req, server_id)
        if tag not in server.tags:
            raise NotFound(f"Server {server_id} has no tag '{tag}'")
        server.tags = [one for one in server.tags if one != tag]
        resp.status = 204


class InstanceActions(ServerView):
    """``/servers/{}/os-instance-actions``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List what was done to a server, the latest first."""
        server = self.find(req, server_id)
        resp.media = {"instanceActions": [self._render(server, one) for one in reversed(server.log)]}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, request_id: str) -> None:
        """Show one thing that was done."""
        server = self.find(req, server_id)
        for one in server.log:
            if one.request_id == request_id:
                resp.media = {"instanceAction": self._render(server, one) | {"events": []}}
                return
        raise NotFound(f"Action for request_id {request_id} on instance {server_id} not found")

    @staticmethod
    def _render(server: Server, entry: InstanceAction) -> Body:
        started = clock.in_microseconds(entry.started_at)
        return {
            "action": entry.action,
            "instance_uuid": server.id,
            "request_id": entry.request_id,
            "user_id": entry.user_id,
            "project_id": entry.project_id,
            "start_time": started,
            "updated_at": started,
            "message": None,
        }
