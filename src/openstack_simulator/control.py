"""The control API under ``/_simulator``: drive a simulator that runs in another process.

| call | what it does |
| --- | --- |
| ``GET /_simulator`` | the address of Keystone, the time, numbers of objects |
| ``GET, POST, DELETE /_simulator/faults`` | list, add (a JSON object with the fields of ``Fault``), clear |
| ``DELETE /_simulator/faults/{id}`` | take one rule out of force |
| ``GET /_simulator/clock`` | the time, and whether the clock is frozen |
| ``POST /_simulator/clock`` | ``{"advance": seconds, "freeze": true, "thaw": true}``, each optional |
| ``GET, PUT /_simulator/paces`` | how long changes take: ``{"server.create": {"seconds": 2, "reads": 0}}`` |
| ``GET, DELETE /_simulator/requests`` | counts of requests, of created objects and peaks; start from zero |
| ``GET /_simulator/requests/latest`` | the latest requests one by one |
| ``GET /_simulator/objects`` | every object of every project (``?kind=servers`` for one kind) |
| ``PUT /_simulator/settings`` | ``{"latency": seconds, "unlimited_quotas": true}`` |
| ``POST /_simulator/reset`` | an empty cloud with the first objects, no faults, counts at zero |

Nothing here asks for a token: a simulator is for the loopback interface.
"""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import falcon

from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.faults import Fault
from openstack_simulator.gateway import CONTROL
from openstack_simulator.lifecycle import Pace
from openstack_simulator.web import App, document

if TYPE_CHECKING:
    from openstack_simulator.cloud import Cloud
    from openstack_simulator.server import Simulator

HIDDEN = ("password", "secret", "content", "space")
"""Fields that a snapshot leaves out: secrets, and what is too large or no plain value."""


def plain(value: Any) -> Any:
    """A stored object as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.name not in HIDDEN}
        if hasattr(value, "status"):
            shown["status"] = value.status
        return shown
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    return value


def snapshot(cloud: "Cloud", kinds: Iterable[str] = ()) -> dict[str, list[Any]]:
    """Every object of the cloud by kind, or only some kinds.

    Raises:
        KeyError: There is no such kind.
    """
    every: dict[str, Iterable[Any]] = {
        "projects": cloud.identity.projects,
        "users": cloud.identity.users,
        "images": cloud.image.images,
        "flavors": cloud.compute.flavors,
        "keypairs": cloud.compute.keypairs.values(),
        "server_groups": cloud.compute.server_groups,
        "servers": cloud.compute.servers,
        "volumes": cloud.block_storage.volumes,
        "snapshots": cloud.block_storage.snapshots,
        "networks": cloud.network.networks,
        "subnets": cloud.network.subnets,
        "ports": cloud.network.ports,
        "routers": cloud.network.routers,
        "floating_ips": cloud.network.floating_ips,
        "security_groups": cloud.network.security_groups,
        "rbac_policies": cloud.network.rbac_policies,
    }
    with cloud.held():
        return {kind: [plain(one) for one in every[kind]] for kind in kinds or every}


class Control:
    """The calls of the control API."""

    public = True

    def __init__(self, simulator: "Simulator") -> None:
        self.simulator = simulator

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Where Keystone is, what time it is, how much there is."""
        counts = {kind: len(objects) for kind, objects in snapshot(self.simulator.cloud).items()}
        resp.media = {"auth_url": f"{req.prefix}/identity/v3", "now": self.simulator.clock.now(), "objects": counts}

    def on_get_faults(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the rules in force."""
        resp.media = {"faults": [fault.as_dict() for fault in self.simulator.faults]}

    def on_post_faults(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Put a rule in force."""
        try:
            fault = self.simulator.faults.add(Fault.from_dict(document(req)))
        except (TypeError, ValueError) as error:
            raise BadRequest(str(error)) from error
        resp.status, resp.media = 201, {"fault": fault.as_dict()}

    def on_delete_faults(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take all rules out of force."""
        self.simulator.faults.clear()
        resp.status = 204

    def on_delete_fault(self, req: falcon.Request, resp: falcon.Response, fault_id: int) -> None:
        """Take one rule out of force."""
        if not self.simulator.faults.remove(fault_id):
            raise NotFound(f"no fault {fault_id}")
        resp.status = 204

    def on_get_clock(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The time."""
        clock = self.simulator.clock
        resp.media = {"now": clock.now(), "frozen": clock.frozen}

    def on_post_clock(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Move, freeze or thaw the clock."""
        asked, clock = document(req), self.simulator.clock
        if asked.get("freeze"):
            clock.freeze()
        try:
            clock.advance(float(asked.get("advance") or 0))
        except (TypeError, ValueError) as error:
            raise BadRequest(str(error)) from error
        if asked.get("thaw"):
            clock.thaw()
        self.on_get_clock(req, resp)

    def on_get_paces(self, req: falcon.Request, resp: falcon.Response) -> None:
        """How long changes take."""
        paces = self.simulator.lifecycle.paces
        resp.media = {"paces": {change: plain(pace) for change, pace in paces.items()}}

    def on_put_paces(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Change how long changes take, from the next one on."""
        try:
            paces = {change: Pace(**values) for change, values in document(req).items()}
        except TypeError as error:
            raise BadRequest(str(error)) from error
        with self.simulator.cloud.held():
            self.simulator.lifecycle.paces.update(paces)
        self.on_get_paces(req, resp)

    def on_get_requests(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Counts."""
        lifecycle, requests = self.simulator.lifecycle, self.simulator.requests
        with self.simulator.cloud.held():
            resp.media = {
                "requests": requests.as_list(),
                "total": requests.count(),
                "peak_in_flight": requests.peak_in_flight,
                "created": dict(lifecycle.created),
                "peak_building": lifecycle.peak_building,
            }

    def on_delete_requests(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Count from zero."""
        self.simulator.forget_counts()
        resp.status = 204

    def on_get_latest(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The latest requests."""
        resp.media = {"requests": self.simulator.requests.latest_as_list()}

    def on_get_objects(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Every object."""
        try:
            resp.media = snapshot(self.simulator.cloud, req.get_param_as_list("kind") or ())
        except KeyError as error:
            raise NotFound(f"no kind of object {error}") from error

    def on_put_settings(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Change the latency, or lift all default quotas."""
        asked = document(req)
        if "latency" in asked:
            self.simulator.latency = float(asked["latency"])
        if asked.get("unlimited_quotas"):
            self.simulator.lift_quotas()
        resp.media = {"latency": self.simulator.latency}

    def on_post_reset(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin anew."""
        self.simulator.reset()
        resp.status = 204


def add_routes(app: App, simulator: "Simulator") -> None:
    """Serve the control API."""
    control = Control(simulator)
    app.add_route(CONTROL, control)
    app.add_route(f"{CONTROL}/faults/{{fault_id:int}}", control, suffix="fault")
    app.add_route(f"{CONTROL}/requests/latest", control, suffix="latest")
    for name in ("faults", "clock", "paces", "requests", "objects", "settings", "reset"):
        app.add_route(f"{CONTROL}/{name}", control, suffix=name)
