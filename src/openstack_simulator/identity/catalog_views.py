"""Keystone's calls on the catalog's parts; they are fixed."""

from typing import Any

import falcon

from openstack_simulator.errors import NotFound
from openstack_simulator.identity.base import View, admins_only, itself, listing
from openstack_simulator.identity.store import (
    CATALOG,
    INTERFACES,
    REGION,
    endpoint_id,
    service_id,
)
from openstack_simulator.web import caller_of


class CatalogParts(View):
    """Regions, services and endpoints; they are fixed."""

    def services(self, req: falcon.Request) -> list[dict[str, Any]]:
        """All services."""
        return [
            {
                "id": service_id(name),
                "name": name,
                "type": kind,
                "enabled": True,
                "description": f"OpenStack {kind}",
                "links": itself(req, f"services/{service_id(name)}"),
            }
            for name, kind, _ in CATALOG
        ]

    def endpoints(self, req: falcon.Request) -> list[dict[str, Any]]:
        """All endpoints."""
        return [
            {
                "id": endpoint_id(name, interface),
                "interface": interface,
                "region": REGION,
                "region_id": REGION,
                "service_id": service_id(name),
                "url": req.prefix + path.format(project_id="%(project_id)s"),
                "enabled": True,
                "links": itself(req, f"endpoints/{endpoint_id(name, interface)}"),
            }
            for name, _, path in CATALOG
            for interface in INTERFACES
        ]

    def regions(self, req: falcon.Request) -> list[dict[str, Any]]:
        """The one region."""
        return [{"id": REGION, "description": "", "parent_region_id": None, "links": itself(req, f"regions/{REGION}")}]

    def on_get_services(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List services."""
        admins_only(req, "list_services")
        listing(req, resp, "services", self.services(req))

    def on_get_service(self, req: falcon.Request, resp: falcon.Response, service_id: str) -> None:
        """Show a service."""
        admins_only(req, "get_service")
        resp.media = {"service": _one(self.services(req), service_id, "service")}

    def on_get_endpoints(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List endpoints."""
        admins_only(req, "list_endpoints")
        listing(req, resp, "endpoints", self.endpoints(req))

    def on_get_endpoint(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show an endpoint."""
        admins_only(req, "get_endpoint")
        resp.media = {"endpoint": _one(self.endpoints(req), endpoint_id, "endpoint")}

    def on_get_regions(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List regions."""
        listing(req, resp, "regions", self.regions(req))

    def on_get_region(self, req: falcon.Request, resp: falcon.Response, region_id: str) -> None:
        """Show a region."""
        resp.media = {"region": _one(self.regions(req), region_id, "region")}

    def on_get_catalog(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The catalog of the caller's token."""
        catalog = self.store.catalog(req.prefix, caller_of(req).project_id)
        resp.media = {"catalog": catalog, "links": {"self": req.uri}}


def _one(bodies: list[dict[str, Any]], wanted: str, kind: str) -> dict[str, Any]:
    for one in bodies:
        if one["id"] == wanted:
            return one
    raise NotFound(f"Could not find {kind}: {wanted}.")
