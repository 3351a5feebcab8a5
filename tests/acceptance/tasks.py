"""Steps that a test and its worker processes share."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import shared_task

from tests.testapp.models import Mark


@shared_task
def stand(gate: str) -> int:
    """Stand here until the gate, a file, is there; return the process that stood here last."""
    Mark.objects.create(what=f"stands {os.getpid()}")
    for _ in range(1200):
        if Path(gate).exists():
            return os.getpid()
        time.sleep(0.05)
    raise TimeoutError("nobody opened the gate")
