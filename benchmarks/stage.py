"""Sets a rival up: a fresh database, its workers as processes of their own, and a client; and takes all of it down again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from . import place
from .measure import Usage, server_process, usage
from .rivals import Rival

__all__ = ["Client", "Stage", "StageFailed", "backstage", "build_template", "clean_up", "stage", "wait_until"]

TEMPLATE = f"{place.DATABASE}_template"
WARM_UP = 8
"""Operations that run before anything is measured: every worker process has then imported, connected and planned."""
PATIENCE = 600.0
"""Seconds after which a run that is not done has failed."""


class StageFailed(Exception):
    """A rival did not start, did not do its work, or did it wrong."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.02) -> Any:
    """Poll until a condition holds and return its value.

    Raises:
        StageFailed: It did not hold in time.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise StageFailed(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
    return found


def environment(rival: Rival) -> dict[str, str]:
    """Return the environment of a rival's processes."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "PYTHONPATH": os.pathsep.join([str(place.SOURCES), str(place.ROOT)]),
        # As any installation has it; without, each start compiles everything anew.
        "PYTHONDONTWRITEBYTECODE": "",
        **rival.environment,
    }


class Client:
    """A process that does as it is told: a rival's client, or our look inside the engine."""

    def __init__(self, rival: Rival, program: str = "benchmarks.client") -> None:
        self._log = (place.LOGS / f"{rival.name}.client.log").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", program, rival.module],
            cwd=place.ROOT,
            env=environment(rival),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command over there and return its answer.

        Raises:
            StageFailed: It raised something.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise StageFailed(f"the client ended during {command}; see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise StageFailed(f"{command}: {answer['error']}")
        return answer["answer"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._log.close()


class Workers:
    """The worker processes of a rival."""

    def __init__(self, rival: Rival) -> None:
        self.log = place.LOGS / f"{rival.name}.worker.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        with self.log.open("ab") as log:
            for command in rival.workers:
                self._processes.append(
                    subprocess.Popen(
                        [part.format(python=sys.executable) for part in command],
                        cwd=place.ROOT,
                        env=environment(rival),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ensure_alive(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise StageFailed(f"a worker ended with status {process.returncode}; see {self.log}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of the workers' groups, children included."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def stop(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        self.send(signal.SIGKILL)  # whatever is left of the groups we started
        for process in self._processes:
            process.wait(15)


class Stage:
    """A rival that is set up and warm."""

    def __init__(self, rival: Rival, client: Client, workers: Workers, connection: psycopg.Connection[Any]) -> None:
        self.rival = rival
        self.client = client
        self.workers = workers
        self.connection = connection
        self.polls = 0
        self.opened = 0
        self._servers = [
            server_process(place.port(service)) if service else None for service in ("postgres", rival.broker)
        ]

    def is_done(self) -> bool:
        """Say whether every operation has ended."""
        self.polls += 1
        self.workers.ensure_alive()
        return self.value(self.rival.unfinished) == 0

    def value(self, query: str) -> Any:
        """Return the one value that a query gives."""
        row = self.connection.execute(query).fetchone()  # type: ignore[call-overload]
        return row[0]

    def read(self) -> Usage:
        """Read what the workers and the servers have used so far."""
        return usage(self.workers.pids, *self._servers)

    def make_items(self, count: int) -> int:
        """Make items to work on and return the first one's key."""
        first = self.opened + 1
        self.client.do("items", first=first, count=count)
        self.opened += count
        return first

    def warm_up(self, steps: int) -> None:
        """Run some operations, so that nothing is done for the first time later."""
        first = self.make_items(WARM_UP)
        self.client.do("open", first=first, count=WARM_UP, steps=steps)
        wait_until(self.is_done, f"{self.rival.name}: the warm-up", 90, 0.1)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the workers up and motionless during the block, as if the machine had stopped; then let them all go."""
        self.workers.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.workers.send(signal.SIGCONT)


def _admin() -> psycopg.Connection[Any]:
    return psycopg.connect(f"{place.POSTGRES_URL}/postgres", autocommit=True)


def _drop(admin: psycopg.Connection[Any], name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def build_template(rivals: list[Rival]) -> None:
    """Make the database with everybody's tables, of which each run gets a copy; and RabbitMQ's virtual host."""
    place.LOGS.mkdir(exist_ok=True)
    with _admin() as admin:
        _drop(admin, TEMPLATE)
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    seen: set[tuple[str, str]] = set()
    for rival in rivals:
        kind = (rival.module, rival.environment.get("BENCH_APPS", ""))
        if kind in seen:
            continue
        seen.add(kind)
        url = place.database_url(TEMPLATE)
        client = Client(_with(rival, BENCH_DATABASE_URL=url, BENCH_BROKER=""))
        try:
            client.do("migrate")
        finally:
            client.close()
    if any(rival.broker == "rabbitmq" for rival in rivals):
        _make_vhost()


def _with(rival: Rival, **variables: str) -> Rival:
    return replace(rival, environment={**rival.environment, **variables})


def _make_vhost() -> None:
    listed = subprocess.run(
        ["rabbitmqctl", "--quiet", "list_vhosts", "--no-table-headers"], capture_output=True, text=True, check=True
    )
    if place.VHOST not in listed.stdout.split():
        definitions = {
            "vhosts": [{"name": place.VHOST}],
            "permissions": [
                {
                    "user": urlsplit(place.RABBITMQ_URL).username or "guest",
                    "vhost": place.VHOST,
                    "configure": ".*",
                    "write": ".*",
                    "read": ".*",
                },
            ],
        }
        subprocess.run(
            ["rabbitmqctl", "--quiet", "import_definitions"], input=json.dumps(definitions), text=True, check=True
        )


def clean_up() -> None:
    """Remove the template, and what Celery keeps in Redis: results, which would stay for a day."""
    with _admin() as admin:
        _drop(admin, TEMPLATE)
    client = redis.Redis.from_url(place.BROKER_URLS["redis"])
    with contextlib.suppress(redis.ConnectionError), client:
        for key in client.scan_iter(f"{place.KEY_PREFIX}*", count=1000):
            client.delete(key)


@contextmanager
def backstage(rival: Rival, program: str = "benchmarks.client") -> Iterator[Client]:
    """Give a client a fresh database, without any worker."""
    with _admin() as admin:
        _drop(admin, place.DATABASE)
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(place.DATABASE), sql.Identifier(TEMPLATE))
        )
    client = Client(rival, program)
    try:
        yield client
    finally:
        client.close()
        with _admin() as admin:
            _drop(admin, place.DATABASE)


@contextmanager
def stage(rival: Rival, steps: int) -> Iterator[Stage]:
    """Set a rival up on a fresh database, warm; take it down at the end, and its database with it.

    Raises:
        StageFailed: It does not come up.
    """
    with backstage(rival) as client:
        client.do("prepare")
        workers = Workers(rival)
        try:
            with psycopg.connect(place.database_url(), autocommit=True) as connection:
                running = Stage(rival, client, workers, connection)
                running.warm_up(steps)
                yield running
        finally:
            workers.stop()
