"""Fixtures for driving the engine by hand: messages stay in this process, and the clock may jump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_executors import clock, faults
from tests.brokers import broker_at
from tests.celeryapp import app


@pytest.fixture(autouse=True, scope="package")
def _messages_stay_here(_celery_app: None) -> Iterator[None]:
    """Whatever broker the acceptance tests use, these publish to the memory broker, where they can be read at once."""
    with broker_at("memory://"):
        yield


@pytest.fixture(autouse=True)
def _clock_and_faults() -> Iterator[None]:
    yield
    clock.reset()
    faults.install(None)


@pytest.fixture
def messages() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return a function that takes all messages out of the broker: operation id, queue, priority and time limits."""

    def take() -> list[dict[str, Any]]:
        taken = []
        with app.connection_for_write() as connection:
            for queue in app.conf.task_queues:
                bound = queue.bind(connection.default_channel)
                bound.declare()
                while (message := bound.get(no_ack=True)) is not None:
                    operation_id, named = message.decode()[0]
                    assert named == queue.name, "a message lies in another queue than it says"
                    hard, soft = message.headers["timelimit"]
                    taken.append(
                        {
                            "operation": operation_id,
                            "queue": queue.name,
                            "priority": message.properties.get("priority"),
                            "time_limit": hard,
                            "soft_time_limit": soft,
                        }
                    )
        return taken

    take()
    yield take
    take()
