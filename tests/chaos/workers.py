"""Worker processes as they run in production, prefork, started again when they die; and the ways to make them die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Worker", "Workers"]

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = 2
WARM_SECONDS = 30.0
"""How long a worker may take to end after SIGTERM, as a deploy would wait."""


class Worker:
    """One ``celery worker`` with its children, in a process group of its own."""

    def __init__(self, name: str, log: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tests.celeryapp", "worker", "--loglevel=WARNING", "-n", name]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--pool=prefork", f"--concurrency={CHILDREN}", "--without-gossip", "--without-mingle"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.leaving = False

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Return the process ids of the pool."""
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def group(self) -> list[int]:
        """Return all processes of the group, also children whose parent is dead."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[2]) == self.process.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def kill_group(self) -> None:
        """Kill all of it at once, as a machine that loses its power does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WARM_SECONDS)


class Workers:
    """Keeps so many workers running; safe to use from several threads.

    Attributes:
        overdue: How many workers had to be killed since they did not end after SIGTERM.
    """

    def __init__(self, count: int, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.environment = environment
        self.started = 0
        self.overdue = 0
        self._count = count
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._gone: list[Worker] = []

    def tend(self) -> None:
        """Start as many workers as are missing, as a supervisor does."""
        with self._lock:
            for worker in [worker for worker in self._workers if not worker.alive]:
                self._workers.remove(worker)
                self._gone.append(worker)
            while len([worker for worker in self._workers if not worker.leaving]) < self._count:
                self.started += 1
                self._workers.append(Worker(f"chaos{self.started}@localhost", self.log, self.environment))

    def running(self) -> list[Worker]:
        """Return those that run and are not about to end."""
        with self._lock:
            return [worker for worker in self._workers if worker.alive and not worker.leaving]

    def replace(self, worker: Worker) -> None:
        """Ask a worker to end, as a deploy does, with another one in its place; returns when the old one has ended."""
        worker.leaving = True
        worker.process.terminate()
        self.tend()
        try:
            worker.process.wait(WARM_SECONDS)
        except subprocess.TimeoutExpired:
            self.overdue += 1
            worker.kill_group()

    def orphans(self) -> list[int]:
        """Return processes whose worker is dead."""
        with self._lock:
            return [pid for worker in self._gone for pid in worker.group()]

    def close(self) -> None:
        """End everything that was ever started here."""
        with self._lock:
            everyone = [*self._workers, *self._gone]
            for worker in self._workers:
                worker.process.terminate()
            end = time.monotonic() + 10
            for worker in self._workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.1, end - time.monotonic()))
            for worker in everyone:
                worker.kill_group()
            self._workers, self._gone = [], []
