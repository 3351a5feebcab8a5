"""The state of the whole cloud: every service's store, on one clock and behind one lock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volumes import Snapshot, Volume
from openstack_simulator.clock import Clock
from openstack_simulator.compute.servers import Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.identity.store import Identity
from openstack_simulator.image.store import Image, ImageService
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.network.records import FloatingIp, Network, Port, Router, SecurityGroup, Subnet
from openstack_simulator.network.store import Networking
from openstack_simulator.records import Collection


class Cloud:
    """All objects of the simulated cloud.

    The properties (``servers``, ``volumes``, ...) are for reading in tests: each first carries out what has become due
    on the clock, as a request would. Change objects through the API, or under :meth:`held`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.lock = threading.RLock()
        self.clock = clock or Clock()
        self.lifecycle = Lifecycle(self.clock)
        self.identity = Identity(self.lifecycle)
        self.image = ImageService(self.lifecycle)
        self.network = Networking(self.lifecycle)
        self.block_storage = BlockStorage(self.lifecycle, self.image)
        self.compute = Compute(self.lifecycle, self.identity, self.image, self.block_storage, self.network)

    @contextmanager
    def held(self) -> Iterator["Cloud"]:
        """Keep requests out for the length of a block, with everything due carried out."""
        with self.lock:
            self.lifecycle.settle()
            yield self

    @property
    def servers(self) -> Collection[Server]:
        """All servers of all projects."""
        with self.held():
            return self.compute.servers

    @property
    def volumes(self) -> Collection[Volume]:
        """All volumes of all projects."""
        with self.held():
            return self.block_storage.volumes

    @property
    def snapshots(self) -> Collection[Snapshot]:
        """All volume snapshots of all projects."""
        with self.held():
            return self.block_storage.snapshots

    @property
    def images(self) -> Collection[Image]:
        """All images."""
        with self.held():
            return self.image.images

    @property
    def networks(self) -> Collection[Network]:
        """All networks."""
        with self.held():
            return self.network.networks

    @property
    def subnets(self) -> Collection[Subnet]:
        """All subnets."""
        with self.held():
            return self.network.subnets

    @property
    def ports(self) -> Collection[Port]:
        """All ports."""
        with self.held():
            return self.network.ports

    @property
    def routers(self) -> Collection[Router]:
        """All routers."""
        with self.held():
            return self.network.routers

    @property
    def floating_ips(self) -> Collection[FloatingIp]:
        """All floating IPs."""
        with self.held():
            return self.network.floating_ips

    @property
    def security_groups(self) -> Collection[SecurityGroup]:
        """All security groups."""
        with self.held():
            return self.network.security_groups
