"""The world of a simulation: clock, database, broker, cloud and processes, and the seams where the engine meets them."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

from celery import current_app

from django_executors import faults
from django_executors.engine import lease
from tests.testapp.models import Box

from .actors import Process, Thread
from .broker import Broker
from .cloud import Backend, Cloud
from .committed import Rows
from .database import Database
from .invariants import Invariants
from .plans import LIMIT, fresh_box
from .virtual_time import VirtualTime

__all__ = ["World"]

_PROCESSES = {"p1": 2, "p2": 1}
"""Processes and their numbers of threads. Two in one process share its name, so only token and version tell them apart."""


class World:
    """Everything around the engine. One world serves many schedules, one after the other."""

    def __init__(self, database: Database, time: VirtualTime) -> None:
        self.database = database
        self.time = time
        self.cloud = Cloud()
        self.invariants = Invariants(self)
        self.broker = Broker(self)
        self.process: Process | None = None
        self._thread: Thread | None = None
        self.processes = [Process(self, name, threads) for name, threads in _PROCESSES.items()]
        self.threads = {thread.name: thread for process in self.processes for thread in process.threads}
        self.time.asleep = lambda: self.reach("asleep")
        self._heartbeats = SimpleNamespace(
            _pid=lease.os.getpid(),
            add=lambda held: self._acting.heartbeat.add(held),
            remove=lambda held: self._acting.heartbeat.remove(held),
        )
        self._begin()

    def _begin(self) -> None:
        self.found: str | None = None
        self.trace = ""
        self.operations: list[str] = []
        """Ids of the operations that were opened, in order."""
        self.promised: set[str] = set()
        """Primary keys of the boxes that an operation was opened for, also as a part of another one."""
        self.somebody_died = False
        """Whether a process may have ended between a commit and telling the others about it."""

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[World]:
        """Make a world and put the engine into it during the block."""
        time = VirtualTime()
        with Database.opened(time) as database:
            world = cls(database, time)
            generator = random.getstate()
            try:
                with world._installed():
                    yield world
            finally:
                random.setstate(generator)
                for thread in world.threads.values():
                    thread.close()

    @contextmanager
    def _installed(self) -> Iterator[None]:
        Backend.world = self
        patches = [
            mock.patch.object(lease, "owner", self._owner),
            mock.patch.object(lease, "_heartbeat", self._heartbeats),
            mock.patch.object(current_app._get_current_object(), "send_task", self.broker.send),
            mock.patch.object(Box, "get_backend", return_value=Backend()),
            mock.patch.object(Box, "get_provision_limit", return_value=LIMIT),
        ]
        with self.time.installed():
            for patch in patches:
                patch.start()
            faults.install(self.reach)
            logger = logging.getLogger("django_executors")
            level = logger.level
            logger.setLevel(logging.CRITICAL)  # trouble is what it logs, and here all is trouble
            try:
                yield
            finally:
                logger.setLevel(level)
                faults.install(None)
                for patch in patches:
                    patch.stop()

    def restart(self) -> None:
        """Clear everything for the next schedule: one box that exists, and nobody does anything."""
        for process in self.processes:
            for thread in process.threads:
                thread.die()
            process.restart()
        random.seed(0)
        self.database.reset()
        self.time.restart()
        self.cloud.restart()
        self.broker.restart()
        self.invariants.restart()
        self._begin()
        box = fresh_box("old", "ok")
        self.cloud.make("old", box.pk, 0.0)

    # -- who acts ---------------------------------------------------------------------------------------------------------

    @property
    def _acting(self) -> Process:
        assert self.process is not None, "only a worker process holds leases"
        return self.process

    def _owner(self) -> str:
        return self._acting.owner

    @contextmanager
    def acting_as(self, process: Process, thread: Thread | None = None) -> Iterator[None]:
        """Let a process be the one that runs during the block."""
        self.process, self._thread = process, thread
        try:
            yield
        finally:
            self.process = self._thread = None

    def reach(self, point: str) -> None:
        """Come to a named point, whoever it is that runs."""
        if self._thread is not None:
            self._thread.reached(point)

    # -- what is wrong -----------------------------------------------------------------------------------------------------

    def breach(self, text: str, error: BaseException | None = None) -> None:
        """Note a broken promise; the first one counts."""
        if self.found is None:
            self.found = text
            self.trace = "".join(traceback.format_exception(error)) if error is not None else ""

    def check(self) -> None:
        """Check everything that is committed, unless something was found already."""
        if self.found is None:
            self.invariants.check()

    def rows(self) -> Rows:
        """Return what is committed."""
        return self.invariants.rows()
