"""Neutron's quota calls."""

import falcon

from openstack_simulator.network.store import Networking, policy_forbids
from openstack_simulator.web import App, body, caller_of


class Quotas:
    """``/v2.0/quotas``."""

    def __init__(self, store: Networking) -> None:
        self.store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the quotas that differ from the defaults; there is no such list here."""
        resp.media = {"quotas": []}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show a project's limits."""
        self._check(req, project_id)
        resp.media = {"quota": self.store.quotas.of(project_id)}

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Change a project's limits; admins only."""
        if not caller_of(req).is_admin:
            raise policy_forbids("update_quota")
        self.store.quotas.set(project_id, body(req, "quota"))
        resp.media = {"quota": self.store.quotas.of(project_id)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Go back to the defaults; admins only."""
        if not caller_of(req).is_admin:
            raise policy_forbids("delete_quota")
        self.store.quotas.reset(project_id)
        resp.status = 204

    def on_get_default(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show the defaults."""
        resp.media = {"quota": self.store.quotas.defaults}

    def on_get_details(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show limits beside what is used of them."""
        self._check(req, project_id)
        limits = self.store.quotas.of(project_id)
        resp.media = {
            "quota": {
                name: {"limit": limit, "used": self.store.used(project_id, name), "reserved": 0}
                for name, limit in limits.items()
            }
        }

    @staticmethod
    def _check(req: falcon.Request, project_id: str) -> None:
        if not caller_of(req).may_see(project_id):
            raise policy_forbids("get_quota")


def add_quota_routes(app: App, store: Networking) -> None:
    """Serve the quota calls."""
    view, root = Quotas(store), "/network/v2.0/quotas"
    app.add_route(root, view)
    app.add_route(f"{root}/{{project_id}}", view, suffix="one")
    app.add_route(f"{root}/{{project_id}}/default", view, suffix="default")
    for name in ("details", "details.json"):
        app.add_route(f"{root}/{{project_id}}/{name}", view, suffix="details")
