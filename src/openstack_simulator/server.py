"""Start and stop the simulator, in a thread of the caller's process."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from falcon.routing import CompiledRouter

from openstack_simulator import app, control, seed
from openstack_simulator.clock import Clock
from openstack_simulator.cloud import Cloud
from openstack_simulator.faults import Faults
from openstack_simulator.gateway import Gateway
from openstack_simulator.http_server import Server
from openstack_simulator.identity.store import REGION
from openstack_simulator.lifecycle import Lifecycle, Pace
from openstack_simulator.request_log import Requests


class Simulator:
    """A small OpenStack over HTTP.

    ::

        with Simulator() as simulator:
            connection = openstack.connect(**simulator.connection_kwargs())

    Attributes:
        clock: The cloud's time; tests move it.
        faults: What is to go wrong.
        requests: What was asked.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        latency: float = 0.0,
        server_seconds: float | None = None,
        volume_seconds: float | None = None,
        unlimited_quotas: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Fill a new cloud; nothing listens before :meth:`start`.

        Args:
            host: Whose connections to take.
            port: Where to listen; 0 takes a free one.
            latency: Real seconds that every request takes at least.
            server_seconds: How long the build of a server takes, on the clock; a default of a second if left out.
            volume_seconds: How long making a volume takes; half a second if left out.
            unlimited_quotas: No project has limits, unless they are set for it.
            clock: The cloud's time, if it is to be shared.
        """
        self.host = host
        self.port = port
        self.clock = clock or Clock()
        self.faults = Faults()
        self.requests = Requests()
        self._unlimited_quotas = unlimited_quotas
        self._paces: dict[str, Pace] = {}
        if server_seconds is not None:
            self._paces["server.create"] = Pace.after(server_seconds)
        if volume_seconds is not None:
            self._paces["volume.create"] = Pace.after(volume_seconds)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._gateway = Gateway(self.faults, self.requests)
        self.latency = latency
        self.cloud = self._new_cloud()
        self._serve_cloud()

    @property
    def lifecycle(self) -> Lifecycle:
        """How long things take, and how many objects were made at once."""
        return self.cloud.lifecycle

    @property
    def latency(self) -> float:
        """Real seconds that every request takes at least."""
        return self._gateway.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._gateway.latency = seconds

    @property
    def url(self) -> str:
        """The address under which all services are."""
        return f"http://{self.host}:{self.port}"

    @property
    def auth_url(self) -> str:
        """The address of Keystone."""
        return f"{self.url}/identity/v3"

    def start(self) -> "Simulator":
        """Listen, in a thread of its own; ``port`` is known afterwards.

        Raises:
            OSError: The port is taken.
            RuntimeError: It runs already.
        """
        if self._server is not None:
            raise RuntimeError("the simulator runs already")
        self._server = Server((self.host, self.port), self._gateway)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="openstack-simulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and close all connections; the cloud's objects stay, and :meth:`start` takes the same port."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.close_connections()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "Simulator":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def reset(self) -> None:
        """Begin with a new cloud: the first objects only, no faults, counts from zero. Tokens are no longer good.

        The clock stays where it is, and ``cloud`` is a new object.
        """
        paces = self.cloud.lifecycle.paces
        with self.cloud.lock:
            self.cloud = self._new_cloud()
            self.cloud.lifecycle.paces = paces
            self._serve_cloud()
            self.faults.clear()
            self.requests.clear()

    def forget_counts(self) -> None:
        """Count requests and created objects from zero."""
        with self.cloud.held():
            self.requests.clear()
            self.lifecycle.forget_counts()

    def lift_quotas(self) -> None:
        """Take all default limits away; those set for a project stay."""
        with self.cloud.held():
            for quotas in (self.cloud.compute.quotas, self.cloud.block_storage.quotas, self.cloud.network.quotas):
                quotas.lift()

    def connection_kwargs(self, username: str = seed.DEMO, project: str | None = None) -> dict[str, Any]:
        """Arguments for ``openstack.connect()``.

        Args:
            username: ``"demo"`` or ``"admin"``, or a user made later with a password like the name.
            project: The project's name; the user's own if left out.
        """
        return {
            "auth_type": "password",
            "auth": self._auth(username, project),
            "region_name": REGION,
            # Else the SDK looks for a clouds.yaml and for OS_ variables of the machine it runs on.
            "load_yaml_config": False,
            "load_envvars": False,
        }

    def clouds_yaml(
        self, cloud_name: str = "simulator", *, username: str = seed.DEMO, project: str | None = None
    ) -> dict[str, Any]:
        """What a ``clouds.yaml`` holds: ``cloud_name`` for the user, and ``<cloud_name>-admin`` for the admin."""

        def entry(user: str, its_project: str | None) -> dict[str, Any]:
            return {
                "auth": self._auth(user, its_project),
                "region_name": REGION,
                "identity_api_version": "3",
                "interface": "public",
            }

        return {
            "clouds": {
                cloud_name: entry(username, project),
                f"{cloud_name}-admin": entry(seed.ADMIN, None),
            }
        }

    def write_clouds_yaml(self, path: str | os.PathLike[str], cloud_name: str = "simulator", **user: Any) -> Path:
        """Write :meth:`clouds_yaml` to a file, for ``OS_CLIENT_CONFIG_FILE`` and ``OS_CLOUD``."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(_yaml(self.clouds_yaml(cloud_name, **user))) + "\n")
        return target

    def _auth(self, username: str, project: str | None) -> dict[str, str]:
        return {
            "auth_url": self.auth_url,
            "username": username,
            "password": username,
            "project_name": project or username,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    def _new_cloud(self) -> Cloud:
        cloud = Cloud(self.clock)
        cloud.lifecycle.paces.update(self._paces)
        seed.fill(cloud)
        if self._unlimited_quotas:
            for quotas in (cloud.compute.quotas, cloud.block_storage.quotas, cloud.network.quotas):
                quotas.lift()
        return cloud

    def _serve_cloud(self) -> None:
        router = CompiledRouter()
        application = app.build(self.cloud, router)
        control.add_routes(application, self)
        self._gateway.serve(self.cloud, application, router)


def _yaml(values: dict[str, Any], indent: str = "") -> list[str]:
    """Nested dictionaries of text as YAML; no more is needed, and it saves a dependency."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_yaml(value, indent + "  ")]
        else:
            lines.append(f'{indent}{key}: "{value}"')
    return lines
