"""Nova's calls on servers, and the routes of the whole service."""

import re
from typing import Any

import falcon

from openstack_simulator import clock
from openstack_simulator.cloud import Cloud
from openstack_simulator.compute import actions, bodies, building, settings_views
from openstack_simulator.compute.base import Body, ServerView
from openstack_simulator.compute.device_views import Interfaces, VolumeAttachments
from openstack_simulator.compute.metadata_views import InstanceActions, Metadata, Tags
from openstack_simulator.compute.servers import Server
from openstack_simulator.errors import BadRequest, Forbidden
from openstack_simulator.paging import Query, next_link, page, sort
from openstack_simulator.web import App, body, caller_of, document, request_id_of, version_of


class Servers(ServerView):
    """``/servers``."""

    def _chosen(self, req: falcon.Request) -> tuple[list[Server], str | None]:
        caller, query = caller_of(req), Query.of(req)
        everyone = query.flag("all_tenants") or query.get("all_tenants") == ""
        if everyone and not caller.is_admin:
            raise Forbidden("Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed.")
        project_id = query.get("project_id") or query.get("tenant_id") if everyone else caller.project_id
        servers = self.store.servers.visible(
            lambda one: project_id in (None, one.project_id) and self._fits(one, query)
        )
        ordered = sort(servers, query, _sort_value, "created_at:desc")
        shown, marker = page(ordered, query, key=lambda one: one.id)
        return list(shown), marker

    def _fits(self, server: Server, query: Query) -> bool:
        for key, wanted in query.pairs:
            if key == "name" and not _matches(wanted, server.name):
                return False
            if key == "status" and server.status not in [one.upper() for one in query.all("status")]:
                return False
            if key in ("image", "flavor") and wanted.rsplit("/", 1)[-1] != (
                server.image_id if key == "image" else server.flavor.id
            ):
                return False
            if key in ("uuid", "key_name", "user_id", "vm_state", "task_state", "host", "availability_zone"):
                value = server.id if key == "uuid" else getattr(server, key)
                if str(value) != wanted:
                    return False
            if key == "changes-since" and (server.updated_at or server.created_at) < _moment(wanted):
                return False
            if key in ("ip", "ip6") and not self._has_address(server, wanted):
                return False
        return _tags_fit(server.tags, query)

    def _has_address(self, server: Server, wanted: str) -> bool:
        every = [one["addr"] for entries in bodies.addresses(self.store, server).values() for one in entries]
        return any(_matches(wanted, address) for address in every)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List servers by name and id."""
        servers, marker = self._chosen(req)
        resp.media = {"servers": [bodies.brief(req, one) for one in servers]} | next_link(req, "servers", marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List servers in full."""
        servers, marker = self._chosen(req)
        shown = [bodies.full(self.store, req, one) for one in servers]
        resp.media = {"servers": shown} | next_link(req, "servers", marker)
        for server in servers:
            self.store.lifecycle.observed(server.id)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start making one server, or several at once with ``min_count``."""
        sent, values = document(req), body(req, "server")
        hints = sent.get("os:scheduler_hints") or sent.get("OS-SCH-HNT:scheduler_hints") or {}
        made = building.create_servers(self.store, caller_of(req), values, hints, version_of(req))
        for server in made:
            self.store.note(server, caller_of(req), "create", request_id_of(req))
        first = made[0]
        resp.status = 202
        resp.set_header("Location", bodies.links(req, "servers", first.id)[0]["href"])
        resp.media = {
            "server": {
                "id": first.id,
                "links": bodies.links(req, "servers", first.id),
                "OS-DCF:diskConfig": "MANUAL",
                "security_groups": [{"name": name} for name in _asked_groups(values)],
                "adminPass": str(values.get("adminPass") or "simulated"),
            }
        }

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Show a server."""
        server = self.find(req, server_id)
        shown = bodies.full(self.store, req, server)
        if version_of(req) >= (2, 71):
            shown |= bodies.server_groups(server)
        resp.media = {"server": shown}
        self.store.lifecycle.observed(server.id)

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Change a server's name, description or host name."""
        server, values = self.find(req, server_id), body(req, "server")
        if "name" in values:
            if not str(values["name"]).strip():
                raise BadRequest("Invalid input for field/attribute name.")
            server.name = str(values["name"]).strip()
        server.description = values.get("description", server.description)
        server.hostname = values.get("hostname", server.hostname)
        self.store.touch(server)
        resp.media = {"server": bodies.full(self.store, req, server)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Start deleting a server."""
        server = self.find(req, server_id)
        building.delete_server(self.store, server)
        self.store.note(server, caller_of(req), "delete", request_id_of(req))
        resp.status = 204

    def on_post_action(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Do something to a server; the body's one key says what."""
        actions.act(self.store, req, resp, self.find(req, server_id), document(req))

    def on_get_groups(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List the security groups on a server's ports."""
        groups: dict[str, Body] = {}
        for port in self.store.network.ports_of(self.find(req, server_id).id):
            for group_id in port.security_groups:
                group = self.store.network.security_groups[group_id]
                groups[group.id] = {
                    "id": group.id,
                    "name": group.name,
                    "description": group.description,
                    "tenant_id": group.project_id,
                    "rules": [],
                }
        resp.media = {"security_groups": list(groups.values())}

    def on_get_ips(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List a server's addresses."""
        every = bodies.addresses(self.store, self.find(req, server_id))
        resp.media = {
            "addresses": {
                name: [{"addr": one["addr"], "version": one["version"]} for one in entries]
                for name, entries in every.items()
            }
        }

    def on_post_consoles(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Give the address of a console; nothing answers there."""
        server, asked = self.find(req, server_id), body(req, "remote_console")
        server.must_be("get_console", "active", "paused", any_task=True)
        address = f"{req.prefix}/console/{server.id}"
        resp.media = {"remote_console": {"protocol": asked.get("protocol"), "type": asked.get("type"), "url": address}}


def _sort_value(server: Server, key: str) -> Any:
    names = {"display_name": "name", "uuid": "id"}
    return getattr(server, names.get(key, key), None)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        # Nova hands the pattern to its database, which complains in its own way.
        raise BadRequest(f"Invalid filter: {pattern} is not a valid regular expression") from None


def _moment(text: str) -> float:
    try:
        # "+" in a query string that was not quoted arrives as a space.
        return clock.parse(text.replace(" ", "+"))
    except ValueError:
        raise BadRequest(f"Invalid input for query parameters changes-since. Value: {text}.") from None


def _tags_fit(tags: list[str], query: Query) -> bool:
    def named(key: str) -> set[str]:
        return {tag for text in query.all(key) for tag in text.split(",") if tag}

    own, some, not_all, none_of = set(tags), named("tags-any"), named("not-tags"), named("not-tags-any")
    return (
        named("tags") <= own
        and (not some or bool(some & own))
        and (not not_all or not not_all <= own)
        and not none_of & own
    )


def _asked_groups(values: Body) -> list[str]:
    return [str(one.get("name")) for one in values.get("security_groups") or [{"name": "default"}]]


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Nova's calls."""
    store, root = cloud.compute, "/compute/v2.1"
    servers, one = Servers(store), f"{root}/servers/{{server_id}}"
    app.add_route(f"{root}/servers", servers)
    app.add_route(f"{root}/servers/detail", servers, suffix="detail")
    app.add_route(one, servers, suffix="one")
    app.add_route(f"{one}/action", servers, suffix="action")
    app.add_route(f"{one}/os-security-groups", servers, suffix="groups")
    app.add_route(f"{one}/ips", servers, suffix="ips")
    app.add_route(f"{one}/remote-consoles", servers, suffix="consoles")
    volumes, interfaces = VolumeAttachments(store), Interfaces(store)
    app.add_route(f"{one}/os-volume_attachments", volumes)
    app.add_route(f"{one}/os-volume_attachments/{{volume_id}}", volumes, suffix="one")
    app.add_route(f"{one}/os-interface", interfaces)
    app.add_route(f"{one}/os-interface/{{port_id}}", interfaces, suffix="one")
    metadata, tags, log = Metadata(store), Tags(store), InstanceActions(store)
    app.add_route(f"{one}/metadata", metadata)
    app.add_route(f"{one}/metadata/{{key}}", metadata, suffix="key")
    app.add_route(f"{one}/tags", tags)
    app.add_route(f"{one}/tags/{{tag}}", tags, suffix="one")
    app.add_route(f"{one}/os-instance-actions", log)
    app.add_route(f"{one}/os-instance-actions/{{request_id}}", log, suffix="one")
    settings_views.add_routes(app, store, root)
