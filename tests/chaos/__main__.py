"""Run chaos: ``python -m tests.chaos [--short] [--seed N] [--services postgres+rabbitmq|postgres+redis|mariadb+redis]``."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.chaos.brokers import RabbitMQ, Redis
from tests.chaos.databases import Database, MariaDB, PostgreSQL
from tests.chaos.form import LONG, SHORT
from tests.chaos.servers import MissingProgram, Server

SERVERS: dict[str, type[Server]] = {"postgres": PostgreSQL, "mariadb": MariaDB, "rabbitmq": RabbitMQ, "redis": Redis}
PAIRS = ("postgres+rabbitmq", "postgres+redis", "mariadb+redis")
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run one pair of services in this process, or several in a process each; return the exit code."""
    # So that an interrupted run ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parser().parse_args()
    seed = options.seed or str(secrets.randbelow(10**9))
    pairs = [options.services] if options.services else PAIRS[: 1 if options.short else None]
    if len(pairs) == 1:
        return run_pair(pairs[0], seed, options)
    # Django is set up once in a process.
    arguments = [
        f"--{name}={value}" for name in ("instances", "small") if (value := getattr(options, name)) is not None
    ]
    arguments += ["--keep"] if options.keep else []
    failed = []
    for pair in pairs:
        command = [sys.executable, "-m", "tests.chaos", f"--seed={seed}", f"--services={pair}", *arguments]
        with subprocess.Popen(command, cwd=ROOT) as one:
            try:
                one.wait()
            finally:
                one.terminate()  # it ends its servers; nothing happens when it has ended
        if one.returncode:
            failed.append(pair)
    print(f"seed {seed}: " + (f"failed on {', '.join(failed)}" if failed else "all passed"), flush=True)
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description="Load, faults, and an account.")
    options.add_argument("--short", action="store_true", help="about two minutes, on PostgreSQL and RabbitMQ")
    options.add_argument("--seed", help="repeat the schedule of another run")
    options.add_argument("--services", choices=PAIRS, help="one pair alone (default: all, with --short the first)")
    options.add_argument("--instances", type=int, help="instance operations at least (1000, short: 30)")
    options.add_argument("--small", type=int, help="small operations at least (5000, short: 300)")
    options.add_argument("--keep", action="store_true", help="keep logs and data; after a failure they always stay")
    return options


def run_pair(pair: str, seed: str, options: argparse.Namespace) -> int:
    """Start the servers, run, print and save the account, end the servers."""
    print(f"chaos on {pair}, seed {seed}", flush=True)
    directory = ROOT / "var" / "chaos" / pair
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    names = pair.split("+")
    try:
        database, broker = (SERVERS[name](directory) for name in names)
    except MissingProgram as missing:
        print(f"{missing}; scripts/services.py --install installs what is missing", file=sys.stderr)
        return 2
    assert isinstance(database, Database)
    passed = False
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.create, (database, broker)))
        passed = run_on(pair, seed, options, database, broker, directory)
    finally:
        broker.close()
        database.close()
        if passed and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"logs and data are in {directory.relative_to(ROOT)}", flush=True)
    return 0 if passed else 1


def run_on(
    pair: str, seed: str, options: argparse.Namespace, database: Database, broker: Server, directory: Path
) -> bool:
    """Run with servers that are up; return whether all was well."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DATABASE_URL": database.url(),
        "BROKER_URL": broker.url(),
        "CHAOS_CLOUDS_YAML": str(directory / "clouds.yaml"),
    }
    import django

    django.setup()
    from tests.celeryapp import app

    app.loader.import_default_modules()
    from tests.chaos.run import run, save

    form = SHORT if options.short else LONG
    wanted = {name: getattr(options, name) or getattr(form, name) for name in ("instances", "small")}
    form = replace(form, **wanted)
    report = run(pair, seed, form, database, broker, directory)
    print(report.text(), flush=True)
    save(report, ROOT / "var" / "chaos" / f"{pair}.json")
    return report.passed


if __name__ == "__main__":
    sys.exit(main())
