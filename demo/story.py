"""The demo from beginning to end."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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
from django_executors.states import OperationState
from django_executors.worker import embedded_worker
from django_executors_openstack.executors import InstanceCreateExecutor
from django_executors_openstack.models import Flavor, Image, Instance, Network
from openstack.exceptions import SDKException
from openstack_simulator import SimulatorClient

from .compare import Comparison, Count, compare, count, left_in_journal, objects_of
from .processes import WorkerProcess, has_broker
from .progress import Look, looks
from .scene import SERVER_SECONDS, VOLUME_SECONDS, Scene, describe_instance, pull_tenant, simulated_cloud
from .screen import Screen

__all__ = ["tell"]


def tell(options: argparse.Namespace) -> int:
    """Tell the story; returns the exit code."""
    screen = Screen()
    try:
        call_command("migrate", verbosity=0)
    except OperationalError as error:
        screen.event(f"the database does not answer: {error}".strip(), "bold red")
        return 1

    # A name of its own: in a database that is kept, what an earlier demo left open must not reach this cloud.
    cloud_name = f"demo-{os.getpid()}"
    with ExitStack() as stack:
        scene = stack.enter_context(simulated_cloud(cloud_name))
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(scene.clouds_yaml)
        workers = stack.enter_context(_workers(options))
        _introduce(screen, scene, workers)

        tenant = pull_tenant(cloud_name)
        screen.fact(
            "rows",
            f"{Flavor.objects.filter(tenant=tenant).count()} flavors, {Image.objects.filter(tenant=tenant).count()} image "
            f"and {Network.objects.filter(tenant=tenant).count()} networks pulled from the cloud",
        )
        before = objects_of(scene.sdk)
        if options.fail:
            _set_volume_quota(scene, 2)

        with transaction.atomic():
            instance = describe_instance(tenant)
            operation = InstanceCreateExecutor.execute(instance, actor="demo")
        screen.fact("executed", f"InstanceCreateExecutor.execute({instance}) → {operation.pk}\n")

        accident = KilledWorker(screen, scene, instance, workers) if options.kill_worker else None
        succeeded = _watch(screen, operation, options.timeout, accident)
        if options.fail and not succeeded:
            _explain_failure(screen, operation, instance)
            _set_volume_quota(scene, 10)
            screen.event("\nthe quota is 10 now; actions.resume(operation) goes on from the step that failed\n")
            actions.resume(operation, actor="demo", reason="the quota was raised")
            succeeded = _watch(screen, operation, options.timeout, None)

        objects = objects_of(scene.sdk)
        comparisons, counts = compare(instance, objects), count(tenant, before, objects)
        screen.table(_comparison_table(comparisons))
        screen.table(_count_table(counts))
        problems = [f"{each.title}: row and cloud differ" for each in comparisons if not each.agrees]
        problems += [f"{each.kind}: {each.wanted} wanted, {each.rows} rows, {each.cloud} in the cloud" for each in counts if not each.agrees]
        problems += left_in_journal(operation)
        if not succeeded:
            problems.insert(0, f"the operation did not succeed: {Operation.objects.get(pk=operation.pk).why()}")
        if accident is not None and not accident.happened:
            problems.append("the worker was not killed in time: nothing was shown")
        _conclude(screen, problems, accident)
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

    ANSWER_SECONDS = 3.0

    def __init__(self, screen: Screen, scene: Scene, instance: Instance, workers: list[WorkerProcess]) -> None:
        self.screen = screen
        self.instance = instance
        self.workers = workers
        self.happened = False
        self.server = ""
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
        worker = self.workers[-1]
        worker.kill()
        self.server = servers[0]["id"]
        self.instance.refresh_from_db()
        if self.instance.backend_id:
            raise RuntimeError("the worker was faster than the kill: its row has the server's id already")
        self.happened = True
        self.screen.event(
            f"worker {worker.pid} killed with SIGKILL: the cloud has made server {self.server[:8]}, our row has no id of it",
            "bold red",
        )
        self.workers.append(WorkerProcess())
        self.screen.event(f"worker {self.workers[-1].pid} started; the lease of the dead one has to end first")


# -- watching ---------------------------------------------------------------------------------------------------------


def _watch(screen: Screen, operation: Operation, timeout: float, accident: KilledWorker | None) -> bool:
    """Show the operation until it has ended; returns whether it succeeded."""
    last: Look | None = None
    late = ""
    with screen.watching():
        try:
            for last in looks(operation, timeout):
                screen.show(last)
                if accident is not None:
                    accident.happen_when_due()
        except TimeoutError as error:
            late = f"gave up {error}"
    if last is None:
        return False
    screen.show_in_full(last)
    if late:
        screen.event(late, "bold red")
    return bool(last.operation.state == OperationState.SUCCEEDED)


def _explain_failure(screen: Screen, operation: Operation, instance: Instance) -> None:
    screen.event(f"\n{operation}: {Operation.objects.get(pk=operation.pk).why()}", "red")
    instance.refresh_from_db()
    states = [f"{row} is {row.state}" for row in (instance, *instance.volumes.order_by("pk"))]
    screen.event(f"the rows tell it too: {', '.join(states)}")


def _set_volume_quota(scene: Scene, volumes: int) -> None:
    with openstack.connect(**scene.simulator.connection_kwargs("admin")) as admin:
        admin.block_storage.update_quota_set(scene.sdk.current_project_id, volumes=volumes)


# -- words ------------------------------------------------------------------------------------------------------------


def _introduce(screen: Screen, scene: Scene, workers: list[WorkerProcess]) -> None:
    name = connection.settings_dict["NAME"]
    database = os.path.relpath(name) if connection.vendor == "sqlite" else name
    screen.fact("database", f"{connection.vendor} {database}, broker {_broker()}")
    if workers:
        kind = "celery -A demo worker, " if has_broker() else ""
        lease = executors_settings.LEASE_SECONDS
        screen.fact("worker", f"{kind}process {workers[0].pid}, lease {lease:g} s, log {os.path.relpath(workers[0].log)}")
    else:
        screen.fact("worker", "threads of this process")
    screen.fact(
        "cloud",
        f"simulator at {scene.simulator.url}; a volume takes {VOLUME_SECONDS:g} s, a server {SERVER_SECONDS:g} s",
    )


def _broker() -> str:
    return BrokerConnection(settings.CELERY_BROKER_URL).as_uri() if has_broker() else "in memory"  # without the password


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
    table = Table(*headings, "", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[-1].no_wrap = True
    return table


def _mark(agrees: bool) -> str:
    return "[green]✓ equal[/]" if agrees else "[red]✕ differs[/]"


def _conclude(screen: Screen, problems: list[str], accident: KilledWorker | None) -> None:
    for problem in problems:
        screen.event(f"✕ {problem}", "bold red")
    if problems:
        logs = ", ".join(os.path.relpath(path) for path in sorted(settings.DEMO_DIR.glob("*.log")))
        screen.event(f"more in {logs}")
        return
    screen.event("✓ every row equals the cloud, nothing is left over", "bold green")
    if accident is not None:
        screen.event(
            f"  the server that the dead worker had asked for, {accident.server[:8]}, was found and adopted, not made again"
        )


def _keep(screen: Screen, scene: Scene) -> None:
    """Wait for Ctrl-C, so that somebody can look around."""
    screen.event("\nthe cloud goes on until Ctrl-C; look at it, and at the rows:", "bold")
    screen.event(f"  export OS_CLIENT_CONFIG_FILE={scene.clouds_yaml} OS_CLOUD={scene.cloud_name}", "")
    screen.event("  openstack server list", "")
    screen.event("  .venv/bin/python -m demo.manage executors list", "")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except (KeyboardInterrupt, SDKException):
        stop.set()
