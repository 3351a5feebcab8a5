"""Watch one instance being created, and see whether the rows and the cloud agree: ``python -m demo --help``."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import shutil
import sys
from pathlib import Path

VAR_DIR = Path(__file__).resolve().parent.parent / "var"


def parser() -> argparse.ArgumentParser:
    """The demo's options."""
    options = argparse.ArgumentParser(
        prog="python -m demo",
        description="Creates an instance with everything it needs in a simulated OpenStack, shows each step live, and "
        "puts the rows beside what the cloud says.",
        epilog="DATABASE_URL and BROKER_URL choose other services, see demo/settings.py; with a broker, Celery workers "
        "are started. Exit code: 0 when rows and cloud agree, 1 when not.",
    )
    story = options.add_mutually_exclusive_group()
    story.add_argument(
        "--kill-worker",
        action="store_true",
        help="kill the worker process when the cloud has made the server and the row does not know it yet",
    )
    story.add_argument(
        "--fail", action="store_true", help="let the quota of floating IPs be too small, raise it, and resume"
    )
    options.add_argument("--keep", action="store_true", help="leave the cloud running until Ctrl-C, to look at it")
    options.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="give up after so long (default: %(default)g)"
    )
    return options


def prepare(options: argparse.Namespace) -> None:
    """Set what the settings read, begin with an empty directory, and send the logs of this process to a file."""
    directory = empty_directory()
    os.environ["DEMO_DIR"] = str(directory)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    if options.kill_worker:
        os.environ.setdefault("LEASE_SECONDS", "4")  # nobody wants to watch a clock for 30 seconds
    logging.basicConfig(
        filename=directory / "demo.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def empty_directory() -> Path:
    """Empty and return ``var/demo``, or a directory of our own while another demo is using that one."""
    VAR_DIR.mkdir(exist_ok=True)
    directory = VAR_DIR / "demo"
    lock = os.open(VAR_DIR / "demo.lock", os.O_CREAT | os.O_RDWR)  # never closed: it is ours until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        directory = VAR_DIR / f"demo-{os.getpid()}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def main() -> int:
    """Run the demo; returns the exit code."""
    options = parser().parse_args()
    prepare(options)

    import django

    django.setup()
    from demo.story import tell  # it imports models, which are there only after the set-up

    try:
        return tell(options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
