"""One simulated cloud for all crash tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_executors import clock
from openstack_simulator import Simulator
from openstack_simulator.lifecycle import Pace


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A cloud in which everything is shown unfinished once, and finished at the next look."""
    with Simulator() as cloud:
        # By looks, not by time: two runs then pass exactly the same points.
        cloud.lifecycle.set_all(Pace.after_reads(2))
        yield cloud


@pytest.fixture
def clouds_yaml(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials by name, as a user has them."""
    path = simulator.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    return path
