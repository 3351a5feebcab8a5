"""The demo from beginning to end."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import openstack
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from kombu import Connection as BrokerConnection
from rich.box import SIMPLE_HEAD
from rich.table import Table

from demo.celery import app
from django_executors.conf import settings as executors_settings
from django_executors.engine import actions
from django_executors.models import Operation
from django_executors.states import OperationState, ResourceState
from django_executors.worker import embedded_worker
from django_executors_openstack.executors import InstanceCreateExecutor
from django_executors_openstack.models import Flavor, FloatingIP, Image, Instance, Network
from openstack_simulator import SimulatorClient

from .compare import Comparison, Count, compare, count, left_in_journal, objects_of
from .processes import WorkerProcess, has_broker
from .progress import Look, looks
from .scene import CLOUDS_YAML, SERVER_SECONDS, VOLUME_SECONDS, Scene, describe_instance, pull_tenant, simulated_cloud
from .screen import Screen

__all__ = ["tell"]


def tell(options: argparse.Namespace) -> int:
    """Tell the story; returns the exit code."""
    screen = Screen()
    try:
        screen.fact("database", _database())
        call_command("migrate", verbosity=0)
    except OperationalError as error:
        screen.event(f"the database does not answer: {error}".strip(), "bold red")
        return 1

    # A name of its own: in a database that is kept, what an earlier demo left open must not reach this cloud.
    cloud_name = f"demo-{os.getpid()}"
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(CLOUDS_YAML)
    with ExitStack() as stack:
        workers = stack.enter_context(_workers(options))
        scene = stack.enter_context(simulated_cloud(cloud_name))
        _introduce(screen, scene, workers)

        tenant = pull_tenant(cloud_name)
        screen.fact(
            "rows",
            f"{Flavor.objects.filter(tenant=tenant).count()} flavors, {Image.objects.filter(tenant=tenant).count()} image "
            f"and {Network.objects.filter(tenant=tenant).count()} networks pulled from the cloud",
        )
        before = objects_of(scene.sdk)
        if options.fail:
            _set_floating_ip_quota(scene, 0)

        with transaction.atomic():
            instance = describe_instance(tenant)
            operation = InstanceCreateExecutor.execute(instance, actor="demo")
        screen.fact("executed", f"InstanceCreateExecutor.execute({instance}) → {operation.pk}")
        screen.gap()

        accident = KilledWorker(screen, scene, instance, workers) if options.kill_worker else None
        succeeded = _watch(screen, operation, options.timeout, workers, accident)
        if options.fail and _mend_and_resume(screen, scene, operation, instance):
            succeeded = _watch(screen, operation, options.timeout, workers)

        objects = objects_of(scene.sdk)
        comparisons, counts = compare(instance, objects), count(tenant, before, objects)
        screen.table(_comparison_table(comparisons))
        screen.table(_count_table(counts))
        screen.gap()
        problems = (
            [] if succeeded else [f"the operation did not succeed: {Operation.objects.get(pk=operation.pk).why()}"]
        )
        problems += [f"row and cloud differ: {each.title}" for each in comparisons if not each.agrees]
        problems += [f"number differs: {each.kind}" for each in counts if not each.agrees]
        problems += left_in_journal(operation)
        if accident is not None:
            problems += accident.problems()
        _conclude(screen, problems)
        if accident is not None and not problems:
            screen.event(f"  server {accident.server[:8]}, which the dead worker had asked for, was found and adopted")
        if options.keep:
            _keep(screen, scene)
    return 1 if problems else 0


# -- workers ----------------------------------------------------------------------------------------------------------


@contextmanager
def _workers(options: argparse.Namespace) -> Iterator[list[WorkerProcess]]:
    """Run a worker: in threads of this process, or in a process of its own where there is a broker or it is to die."""
    if not has_broker() and not options.kill_worker:
        with embedded_worker(app, concurrency=8):
            yield []
        return
    workers = [WorkerProcess()]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


class KilledWorker:
    """The worst moment for a worker to die: the cloud has made the server, and the answer with its id is on the way.

    Without a journal nobody would ever know of this server: the row has no id, and doing it again makes a second one.
    """

    ANSWER_SECONDS = 5.0
    PAUSE_SECONDS = 1.0
    """So long one sees that the step is running, before its worker dies."""

    def __init__(self, screen: Screen, scene: Scene, instance: Instance, workers: list[WorkerProcess]) -> None:
        self.screen = screen
        self.instance = instance
        self.workers = workers
        self.happened = False
        self.server, self.seen_at = "", 0.0
        self.cloud = SimulatorClient(scene.simulator.url)
        self.cloud.add_fault(
            service="compute", method="POST", path="/servers$", count=1, answer_delay=self.ANSWER_SECONDS
        )

    def happen_when_due(self) -> None:
        """Kill the worker if the moment has come, and start another one."""
        if self.happened:
            return
        servers = self.cloud.objects("servers")["servers"]
        if not servers:
            return
        if not self.server:
            self.server, self.seen_at = servers[0]["id"], time.monotonic()
        if time.monotonic() - self.seen_at < self.PAUSE_SECONDS:
            return
        worker = self.workers[-1]
        worker.kill()
        self.instance.refresh_from_db()
        if self.instance.backend_id:
            raise RuntimeError("the worker was faster than the kill: its row has the server's id already")
        self.happened = True
        victim = f"worker {worker.pid}" + (" and its pool" if has_broker() else "")
        self.screen.event(
            f"{victim} killed with SIGKILL: the cloud has made server {self.server[:8]}, our row has no id of it",
            "bold red",
        )
        self.workers.append(WorkerProcess())
        self.screen.event(f"worker {self.workers[-1].pid} started; the lease of the dead one has to end first")

    def problems(self) -> list[str]:
        """What speaks against the story that is being told."""
        if not self.happened:
            return ["the worker was not killed: the operation ended before"]
        self.instance.refresh_from_db()
        if self.instance.backend_id != self.server:
            return [f"the row has server {self.instance.backend_id or 'none'}, not {self.server}"]
        return []


# -- watching ---------------------------------------------------------------------------------------------------------


def _watch(
    screen: Screen,
    operation: Operation,
    timeout: float,
    workers: list[WorkerProcess],
    accident: KilledWorker | None = None,
) -> bool:
    """Show the operation until it has ended; returns whether it succeeded."""
    last: Look | None = None
    given_up = ""
    with screen.watching():
        try:
            for last in looks(operation, timeout):
                screen.show(last)
                if accident is not None:
                    accident.happen_when_due()
                if workers and workers[-1].has_died:
                    given_up = f"worker {workers[-1].pid} ended by itself: see {os.path.relpath(workers[-1].log)}"
                    break
        except TimeoutError as error:
            given_up = f"gave up {error}"
    if last is not None:
        screen.show_in_full(last)
    if given_up:
        screen.event(given_up, "bold red")
    return last is not None and last.operation.state == OperationState.SUCCEEDED


def _mend_and_resume(screen: Screen, scene: Scene, operation: Operation, instance: Instance) -> bool:
    """Say why the operation failed, remove the reason and resume it; returns whether there was something to mend."""
    operation.refresh_from_db()
    if operation.state != OperationState.FAILED:
        return False
    instance.refresh_from_db()
    rows = (
        instance,
        *instance.volumes.all(),
        *instance.ports.all(),
        *FloatingIP.objects.filter(port__instance=instance),
    )
    states = [f"{row._meta.verbose_name} {row} is {ResourceState(row.state).label}" for row in rows]
    screen.gap()
    screen.event(operation.why(), "red")
    screen.event(f"the rows tell it too: {', '.join(states)}")
    _set_floating_ip_quota(scene, 10)
    actions.resume(operation, actor="demo", reason="the quota was raised")
    screen.event("the quota is 10 now: actions.resume(operation) goes on from the step that failed, with what is there")
    screen.gap()
    return True


def _set_floating_ip_quota(scene: Scene, most: int) -> None:
    with openstack.connect(**scene.simulator.connection_kwargs("admin")) as admin:
        admin.network.update_quota(str(scene.sdk.current_project_id), floating_ips=most)


# -- words ------------------------------------------------------------------------------------------------------------


def _introduce(screen: Screen, scene: Scene, workers: list[WorkerProcess]) -> None:
    if workers:
        kind = "celery -A demo worker, " if has_broker() else ""
        lease = executors_settings.LEASE_SECONDS
        screen.fact(
            "worker", f"{kind}process {workers[0].pid}, lease {lease:g} s, log {os.path.relpath(workers[0].log)}"
        )
    else:
        screen.fact("worker", "threads of this process")
    screen.fact(
        "cloud",
        f"simulator at {scene.simulator.url}; a volume takes {VOLUME_SECONDS:g} s, a server {SERVER_SECONDS:g} s",
    )


def _database() -> str:
    name = connection.settings_dict["NAME"]
    database = os.path.relpath(name) if connection.vendor == "sqlite" else name
    return f"{connection.display_name} {database}, broker {_broker()}"


def _broker() -> str:
    return (
        BrokerConnection(settings.CELERY_BROKER_URL).as_uri() if has_broker() else "in memory"
    )  # without the password


def _comparison_table(comparisons: list[Comparison]) -> Table:
    table = _table("object", "our row", "the cloud says")
    for each in comparisons:
        table.add_row(each.title, each.row, each.cloud, _mark(each.agrees))
    return table


def _count_table(counts: list[Count]) -> Table:
    table = _table("how many", "wanted", "rows", "in the cloud", "leftovers")
    for column in table.columns[1:4]:
        column.justify = "right"
    for each in counts:
        leftovers = ", ".join(each.leftovers) or "none"
        table.add_row(each.kind, str(each.wanted), str(each.rows), str(each.cloud), leftovers, _mark(each.agrees))
    return table


def _table(*headings: str) -> Table:
    table = Table(*headings, "", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.columns[-1].no_wrap = True
    return table


def _mark(agrees: bool) -> str:
    return "[green]✓ equal[/]" if agrees else "[red]✕ differs[/]"


def _conclude(screen: Screen, problems: list[str]) -> None:
    for problem in problems:
        screen.event(f"✕ {problem}", "bold red")
    if problems:
        logs = (os.path.relpath(path) for path in sorted(settings.DEMO_DIR.glob("*.log")))
        screen.event(f"more in {', '.join(logs)}")
    else:
        screen.event("✓ every row equals the cloud, nothing is left over", "bold green")


def _keep(screen: Screen, scene: Scene) -> None:
    """Wait for Ctrl-C, so that somebody can look around."""
    screen.gap()
    screen.event("the cloud goes on until Ctrl-C; look at it, and at the rows:")
    screen.event(f"  export OS_CLIENT_CONFIG_FILE={CLOUDS_YAML} OS_CLOUD={scene.cloud_name}", "")
    screen.event("  .venv/bin/openstack server list", "")
    screen.event("  .venv/bin/python -m demo.manage executors list", "")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with suppress(KeyboardInterrupt):
        stop.wait()
