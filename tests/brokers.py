"""Moves the tests' Celery app from one broker to another and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import pools

from tests.celeryapp import app


@contextmanager
def broker_at(url: str, options: dict[str, Any] | None = None) -> Iterator[None]:
    """Make the tests' app publish to another broker during the block."""
    before = (app.conf.broker_url, app.conf.broker_transport_options)
    try:
        _use(url, options or {})
        yield
    finally:
        _use(*before)


def _use(url: str, options: Any) -> None:
    app.conf.broker_url, app.conf.broker_transport_options = url, options
    # Closing the pools alone would leave closed ones under the same URL.
    pools.reset()
    app._pool = None
    app.amqp._producer_pool = None


def purge() -> int:
    """Lose all messages; return how many there were."""
    with app.connection_for_write() as connected:
        queues = [queue.bind(connected.default_channel) for queue in app.conf.task_queues]
        for queue in queues:
            queue.declare()
        return sum(queue.purge() for queue in queues)
