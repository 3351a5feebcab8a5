"""Placement, as far as clients ask: one resource provider per hypervisor, and nothing to change."""

import uuid

import falcon

from openstack_simulator.cloud import Cloud
from openstack_simulator.web import App, must_be_admin

PROVIDER = str(uuid.uuid5(uuid.NAMESPACE_DNS, "compute1"))


class ResourceProviders:
    """``/resource_providers``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the one provider; admins only."""
        must_be_admin(req, "placement:resource_providers:list")
        resp.media = {
            "resource_providers": [
                {
                    "uuid": PROVIDER,
                    "name": "compute1",
                    "generation": 1,
                    "parent_provider_uuid": None,
                    "root_provider_uuid": PROVIDER,
                    "links": [{"rel": "self", "href": f"/resource_providers/{PROVIDER}"}],
                }
            ]
        }


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Placement's calls."""
    app.add_route("/placement/resource_providers", ResourceProviders())
