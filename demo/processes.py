"""Workers for the demo: in this process, or in processes of their own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from django.conf import settings

__all__ = ["WorkerProcess", "has_broker"]

STOP_SECONDS = 15


def has_broker() -> bool:
    """Say whether messages reach other processes."""
    return not settings.CELERY_BROKER_URL.startswith("memory")


class WorkerProcess:
    """A worker in a process of its own: Celery's own command where there is a broker, else ``demo.worker``."""

    _started = 0

    def __init__(self) -> None:
        WorkerProcess._started += 1
        self.number = WorkerProcess._started
        self.log = Path(settings.DEMO_DIR) / f"worker-{self.number}.log"
        if has_broker():
            queues = ",".join(queue.name for queue in settings.CELERY_TASK_QUEUES)
            # -n: two workers of one name would not know which of them is asked.
            command = ["celery", "-A", "demo", "worker", "-c", "2", "-Q", queues, "-n", f"demo-{self.number}@%h"]
            command += ["--loglevel", "INFO"]
        else:
            command = ["demo.worker"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=settings.BASE_DIR,
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: Ctrl-C is ours alone, and a kill takes the pool along
            )

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def has_died(self) -> bool:
        """Whether it ended without being asked to."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, to the process and its pool."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask it to finish what it is doing and to end; harmless when it has ended."""
        if self.has_died:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
