"""The demo site's settings. Everything that differs between two installations is an environment variable:

``DATABASE_URL``    default: a SQLite file in ``DEMO_DIR``. ``postgres://...`` and ``mysql://...`` (MariaDB) work too.
``BROKER_URL``      default: ``memory://``, which serves workers in this process alone. ``amqp://...``, ``redis://...``.
``DEMO_DIR``        default: ``var/demo``. Database, clouds.yaml and logs of the latest ``make demo`` are there.
``LEASE_SECONDS``   default: 30. How long a worker may be silent before another takes over.
``SECRET_KEY``      default: a new one at every start; nothing in the demo needs it to stay the same.
``ALLOWED_HOSTS``   separated by commas; default: this machine.
``DEBUG``           ``1`` turns it on.

The cloud to talk to is read by openstacksdk itself (``OS_CLIENT_CONFIG_FILE``, ``OS_CLOUD``).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import dj_database_url
import django
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_DIR = Path(os.environ.get("DEMO_DIR", BASE_DIR / "var" / "demo"))
DEMO_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
DEBUG = os.environ.get("DEBUG", "").lower() in {"1", "true", "yes"}
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_executors",
    "django_executors_openstack",
]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "demo.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def database(url: str) -> dict[str, Any]:
    """Django's entry for a database, with the options that several workers at once need."""
    # Kept open between messages, since opening one costs more than a step; Django checks it before use.
    config: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)}
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"] == "django.db.backends.sqlite3":
        options["timeout"] = 20  # seconds to wait for another writer
        if django.VERSION >= (5, 1):
            # Readers go on while one writes; and a transaction that will write takes its lock at once, because SQLite
            # refuses, without waiting, to turn a read lock into a write lock when another writer was faster.
            options["init_command"] = "PRAGMA journal_mode=WAL"
            options["transaction_mode"] = "IMMEDIATE"
    elif config["ENGINE"] == "django.db.backends.mysql":
        import pymysql

        pymysql.install_as_MySQLdb()
        options |= {"charset": "utf8mb4", "isolation_level": "read committed"}
    return config


DATABASES = {"default": database(os.environ.get("DATABASE_URL", f"sqlite:///{DEMO_DIR / 'demo.sqlite3'}"))}

EXECUTORS = {
    "LEASE_SECONDS": float(os.environ.get("LEASE_SECONDS", "30")),
    "DISPATCH_SECONDS": 0.25,  # the default of a second suits work that takes minutes; here somebody is watching
}

CELERY_BROKER_URL = os.environ.get("BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True  # results are in the journal
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("tasks", "heavy", "background")]
CELERY_TASK_DEFAULT_QUEUE = "tasks"
CELERY_TASK_ROUTES = ["django_executors.routing.route_task"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a message can mean minutes of work: no worker hoards them
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
