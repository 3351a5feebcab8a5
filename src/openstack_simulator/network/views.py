"""Neutron's calls. All kinds of object are served alike; what is special about one is in its own module."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import falcon

from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.network import floating_ips, networks, ports, routers, security_groups
from openstack_simulator.network.extensions import EXTENSIONS
from openstack_simulator.network.quota_views import add_quota_routes
from openstack_simulator.network.records import Network, NetworkRecord, Router, Subnet
from openstack_simulator.network.store import Networking
from openstack_simulator.paging import Query, as_bool, next_link, page, sort
from openstack_simulator.records import Caller, Collection
from openstack_simulator.web import App, body, caller_of, document

R = TypeVar("R", bound=NetworkRecord)
Body = dict[str, Any]

FOR_ADMINS = (
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
    "binding:host_id",
    "binding:profile",
    "binding:vif_type",
    "binding:vif_details",
)
"""Attributes that only admins see."""

NOT_FILTERS = (
    "fields",
    "limit",
    "marker",
    "page_reverse",
    "sort_key",
    "sort_dir",
    "tags",
    "tags-any",
    "not-tags",
    "not-tags-any",
)


class Resources(Generic[R]):
    """The calls on one kind of object: list, create (one or many), show, update, delete, and its tags."""

    def __init__(
        self,
        store: Networking,
        kind: tuple[str, str],
        records: Collection[R],
        create: Callable[[Networking, Caller, Body], R],
        update: Callable[[Networking, Caller, R, Body], None],
        delete: Callable[[Networking, Caller, R], None],
    ) -> None:
        self.store = store
        self.singular, self.plural = kind
        self.records = records
        self.create = create
        self.update = update
        self.delete = delete

    def sees(self, caller: Caller, record: R) -> bool:
        """Whether a record exists for a caller."""
        if isinstance(record, Network):
            return self.store.may_use(caller, record)
        if isinstance(record, Subnet):
            return self.store.sees_subnet(caller, record)
        return caller.may_see(record.project_id)

    def find(self, req: falcon.Request, record_id: str, *, to_change: bool = False) -> R:
        """A record that the caller sees, or may change.

        Raises:
            NotFound: There is none: what one may not change looks to Neutron's clients as if it were not there.
        """
        caller = caller_of(req)
        record = self.records.get(caller, record_id, lambda one: self.sees(caller, one))
        if to_change and not caller.may_see(record.project_id):
            raise self.records.missing(record_id)
        return record

    def render(self, req: falcon.Request, record: R) -> Body:
        """A body with what the caller may see and asked for."""
        shown = record.body()
        if not caller_of(req).is_admin:
            for name in FOR_ADMINS:
                shown.pop(name, None)
        return shown

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List what the caller sees and the filters let through."""
        caller, query = caller_of(req), Query.of(req)
        if self.plural in ("security_groups", "security_group_rules") and caller.project_id:
            security_groups.default_group(self.store, caller.project_id)
        records = self.records.visible(lambda one: self.sees(caller, one))
        wanted_ids = query.all("id")
        if wanted_ids:
            records = [one for one in records if one.id in wanted_ids]
        chosen = [one for one in (self.render(req, record) for record in records) if passes(one, query)]
        ordered = sort(chosen, query, lambda one, key: one.get(key), "created_at:asc")
        shown, marker = page(ordered, query, key=lambda one: str(one["id"]), maximum=None)
        for one in shown:
            self.store.lifecycle.observed(one["id"])
        resp.media = {self.plural: only_fields(shown, query)} | next_link(req, self.plural, marker)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make one object, or several when the body has the plural."""
        caller, sent = caller_of(req), document(req)
        resp.status = 201
        if isinstance(sent.get(self.plural), list):
            made = [self.create(self.store, caller, one) for one in sent[self.plural]]
            resp.media = {self.plural: [self.render(req, one) for one in made]}
            return
        record = self.create(self.store, caller, body(req, self.singular))
        resp.media = {self.singular: self.render(req, record)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Show an object."""
        record = self.find(req, record_id)
        resp.media = {self.singular: only_fields([self.render(req, record)], Query.of(req))[0]}
        self.store.lifecycle.observed(record.id)

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Change an object."""
        record = self.find(req, record_id, to_change=True)
        self.update(self.store, caller_of(req), record, body(req, self.singular))
        self.store.touch(record)
        resp.media = {self.singular: self.render(req, record)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Delete an object."""
        self.delete(self.store, caller_of(req), self.find(req, record_id, to_change=True))
        resp.status = 204

    def on_get_tags(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """List the tags of an object."""
        resp.media = {"tags": self.find(req, record_id).tags}

    def on_put_tags(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Replace all tags of an object."""
        record = self.find(req, record_id, to_change=True)
        tags = document(req).get("tags")
        if not isinstance(tags, list):
            raise BadRequest("Invalid input for tags.", kind="HTTPBadRequest")
        record.tags = list(dict.fromkeys(str(tag) for tag in tags))
        self.store.touch(record)
        resp.media = {"tags": record.tags}

    def on_delete_tags(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Take all tags off an object."""
        record = self.find(req, record_id, to_change=True)
        record.tags = []
        self.store.touch(record)
        resp.status = 204

    def on_get_tag(self, req: falcon.Request, resp: falcon.Response, record_id: str, tag: str) -> None:
        """Check for a tag."""
        if tag not in self.find(req, record_id).tags:
            raise NotFound(f"Tag {tag} could not be found.", kind="TagNotFound")
        resp.status = 204

    def on_put_tag(self, req: falcon.Request, resp: falcon.Response, record_id: str, tag: str) -> None:
        """Put a tag on an object."""
        record = self.find(req, record_id, to_change=True)
        if tag not in record.tags:
            record.tags.append(tag)
            self.store.touch(record)
        resp.status = 201

    def on_delete_tag(self, req: falcon.Request, resp: falcon.Response, record_id: str, tag: str) -> None:
        """Take a tag off an object."""
        record = self.find(req, record_id, to_change=True)
        if tag not in record.tags:
            raise NotFound(f"Tag {tag} could not be found.", kind="TagNotFound")
        record.tags.remove(tag)
        self.store.touch(record)
        resp.status = 204


def passes(shown: Body, query: Query) -> bool:
    """Whether a body fits all filters of a list call.

    Raises:
        BadRequest: A filter is on something the object does not have.
    """
    for key in dict.fromkeys(key for key, _ in query.pairs):
        if key in NOT_FILTERS:
            continue
        wanted = query.all(key)
        if key == "fixed_ips":
            if not _has_addresses(shown.get("fixed_ips", []), wanted):
                return False
        elif key in FOR_ADMINS and key not in shown:
            return False
        elif key not in shown:
            raise BadRequest(f"['{key}'] is invalid attribute for filtering", kind="HTTPBadRequest")
        elif not any(_equal(shown[key], one) for one in wanted):
            return False
    return _has_tags(shown.get("tags", []), query)


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return value == as_bool(wanted)
    if isinstance(value, list):
        return wanted in value
    return ("" if value is None else str(value)) == wanted


def _has_addresses(pairs: Iterable[dict[str, str]], wanted: Iterable[str]) -> bool:
    """Whether a port has one of the addresses in one of the subnets that ``subnet_id=...`` and its like name."""
    by_key: dict[str, list[str]] = {}
    for text in wanted:
        for part in text.split(","):
            key, _, value = part.partition("=")
            by_key.setdefault(key, []).append(value)
    for pair in pairs:
        if all(
            any(value in pair["ip_address"] for value in values)
            if key == "ip_address_substr"
            else pair.get(key) in values
            for key, values in by_key.items()
        ):
            return True
    return not by_key


def _has_tags(tags: list[str], query: Query) -> bool:
    def named(key: str) -> set[str]:
        return {tag for text in query.all(key) for tag in text.split(",") if tag}

    own, some, not_all, none_of = set(tags), named("tags-any"), named("not-tags"), named("not-tags-any")
    return (
        named("tags") <= own
        and (not some or bool(some & own))
        and (not not_all or not not_all <= own)
        and not none_of & own
    )


def only_fields(shown: Iterable[Body], query: Query) -> list[Body]:
    """Bodies cut down to the fields that were asked for."""
    names = query.all("fields")
    if not names:
        return list(shown)
    return [{name: one[name] for name in names if name in one} for one in shown]


class Routers(Resources[Router]):
    """Routers, which have calls of their own."""

    def on_put_add_interface(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Connect a router to a subnet."""
        router = self.find(req, record_id, to_change=True)
        self._answer(resp, router, routers.add_interface(self.store, caller_of(req), router, document(req)))

    def on_put_remove_interface(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Disconnect a router from a subnet."""
        router = self.find(req, record_id, to_change=True)
        self._answer(resp, router, routers.remove_interface(self.store, caller_of(req), router, document(req)))

    def on_put_add_routes(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Add routes to those a router has."""
        router = self.find(req, record_id, to_change=True)
        more = [one for one in body(req, "router").get("routes") or [] if one not in router.routes]
        self.update(self.store, caller_of(req), router, {"routes": router.routes + more})
        resp.media = {"router": self.render(req, router)}

    def on_put_remove_routes(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Take routes away from a router."""
        router = self.find(req, record_id, to_change=True)
        less = body(req, "router").get("routes") or []
        router.routes = [one for one in router.routes if one not in less]
        resp.media = {"router": self.render(req, router)}

    @staticmethod
    def _answer(resp: falcon.Response, router: Router, port: Any) -> None:
        subnets = [pair["subnet_id"] for pair in port.fixed_ips]
        resp.media = {
            "id": router.id,
            "tenant_id": router.project_id,
            "project_id": router.project_id,
            "port_id": port.id,
            "network_id": port.network_id,
            "subnet_id": subnets[0] if subnets else None,
            "subnet_ids": subnets,
            "tags": router.tags,
        }


class Fixed:
    """A list that clients ask for and that never changes."""

    def __init__(self, plural: str, bodies: list[Body]) -> None:
        self.plural, self.bodies = plural, bodies

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List."""
        resp.media = {self.plural: self.bodies}


class Extension:
    """``/v2.0/extensions/{alias}``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, alias: str) -> None:
        """Show an extension, if the simulator has it."""
        for one in EXTENSIONS:
            if one["alias"] == alias:
                resp.media = {"extension": one}
                return
        raise NotFound(f"Extension with alias {alias} does not exist", kind="HTTPNotFound")


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Neutron's calls."""
    store, root = cloud.network, "/network/v2.0"
    router_view = Routers(
        store,
        ("router", "routers"),
        store.routers,
        routers.create_router,
        routers.update_router,
        routers.delete_router,
    )
    served: dict[str, Resources[Any]] = {
        "networks": Resources(
            store,
            ("network", "networks"),
            store.networks,
            networks.create_network,
            networks.update_network,
            networks.delete_network,
        ),
        "subnets": Resources(
            store,
            ("subnet", "subnets"),
            store.subnets,
            networks.create_subnet,
            networks.update_subnet,
            networks.delete_subnet,
        ),
        "ports": Resources(
            store, ("port", "ports"), store.ports, ports.create_port, ports.update_port, ports.delete_port
        ),
        "routers": router_view,
        "floatingips": Resources(
            store,
            ("floatingip", "floatingips"),
            store.floating_ips,
            floating_ips.create_floating_ip,
            floating_ips.update_floating_ip,
            floating_ips.delete_floating_ip,
        ),
        "security-groups": Resources(
            store,
            ("security_group", "security_groups"),
            store.security_groups,
            security_groups.create_group,
            security_groups.update_group,
            security_groups.delete_group,
        ),
        "security-group-rules": Resources(
            store,
            ("security_group_rule", "security_group_rules"),
            store.rules,
            security_groups.create_rule,
            security_groups.update_rule,
            security_groups.delete_rule,
        ),
        "rbac-policies": Resources(
            store,
            ("rbac_policy", "rbac_policies"),
            store.rbac_policies,
            networks.create_rbac_policy,
            networks.update_rbac_policy,
            networks.delete_rbac_policy,
        ),
    }
    for path, view in served.items():
        app.add_route(f"{root}/{path}", view)
        app.add_route(f"{root}/{path}/{{record_id}}", view, suffix="one")
        app.add_route(f"{root}/{path}/{{record_id}}/tags", view, suffix="tags")
        app.add_route(f"{root}/{path}/{{record_id}}/tags/{{tag}}", view, suffix="tag")
    for call, suffix in (
        ("add_router_interface", "add_interface"),
        ("remove_router_interface", "remove_interface"),
        ("add_extraroutes", "add_routes"),
        ("remove_extraroutes", "remove_routes"),
    ):
        app.add_route(f"{root}/routers/{{record_id}}/{call}", router_view, suffix=suffix)
    app.add_route(f"{root}/extensions", Fixed("extensions", EXTENSIONS))
    app.add_route(f"{root}/extensions/{{alias}}", Extension())
    zone = {"name": "nova", "state": "available"}
    app.add_route(
        f"{root}/availability_zones",
        Fixed("availability_zones", [zone | {"resource": kind} for kind in ("network", "router")]),
    )
    for path, plural in (
        ("agents", "agents"),
        ("subnetpools", "subnetpools"),
        ("address-scopes", "address_scopes"),
        ("address-groups", "address_groups"),
        ("default-security-group-rules", "default_security_group_rules"),
    ):
        app.add_route(f"{root}/{path}", Fixed(plural, []))
    add_quota_routes(app, store)
