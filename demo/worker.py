"""A worker without a broker, in a process of its own: ``python -m demo.worker``.

Its broker is in its own memory, so messages from other processes never arrive. What it has to do it finds in the database:
every worker looks there for operations that are due. It ends on SIGTERM, or when whoever started it is gone.
"""

from __future__ import annotations

import logging
import signal
import sys

import django


def main() -> None:
    """Work until the standard input is closed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    django.setup()

    # The backend brings the SDK along, which takes a second to load: better now than in the middle of the first step.
    import django_executors_openstack.backend  # noqa: F401
    from demo.celery import app
    from django_executors.worker import embedded_worker

    with embedded_worker(app, concurrency=4):
        sys.stdin.read()


if __name__ == "__main__":
    main()
