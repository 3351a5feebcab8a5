"""Real workers for tests: processes that are started, watched, asked to end and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_executors.models import Operation
from tests.brokers import broker_at, purge
from tests.settings import broker

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Return the condition's value once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s. " + "; ".join(row.why() for row in Operation.objects.all()))


def ended(operation: Operation) -> Operation:
    """Return an operation once it has ended."""
    return wait_until(lambda: Operation.objects.filter(pk=operation.pk, finished_at__isnull=False).first(), "an end")


@contextmanager
def real_broker(variable: str) -> Iterator[str]:
    """Make the tests' app use the broker whose URL an environment variable has; skip the test when there is none."""
    if connection.vendor != "postgresql":
        pytest.skip("worker processes are tried on PostgreSQL")
    url = os.environ.get(variable, "")
    if not url:
        assert os.environ.get("CI") != "true", f"{variable} is not set"
        pytest.skip(f"{variable} is not set")
    with broker_at(*broker(url)):
        purge()
        yield url
        purge()


class Workers:
    """Starts ``celery worker`` processes with two children each, and kills them.

    Args:
        include: Modules with tasks that the workers have to know besides those of the settings.
    """

    def __init__(self, broker_url: str, log: Path, include: tuple[str, ...] = ()) -> None:
        self.broker_url, self.log, self.include = broker_url, log, include
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.worker_settings",
            "WORKER_DATABASE_NAME": str(connection.settings_dict["NAME"]),
            "BROKER_URL": self.broker_url,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        }
        name = f"w{len(self.running)}-{os.getpid()}@localhost"
        command = [sys.executable, "-m", "celery", "-A", "tests.celeryapp", "worker", "--loglevel=INFO", "-n", name]
        command += [f"--include={','.join(self.include)}"] if self.include else []
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its children at once, as a machine that loses its power does."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Ask a worker to end, as a deployment does; return its exit status."""
        process.terminate()
        return process.wait(30)

    def end(self) -> None:
        """Kill what is left, and show the end of the log."""
        for process in self.running:
            self.kill(process)
        print(self.log.read_text()[-5000:] if self.log.exists() else "no worker was started")
