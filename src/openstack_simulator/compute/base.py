"""What the views on one server share."""

from typing import Any

import falcon

from openstack_simulator.compute.servers import Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.web import caller_of

Body = dict[str, Any]


class ServerView:
    """A view that works on the compute store and looks servers up in it."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    def find(self, req: falcon.Request, server_id: str) -> Server:
        """A server that the caller sees.

        Raises:
            NotFound: There is none with this id.
        """
        return self.store.servers.get(caller_of(req), server_id)
