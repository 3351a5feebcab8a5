"""A simulator whose clock stands still until a test moves it."""

from collections.abc import Iterator

import pytest

from openstack_simulator import Pace, Simulator
from tests.unit.simulator.api import Api


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    simulator = Simulator()
    simulator.clock.freeze()
    with simulator:
        yield simulator


@pytest.fixture
def quick(simulator: Simulator) -> Simulator:
    """The same, with changes done before the next request."""
    simulator.lifecycle.set_all(Pace.at_once())
    return simulator


@pytest.fixture
def demo(simulator: Simulator) -> Api:
    return Api(simulator)


@pytest.fixture
def admin(simulator: Simulator) -> Api:
    return Api(simulator, "admin")
