"""What Keystone's views share."""

from collections.abc import Iterable
from typing import Any

import falcon

from openstack_simulator.errors import Forbidden
from openstack_simulator.identity.store import Identity
from openstack_simulator.paging import Query
from openstack_simulator.web import caller_of

Bodies = Iterable[dict[str, Any]]


def admins_only(req: falcon.Request, rule: str) -> None:
    """Let only admins pass.

    Raises:
        Forbidden: The caller is none; in Keystone's words.
    """
    if not caller_of(req).is_admin:
        raise Forbidden(f"You are not authorized to perform the requested action: identity:{rule}.")


def listing(req: falcon.Request, resp: falcon.Response, key: str, bodies: Bodies) -> None:
    """Answer with those bodies that pass the filters in the query string."""
    query = Query.of(req)
    chosen = list(bodies)
    for name in ("name", "domain_id", "enabled", "type", "service_id", "interface", "region_id"):
        wanted = query.get(name)
        if wanted is not None:
            chosen = [one for one in chosen if str(one.get(name, "")).lower() == wanted.lower()]
    resp.media = {key: chosen, "links": {"next": None, "self": req.uri, "previous": None}}


def itself(req: falcon.Request, path: str) -> dict[str, str]:
    """The ``links`` of a body."""
    return {"self": f"{req.prefix}/identity/v3/{path}"}


class View:
    """A view that works on the identity store."""

    def __init__(self, store: Identity) -> None:
        self.store = store
