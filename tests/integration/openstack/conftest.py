"""A simulated cloud and the rows of a tenant in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_executors import tasks
from django_executors.context import StepContext, step_context
from django_executors_openstack.backend import OpenStackBackend
from django_executors_openstack.backend.session import forget_connections
from django_executors_openstack.models import (
    Cloud,
    Flavor,
    FloatingIP,
    Image,
    Instance,
    KeyPair,
    Network,
    Port,
    SecurityGroup,
    Subnet,
    Tenant,
    Volume,
)
from openstack_simulator import Pace, Simulator


@pytest.fixture(scope="session")
def simulator_server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_server: Simulator, tmp_path: Path, settings: Any) -> Iterator[Simulator]:
    """A fresh cloud in which everything is quick, known in a clouds.yaml as "simulator" and "simulator-admin"."""
    simulator_server.reset()
    paces = simulator_server.lifecycle.paces
    before = dict(paces)
    paces.update({name: Pace.after(0.02) for name in paces})
    settings.EXECUTORS_OPENSTACK = {
        "CLOUDS_YAML": [str(simulator_server.write_clouds_yaml(tmp_path / "clouds.yaml"))],
        "CONNECT_TIMEOUT_SECONDS": 2,
        "READ_TIMEOUT_SECONDS": 2,
    }
    forget_connections()
    yield simulator_server
    paces.update(before)
    forget_connections()


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every 20 ms instead of every two seconds, and try again after as little."""
    monkeypatch.setattr(type(tasks.BackendMethodTask()), "retry_backoff", 0.02)
    for task in (tasks.PollRuntimeStateTask(), tasks.PollBackendCheckTask()):
        monkeypatch.setattr(type(task), "default_retry_delay", 0.02)
        monkeypatch.setattr(type(task), "longest_poll_interval", 0.05)
        monkeypatch.setattr(type(task), "max_retries", 1000)


@pytest.fixture
def tenant(simulator: Simulator, db: None) -> Tenant:
    """The project "demo", with everything pulled that the cloud offers."""
    cloud = Cloud.objects.create(name="simulated", cloud_name="simulator", state="ok")
    tenant = Tenant.objects.create(cloud=cloud, name="demo", state="ok")
    tenant.get_backend().pull_properties()
    tenant.refresh_from_db()
    return tenant


@pytest.fixture
def backend(tenant: Tenant) -> OpenStackBackend:
    backend = tenant.get_backend()
    assert isinstance(backend, OpenStackBackend)
    return backend


@pytest.fixture
def attempt() -> Callable[..., Any]:
    """Run a backend method as the engine would: as an attempt of a step."""

    def run(method: Callable[..., Any], *args: Any, number: int = 1, key: str = "ex-step-1", **kwargs: Any) -> Any:
        with step_context(StepContext(idempotency_key=key, attempt=number)):
            return method(*args, **kwargs)

    return run


@pytest.fixture
def make_volume(tenant: Tenant) -> Callable[..., Volume]:
    def make(name: str = "data-1", size: int = 1, **fields: Any) -> Volume:
        return Volume.objects.create(tenant=tenant, name=name, size=size, **fields)

    return make


@pytest.fixture
def make_port(tenant: Tenant) -> Callable[..., Port]:
    def make(**fields: Any) -> Port:
        network = Network.objects.get(tenant=tenant, name="private")
        return Port.objects.create(
            tenant=tenant, network=network, subnet=Subnet.objects.get(tenant=tenant, network=network), **fields
        )

    return make


@pytest.fixture
def make_instance(
    tenant: Tenant, make_volume: Callable[..., Volume], make_port: Callable[..., Port]
) -> Callable[..., Instance]:
    """Rows of a server and all its parts, none of them in the cloud."""

    def make(
        name: str = "web-1", data_volumes: int = 2, ports: int = 1, floating_ips: int = 1, **fields: Any
    ) -> Instance:
        fields.setdefault("flavor", Flavor.objects.get(tenant=tenant, name="m1.small"))
        instance = Instance.objects.create(tenant=tenant, name=name, **fields)
        group = SecurityGroup.objects.get(tenant=tenant, name="web")
        instance.security_groups.add(group)
        image = Image.objects.get(tenant=tenant, name="tiny")
        make_volume(f"{name}-boot", 1, instance=instance, image=image, bootable=True)
        for number in range(1, data_volumes + 1):
            make_volume(f"{name}-data-{number}", number, instance=instance)
        for number in range(1, ports + 1):
            port = make_port(name=f"{name}-port-{number}", instance=instance)
            port.security_groups.add(group)
            if number <= floating_ips:
                FloatingIP.objects.create(tenant=tenant, port=port)
        return instance

    return make


@pytest.fixture
def key_pair(tenant: Tenant) -> KeyPair:
    return KeyPair.objects.create(tenant=tenant, name="ada", public_key=f"ssh-ed25519 {'A' * 68} ada@home")
