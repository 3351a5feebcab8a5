"""Connections to clouds: one per credentials and process, guarded so that only who holds the lease can act."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import openstack
import requests
from keystoneauth1 import session as keystone_session
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from django_executors import faults
from django_executors.context import current_step

from ..conf import settings
from .errors import translation

__all__ = ["connection", "forget_connections"]

_lock = threading.Lock()
_connections: dict[tuple[int, str, str, str], Connection] = {}


class LeaseGuardAdapter(keystone_session.TCPKeepAliveAdapter):
    """Sends a request only while this worker may act, and with timeouts.

    It sits at the last door before the socket, so it guards sign-in, discovery, redirects and everything else that the
    SDK does on its own. A worker that was paused past its lease and wakes up inside a backend method stops here.
    """

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request.

        Raises:
            LeaseLost: Another worker may have taken over; nothing was sent.
        """
        current_step().ensure_lease()
        response = super().send(
            request,
            stream=stream,
            timeout=timeout or (settings.CONNECT_TIMEOUT_SECONDS, settings.READ_TIMEOUT_SECONDS),
            verify=verify,
            cert=cert,
            proxies=proxies,
        )
        faults.reach("after request")
        return response


def connection(cloud_name: str, region: str = "", project_id: str = "") -> Connection:
    """Return the connection for credentials, made on first use and shared by the threads of this process.

    Args:
        cloud_name: Name in ``clouds.yaml``.
        region: Region name; empty: the one in ``clouds.yaml``.
        project_id: Project to act in instead of the credentials' own; empty: their own.

    Raises:
        ConfigurationError: ``clouds.yaml`` has no such cloud, or not enough to sign in with.
    """
    # A forked worker must not share the sockets of its parent.
    key = (os.getpid(), cloud_name, region, project_id)
    with _lock:
        if key not in _connections:
            with translation("identity"):
                _connections[key] = _connect(cloud_name, region, project_id)
        return _connections[key]


def forget_connections() -> None:
    """Drop all connections, for example after ``clouds.yaml`` was changed; the next call makes new ones."""
    with _lock:
        _connections.clear()


def _connect(cloud_name: str, region: str, project_id: str) -> Connection:
    config = OpenStackConfig(
        config_files=list(settings.CLOUDS_YAML) or None,
        session_constructor=_guarded_session,  # type: ignore[arg-type] # any callable does
        app_name=settings.USER_AGENT,
    )
    # The engine decides about trying again; a retry underneath it would not look first.
    options: dict[str, Any] = {"connect_retries": 0, "status_code_retries": 0}
    if region:
        options["region_name"] = region
    if project_id:
        options["auth"] = {"project_id": project_id}
    return openstack.connection.Connection(config=config.get_one(cloud=cloud_name, **options))


def _guarded_session(**options: Any) -> keystone_session.Session:
    http = requests.Session()
    adapter = LeaseGuardAdapter(pool_maxsize=settings.CONNECTIONS_PER_SERVICE, max_retries=0)
    for scheme in ("http://", "https://"):
        http.mount(scheme, adapter)
    return keystone_session.Session(session=http, **options)
