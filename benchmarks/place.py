"""Where the services are, and under which names we use them. Nothing here belongs to anybody else.

Environment: ``BENCH_POSTGRES_URL``, ``BENCH_RABBITMQ_URL``, ``BENCH_REDIS_URL`` (else what ``make services`` found for the
tests, else the usual ports of this machine; databases and virtual hosts in them are replaced by ours),
``BENCH_NAME`` (suffix of all names, so that two checkouts do not meet), ``BENCH_SRC`` (sources of the engine to measure).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

__all__ = [
    "BROKER_URLS",
    "DATABASE",
    "KEY_PREFIX",
    "LOGS",
    "POSTGRES_URL",
    "RABBITMQ_URL",
    "ROOT",
    "SOURCES",
    "VHOST",
    "database_url",
    "port",
]

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path(os.environ.get("BENCH_SRC") or ROOT / "src").resolve()

_suffix = os.environ.get("BENCH_NAME", "")
DATABASE = "bench_executors" + (f"_{_suffix}" if _suffix else "")
VHOST = "bench-executors" + (f"-{_suffix}" if _suffix else "")
KEY_PREFIX = f"{VHOST}:"
LOGS = Path(tempfile.gettempdir()) / VHOST


def _server(service: str, default: str) -> str:
    """URL of a server, without a path."""
    given = os.environ.get(f"BENCH_{service}_URL") or os.environ.get(f"TEST_{service}_URL") or default
    return urlsplit(given)._replace(path="").geturl()


POSTGRES_URL = _server("POSTGRES", "postgres://postgres@127.0.0.1:5432")
RABBITMQ_URL = _server("RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
BROKER_URLS = {
    "rabbitmq": f"{RABBITMQ_URL}/{VHOST}",
    "redis": _server("REDIS", "redis://127.0.0.1:6379") + "/9",
    "memory": "memory://",
}


def database_url(name: str = DATABASE) -> str:
    """URL of one of our databases."""
    return f"{POSTGRES_URL}/{name}"


def port(service: str) -> int:
    """Port of ``postgres``, ``rabbitmq`` or ``redis``."""
    url = POSTGRES_URL if service == "postgres" else BROKER_URLS[service]
    found = urlsplit(url).port
    if found is None:
        raise ValueError(f"the URL of {service} must name a port: {url}")
    return found
