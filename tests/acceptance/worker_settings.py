"""Settings of the workers that tests start as processes of their own: the test's database, short leases."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["WORKER_DATABASE_NAME"]
EXECUTORS = {"LEASE_SECONDS": 3, "DISPATCH_SECONDS": 0.3, "NUDGE_GRACE_SECONDS": 1}
CELERY_IMPORTS = ["tests.acceptance.tasks"]
