"""Settings of the workers under fire, and of the parent: short leases, the simulated cloud, no patience with silence.

``DATABASE_URL``, ``BROKER_URL`` and ``CHAOS_CLOUDS_YAML`` say where everything is; the workers' database is the proxy.
"""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

EXECUTORS = {
    "LEASE_SECONDS": 4,
    "DISPATCH_SECONDS": 0.5,
    "NUDGE_GRACE_SECONDS": 1,
    # The floor under a wake that died with its worker; the run has to end in bounded time.
    "WAIT_FLOOR_SECONDS": 10,
    # So low that operations do wait for slots.
    "PROVISION_LIMIT": 2,
}
EXECUTORS_OPENSTACK = {"CLOUDS_YAML": [os.environ.get("CHAOS_CLOUDS_YAML", "")], "READ_TIMEOUT_SECONDS": 2}

DATABASES["default"]["OPTIONS"] |= {"connect_timeout": 5}
CELERY_IMPORTS = ["tests.chaos.operations"]
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = True
CELERY_WORKER_REDIRECT_STDOUTS = False
