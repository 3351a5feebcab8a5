"""One run on one pair of services: set up, load and faults, silence, and the account."""

from __future__ import annotations

import json
import os
import platform
import random
import time
from importlib.metadata import version
from pathlib import Path

from django.core.management import call_command
from django.db import Error, connection

from django_executors.conf import settings
from django_executors.models import Operation
from django_executors.states import OPEN_OPERATION_STATES
from tests.chaos.accounting import account
from tests.chaos.databases import Database
from tests.chaos.faults import Faults
from tests.chaos.form import LIMITS, Form
from tests.chaos.load import Load, make_tenant
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import ALONE, WORLD_FAULTS, schedule
from tests.chaos.servers import Server
from tests.chaos.simulator import Simulator
from tests.chaos.table import Report
from tests.chaos.watching import Watcher
from tests.chaos.workers import ROOT, Workers

__all__ = ["run", "save"]


def run(name: str, seed: str, form: Form, database: Database, broker: Server, directory: Path) -> Report:
    """Do everything, print how it goes, and return the account."""
    report = Report(name, seed, _versions(database, broker))
    call_command("migrate", verbosity=0)
    clouds_yaml = Path(os.environ["CHAOS_CLOUDS_YAML"])
    simulator = Simulator(directory, clouds_yaml)
    proxy = Proxy(database.protocol, database.port, random.Random(f"{seed} proxy").getrandbits(32))
    environment = {
        **os.environ,
        "DATABASE_URL": database.url(proxy.port),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    workers = Workers(form.workers, directory / "workers.log", environment)
    try:
        tenant = make_tenant(LIMITS)
        workers.tend()
        load = Load(
            tenant,
            random.Random(f"{seed} load"),
            instances=form.instances,
            small=form.small,
            lives=form.lives,
            boxes=form.boxes,
        )
        faults = Faults(workers, database, broker, proxy, simulator.client)
        watcher = Watcher()
        watcher.start()
        _warm_up(load)
        began = time.monotonic()
        under_fire = _fire(seed, form, load, faults, watcher)
        say(began, f"the fire stops, {_open()} operations are open")
        faults.finish()
        quiet = _come_to_rest(form.quiet_seconds, workers)
        say(began, f"all at rest {quiet:.1f} s later" if quiet else f"not at rest after {form.quiet_seconds:g} s")
        watcher.stop()
        orphans = workers.orphans()
        workers.close()
        account(report, form, load, faults, watcher, simulator.client, workers)
        report.add("seconds under fire", round(under_fire, 1))
        report.add("seconds until all had ended", round(quiet, 1) if quiet else "never")
        report.add("orphans still alive at the end", len(orphans))
    finally:
        workers.close()
        proxy.close()
        simulator.close()
    return report


def say(began: float, text: str) -> None:
    """Print a line with the seconds since the fire began."""
    print(f"  {time.monotonic() - began:6.1f} s  {text}", flush=True)


def _open() -> int:
    return Operation.objects.filter(state__in=OPEN_OPERATION_STATES).count()


def _warm_up(load: Load) -> None:
    """Let the workers start: faults begin when the first operations have ended."""
    deadline = time.monotonic() + 60
    while Operation.objects.exclude(state__in=OPEN_OPERATION_STATES).count() < 5:
        load.turn()
        if time.monotonic() > deadline:
            raise RuntimeError("no operation has ended within 60 s: do the workers run? See workers.log")
        time.sleep(0.2)


def _fire(seed: str, form: Form, load: Load, faults: Faults, watcher: Watcher) -> float:
    """Let faults happen while the load goes on, until enough of both has happened; return the seconds."""
    events = schedule(f"{seed} world", WORLD_FAULTS, form.pause)
    faults.trouble_cloud(seed, form.cloud_scale)
    began = told = time.monotonic()
    event = next(events)
    at, quiet_until = began + event.after, began
    while True:
        now = time.monotonic()
        if at <= now and (faults.calm or event.kind not in ALONE):
            faults.start(event)
            if event.kind in ALONE:
                # Who takes over is to be measured, not how long the queue in front of busy workers is.
                quiet_until = now + settings.LEASE_SECONDS + 1.5
            event = next(events)
            at = max(now + event.after, quiet_until)
        faults.workers.tend()
        if now >= quiet_until:
            load.turn()
        if now - told > 10:
            told = now
            opened = f"{load.count('instance')} instance and {load.count('small')} small operations opened"
            say(began, f"{opened}, {len(faults.kills)} orphaned, {len(watcher.violations)} violations")
        enough = load.done and not faults.missing(form.each_kind)
        if enough or now - began > form.seconds:
            return time.monotonic() - began
        time.sleep(0.1)


def _come_to_rest(seconds: float, workers: Workers) -> float:
    """Wait until no operation is open; return how long it took, 0 when it did not happen."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        workers.tend()
        try:
            if not _open():
                return max(0.1, time.monotonic() - began)
        except Error:
            connection.close()
        time.sleep(0.2)
    return 0.0


def _versions(database: Database, broker: Server) -> dict[str, str]:
    names = ("Django", "celery", "kombu", "psycopg", "PyMySQL", "redis", "amqp", "openstacksdk")
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in names},
        database.name: database.version(),
        broker.name: broker.version(),
    }


def save(report: Report, path: Path) -> None:
    """Write the account as JSON."""
    path.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
