"""Nova's calls on flavors."""

from typing import Any

import falcon

from openstack_simulator.compute import bodies
from openstack_simulator.compute.servers import Flavor
from openstack_simulator.compute.store import Compute
from openstack_simulator.errors import Conflict
from openstack_simulator.paging import Query, next_link, page
from openstack_simulator.records import new_id
from openstack_simulator.web import body, caller_of, must_be_admin, required, version_of

Body = dict[str, Any]


class Flavors:
    """``/flavors``."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    @staticmethod
    def render(req: falcon.Request, flavor: Flavor) -> Body:
        """A flavor's body."""
        shown: Body = {
            "id": flavor.id,
            "name": flavor.name,
            "vcpus": flavor.vcpus,
            "ram": flavor.ram,
            "disk": flavor.disk,
            "swap": flavor.swap if version_of(req) >= (2, 75) else flavor.swap or "",
            "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral,
            "OS-FLV-DISABLED:disabled": False,
            "os-flavor-access:is_public": flavor.is_public,
            "rxtx_factor": 1.0,
            "links": bodies.links(req, "flavors", flavor.id),
        }
        if version_of(req) >= (2, 55):
            shown["description"] = flavor.description
        if version_of(req) >= (2, 61):
            shown["extra_specs"] = flavor.extra_specs
        return shown

    def _chosen(self, req: falcon.Request) -> tuple[list[Flavor], str | None]:
        query = Query.of(req)
        least_disk, least_ram = query.number("minDisk") or 0, query.number("minRam") or 0
        flavors = [
            one
            for one in sorted(self.store.flavors, key=lambda one: (one.ram, one.disk, one.id))
            if one.disk >= least_disk and one.ram >= least_ram and (one.is_public or caller_of(req).is_admin)
        ]
        shown, marker = page(flavors, query, key=lambda one: one.id)
        return list(shown), marker

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List flavors by name and id."""
        flavors, marker = self._chosen(req)
        brief = [{"id": one.id, "name": one.name, "links": bodies.links(req, "flavors", one.id)} for one in flavors]
        resp.media = {"flavors": brief} | next_link(req, "flavors", marker)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List flavors in full."""
        flavors, marker = self._chosen(req)
        resp.media = {"flavors": [self.render(req, one) for one in flavors]} | next_link(req, "flavors", marker)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a flavor; admins only."""
        must_be_admin(req, "os_compute_api:os-flavor-manage:create")
        values = body(req, "flavor")
        flavor_id = str(values.get("flavorid") or values.get("id") or "auto")
        flavor_id = new_id() if flavor_id == "auto" else flavor_id
        name = str(required(values, "name"))
        if flavor_id in self.store.flavors or self.store.flavors.named(name):
            raise Conflict(f"Flavor with name {name} already exists.")
        flavor = self.store.flavors.add(
            Flavor(
                id=flavor_id,
                name=name,
                vcpus=int(required(values, "vcpus")),
                ram=int(required(values, "ram")),
                disk=int(values.get("disk") or 0),
                swap=int(values.get("swap") or 0),
                ephemeral=int(values.get("OS-FLV-EXT-DATA:ephemeral") or 0),
                is_public=values.get("os-flavor-access:is_public", True),
                description=values.get("description"),
            )
        )
        resp.media = {"flavor": self.render(req, flavor)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, flavor_id: str) -> None:
        """Show a flavor."""
        resp.media = {"flavor": self.render(req, self.store.flavors.get(caller_of(req), flavor_id))}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, flavor_id: str) -> None:
        """Delete a flavor; admins only. Servers keep theirs."""
        must_be_admin(req, "os_compute_api:os-flavor-manage:delete")
        self.store.flavors.get(caller_of(req), flavor_id)
        self.store.flavors.remove(flavor_id)
        resp.status = 202

    def on_get_specs(self, req: falcon.Request, resp: falcon.Response, flavor_id: str) -> None:
        """Show a flavor's extra specs."""
        resp.media = {"extra_specs": self.store.flavors.get(caller_of(req), flavor_id).extra_specs}

    def on_post_specs(self, req: falcon.Request, resp: falcon.Response, flavor_id: str) -> None:
        """Add extra specs; admins only."""
        must_be_admin(req, "os_compute_api:os-flavor-extra-specs:create")
        flavor = self.store.flavors.get(caller_of(req), flavor_id)
        flavor.extra_specs |= {str(key): str(value) for key, value in body(req, "extra_specs").items()}
        resp.media = {"extra_specs": flavor.extra_specs}
