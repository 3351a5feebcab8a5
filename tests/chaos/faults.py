"""The hands that carry the schedule out, and count."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import Error, connection

from django_executors import clock
from django_executors.conf import settings
from django_executors.models import Operation
from django_executors.nudges import nudge
from django_executors.states import OPEN_OPERATION_STATES
from openstack_simulator.client import SimulatorClient
from tests.brokers import purge
from tests.chaos.brokers import Redis
from tests.chaos.databases import Database
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import CLOUD_FAULTS, WORLD_FAULTS, Event
from tests.chaos.servers import Server
from tests.chaos.workers import Worker, Workers

__all__ = ["Faults", "Kill"]


@dataclass
class Kill:
    """An operation whose worker was killed, and when, on the database's clock."""

    operation_id: uuid.UUID
    at: datetime
    monotonic: float
    how: str


class Faults:
    """Carries events out; each in a thread, so that a restart that takes long does not hold up the rest.

    Attributes:
        counts: How often each kind of the world's faults has happened.
        outages: When database or broker were away: from, to, on the monotonic clock.
        kills: Operations that lost their worker.
        history: What was done to workers, broker and database: from, to, what.
    """

    def __init__(
        self, workers: Workers, database: Database, broker: Server, proxy: Proxy, cloud: SimulatorClient
    ) -> None:
        self.workers = workers
        self.database = database
        self.broker = broker
        self.proxy = proxy
        self.cloud = cloud
        self.counts: Counter[str] = Counter()
        self.outages: list[tuple[str, float, float]] = []
        self.kills: list[Kill] = []
        self.errors: list[str] = []
        self.history: list[tuple[datetime, datetime, str]] = []
        self._rules: dict[int, str] = {}
        self._locks = {name: threading.Lock() for name in ("database", "broker")}
        self._pool = ThreadPoolExecutor(max_workers=6)
        self._running: list[Future[None]] = []
        self._hands: dict[str, Callable[[random.Random], bool]] = {
            "child killed": lambda chance: self._kill_child(chance, "child killed"),
            "child killed alone": lambda chance: self._kill_child(chance, "child killed alone"),
            "process group killed alone": lambda chance: self._kill_group(chance, "process group killed alone"),
            "worker killed": self._kill_worker,
            "process group killed": lambda chance: self._kill_group(chance, "process group killed"),
            "children stopped past their lease": self._stop_children,
            "worker replaced": self._replace_worker,
            "broker flushed": self._flush_broker,
            "broker restarted": self._restart_broker,
            "messages duplicated": self._duplicate_messages,
            "database restarted": lambda chance: self._restart_database("fast"),
            "database crashed": lambda chance: self._restart_database("immediate"),
            "connections cut": self._cut_connections,
            "commit answers lost": self._lose_commit_answers,
        }

    def trouble_cloud(self, seed: str, scale: float) -> None:
        """Let the cloud do its worst from now on, to ``scale`` times as many requests as usual."""
        for kind, (probability, rule) in CLOUD_FAULTS.items():
            chance = random.Random(f"{seed} {kind}")
            often = {"probability": probability * scale, "seed": chance.getrandbits(32)}
            # One early request for certain: what is rare has to happen in a short run too.
            once = {"nth": chance.randint(2, 8)}
            for when in (often, once):
                self._rules[self.cloud.add_fault(**rule, **when)] = kind

    @property
    def calm(self) -> bool:
        """Whether nothing is broken now: all that was stopped goes on, and all that was restarted serves again."""
        now = time.monotonic()
        return all(future.done() for future in self._running) and all(end <= now for _, _, end in self.outages)

    def start(self, event: Event) -> None:
        """Let an event of the schedule happen, soon."""
        self._running = [future for future in self._running if not future.done()]
        self._running.append(self._pool.submit(self._happen, event))

    def missing(self, least: int) -> list[str]:
        """Return the kinds that have not happened so often yet."""
        self._read_counts()
        return [kind for kind in (*WORLD_FAULTS, *CLOUD_FAULTS) if self.counts[kind] < least]

    def _read_counts(self) -> None:
        counts = self.proxy.counts()
        self.counts["connections cut"] = counts["cut"]
        self.counts["commit answers lost"] = counts["commit_answers_lost"]
        hits: Counter[str] = Counter()
        for rule in self.cloud.faults():
            hits[self._rules[rule["id"]]] += rule["hits"]
        for kind in CLOUD_FAULTS:
            self.counts[kind] = hits[kind]

    def finish(self) -> None:
        """Wait until all is in order again: what was stopped goes on, what was restarted answers, the cloud has no faults."""
        for future in self._running:
            future.result()
        self._pool.shutdown()
        self.proxy.forget()
        self._read_counts()
        self.cloud.clear_faults()

    def _happen(self, event: Event) -> None:
        began = datetime.now(UTC)
        try:
            if self._hands[event.kind](random.Random(event.choice)):
                self.counts[event.kind] += 1
        except Exception as error:
            self.errors.append(f"{event.kind}: {type(error).__name__}: {error}")
        finally:
            self.history.append((began, datetime.now(UTC), event.kind))
            connection.close()

    # -- workers ------------------------------------------------------------------------------------------------------

    def _busy(self) -> dict[int, list[uuid.UUID]]:
        """Return the processes that hold operations now, as the database knows it; none when it is away."""
        found: dict[int, list[uuid.UUID]] = {}
        try:
            held = Operation.objects.exclude(lease_owner="").filter(state__in=OPEN_OPERATION_STATES)
            for pk, owner in held.values_list("pk", "lease_owner"):
                found.setdefault(int(owner.split(":")[-2]), []).append(pk)
        except Error:
            connection.close()
        return found

    def _worker(self, chance: random.Random) -> Worker | None:
        running = self.workers.running()
        return chance.choice(running) if running else None

    def _child(self, chance: random.Random) -> int | None:
        """Choose a child, rather one that works."""
        children = [pid for worker in self.workers.running() for pid in worker.children()]
        busy = self._busy()
        working = [pid for pid in children if pid in busy]
        chosen = working if working and chance.random() < 0.9 else children
        return chance.choice(chosen) if chosen else None

    def _note_kill(self, pids: list[int], how: str) -> None:
        """Note what dead processes have left behind; they can write nothing more."""
        moment = time.monotonic()
        try:
            now = clock.read()
            busy = self._busy()
        except Error:
            connection.close()
            return
        for pid in pids:
            self.kills += [Kill(operation_id, now, moment, how) for operation_id in busy.get(pid, [])]

    def _kill_child(self, chance: random.Random, how: str) -> bool:
        pid = self._child(chance)
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        self._note_kill([pid], how)
        return True

    def _kill_worker(self, chance: random.Random) -> bool:
        worker = self._worker(chance)
        if worker is None:
            return False
        # Its children live on without it until they see that nobody talks to them any more.
        worker.process.kill()
        worker.process.wait(30)
        time.sleep(0.5 + chance.random())
        self.workers.tend()
        return True

    def _kill_group(self, chance: random.Random, how: str) -> bool:
        worker = self._worker(chance)
        if worker is None:
            return False
        pids = worker.group()
        worker.kill_group()
        self._note_kill(pids, how)
        time.sleep(0.5 + chance.random())
        self.workers.tend()
        return True

    def _stop_children(self, chance: random.Random) -> bool:
        """Stop a worker's children in the middle of their work; it counts only when one did hold an operation."""
        end = time.monotonic() + 3
        chosen: list[int] = []
        while not chosen and time.monotonic() < end:
            busy = self._busy()
            pools = [worker.children() for worker in self.workers.running()]
            working = [pool for pool in pools if any(pid in busy for pid in pool)]
            chosen = chance.choice(working) if working else []
        stopped: list[int] = []
        try:
            for pid in chosen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
            held = set(stopped) & set(self._busy())
            if held:
                time.sleep(settings.LEASE_SECONDS + 1 + chance.random())
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        return bool(held)

    def _replace_worker(self, chance: random.Random) -> bool:
        worker = self._worker(chance)
        if worker is None:
            return False
        self.workers.replace(worker)
        return True

    # -- broker -------------------------------------------------------------------------------------------------------

    def _flush_broker(self, chance: random.Random) -> bool:
        with self._locks["broker"]:
            began = time.monotonic()
            if isinstance(self.broker, Redis):
                self.broker.flush()
            else:
                purge()
            self.outages.append(("broker flushed", began, time.monotonic()))
        return True

    def _restart_broker(self, chance: random.Random) -> bool:
        with self._locks["broker"]:
            began = time.monotonic()
            self.broker.stop(chance.choice(["fast", "immediate"]))
            self.broker.start()
            # Celery tries again after 2 seconds, then 4, ...
            self.outages.append(("broker restarted", began, time.monotonic() + 4))
        return True

    def _duplicate_messages(self, chance: random.Random) -> bool:
        rows = list(Operation.objects.filter(state__in=OPEN_OPERATION_STATES).order_by("pk").values_list("pk", "queue"))
        sent = 0
        for pk, queue in chance.sample(rows, min(5, len(rows))):
            for _ in range(chance.randint(1, 4)):
                sent += nudge(pk, queue)
        return sent > 0

    # -- database -----------------------------------------------------------------------------------------------------

    def _restart_database(self, mode: str) -> bool:
        with self._locks["database"]:
            began = time.monotonic()
            self.database.stop(mode)
            self.database.start()
            self.outages.append(("database", began, time.monotonic()))
        return True

    def _cut_connections(self, chance: random.Random) -> bool:
        self.proxy.cut(chance.randint(1, 4))
        return False  # the proxy counts

    def _lose_commit_answers(self, chance: random.Random) -> bool:
        self.proxy.lose_commit_answers(chance.randint(1, 4))
        return False  # the proxy counts
