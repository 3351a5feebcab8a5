"""The simulator as its users meet it: over HTTP, through openstacksdk and the openstack command."""

from collections.abc import Iterator

import openstack
import pytest
from openstack.connection import Connection

from openstack_simulator import Pace, Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.lifecycle.set_all(Pace.after_reads(1))
        yield simulator


@pytest.fixture
def connection(simulator: Simulator) -> Iterator[Connection]:
    with openstack.connect(**simulator.connection_kwargs()) as connection:
        yield connection


@pytest.fixture
def admin(simulator: Simulator) -> Iterator[Connection]:
    with openstack.connect(**simulator.connection_kwargs("admin")) as connection:
        yield connection
