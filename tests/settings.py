"""Settings of the tests. ``DATABASE_URL`` and ``BROKER_URL`` choose what they run on; the default needs no service.

``TEST_DATABASE_NAME`` renames the test database, so that two runs on one machine do not share it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
import django
from kombu import Queue

VAR_DIR = Path(__file__).resolve().parent.parent / "var"
VAR_DIR.mkdir(exist_ok=True)

SECRET_KEY = "for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_executors",
    "django_executors_openstack",
    "tests.testapp",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

TEST_DATABASE_NAME = os.environ.get("TEST_DATABASE_NAME", "test_django_executors")


def database(url: str) -> dict[str, Any]:
    """Django's entry for a database that threads and other processes can open as well."""
    config: dict[str, Any] = {**dj_database_url.parse(url)}
    options = config.setdefault("OPTIONS", {})
    test_name = TEST_DATABASE_NAME
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # A file, since a database in memory is seen by its own process alone. pytest-xdist's suffix comes after it.
        test_name = str(VAR_DIR / test_name)
        options["timeout"] = 20
        if django.VERSION >= (5, 1):
            # A test kills processes, not machines, so nothing needs to reach the disk.
            options["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"
            options["transaction_mode"] = "IMMEDIATE"
    elif config["ENGINE"] == "django.db.backends.mysql":
        import pymysql

        pymysql.install_as_MySQLdb()
        options |= {"charset": "utf8mb4", "isolation_level": "read committed"}
        config["TEST"] = {"CHARSET": "utf8mb4"}
    config["TEST"] = {**config.get("TEST", {}), "NAME": test_name}
    return config


def broker(url: str) -> tuple[str, dict[str, Any]]:
    """A broker's URL and transport options, apart from those of other test processes that use the same one.

    On RabbitMQ that is a virtual host (``scripts/services.py`` makes them), on Redis a prefix of the keys. Subprocesses
    get the same, because they inherit the environment.
    """
    process = os.environ.get("PYTEST_XDIST_WORKER")
    if process and url.startswith("amqp") and url.endswith("/django-executors-test"):
        url = f"{url}-{process}"
    options = {"global_keyprefix": f"{TEST_DATABASE_NAME}-{process}:"} if url.startswith("redis") else {}
    return url, options


DATABASES = {"default": database(os.environ.get("DATABASE_URL", f"sqlite:///{VAR_DIR / 'tests.sqlite3'}"))}

CELERY_BROKER_URL, CELERY_BROKER_TRANSPORT_OPTIONS = broker(os.environ.get("BROKER_URL", "memory://"))
# For a worker that a test starts: Celery's command line prefers this variable to the settings.
os.environ["BROKER_URL"] = CELERY_BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("tasks", "heavy", "background")]
CELERY_TASK_DEFAULT_QUEUE = "tasks"
CELERY_TASK_ROUTES = ["django_executors.routing.route_task"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
