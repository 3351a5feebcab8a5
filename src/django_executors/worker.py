"""Celery's entry points: the message handler, the dispatcher in every worker, draining, and a worker inside a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue
from typing import Any

import celery
from celery import _state, bootsteps, shared_task
from celery.signals import worker_ready, worker_shutting_down
from celery.worker import WorkController

from .conf import settings
from .engine.connections import check_connections
from .engine.dispatcher import DispatcherThread
from .engine.drive import drive
from .nudges import DRIVE_TASK
from .plan import OPERATION_TASK

__all__ = ["Dispatcher", "drive_operation", "embedded_worker"]

logger = logging.getLogger("django_executors")

# Shared with the pool's forked children, which Celery does not tell that the worker is about to stop.
_draining = RawValue("b", 0)


def is_draining() -> bool:
    """Say whether this worker is shutting down."""
    return bool(_draining.value)


@worker_shutting_down.connect(weak=False)
def _start_draining(**kwargs: Any) -> None:
    _draining.value = 1


@worker_ready.connect(weak=False)
def _stop_draining(**kwargs: Any) -> None:
    _draining.value = 0


class _DriveTask(celery.Task):  # type: ignore[type-arg]
    @property
    def request(self) -> Any:
        """The running message, marked as eager: Celery's Django support closes connections around every other one."""
        request = self._get_request()  # type: ignore[attr-defined]
        request.is_eager = True
        return request


@shared_task(name=DRIVE_TASK, base=_DriveTask, bind=True, ignore_result=True, max_retries=0)
def drive_operation(self: celery.Task[Any, Any], operation_id: str, queue: str) -> None:
    """Handle a message that says "look at this operation"."""
    check_connections()
    # Celery has the soft limit second, we have it second too: (hard, soft).
    hard, soft = (self.request.timelimit or (None, None))[:2]
    drive(operation_id, queue=queue, limits=(hard, soft), draining=is_draining)


@shared_task(name=OPERATION_TASK)
def nested_operation(**kwargs: Any) -> None:
    """Stands for a nested operation in a plan; only an operation can run it."""
    raise RuntimeError("as_signature() is a step of an executor's plan; call execute() to run the operation by itself")


class Dispatcher(bootsteps.StartStopStep):
    """Runs a dispatcher in the worker's main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self.enabled = settings.DISPATCH_IN_WORKERS
        self.thread: DispatcherThread | None = None

    def start(self, parent: Any) -> None:
        self.thread = DispatcherThread()
        self.thread.start()

    def stop(self, parent: Any) -> None:
        if self.thread is not None:
            self.thread.stop()


def _install(app: celery.Celery) -> None:
    app.steps["worker"].add(Dispatcher)


_state.connect_on_app_finalize(_install)
for _app in _state._get_active_apps():  # type: ignore[attr-defined]
    if _app.finalized:
        _install(_app)


class _EmbeddedWorker(WorkController):
    """Celery's worker without what belongs to a command: no signal handlers, no banner."""

    def __init__(self, **options: Any) -> None:
        self.is_ready = threading.Event()
        super().__init__(**options)

    def on_consumer_ready(self, consumer: Any) -> None:
        self.is_ready.set()


@contextmanager
def embedded_worker(
    app: celery.Celery, *, concurrency: int = 8, queues: tuple[str, ...] = (), **options: Any
) -> Iterator[WorkController]:
    """Run a Celery worker in threads of this process: the embedded default, and useful in tests.

    Args:
        app: The Celery app; with the broker ``memory://`` nothing else is needed.
        concurrency: Number of worker threads.
        queues: Names of the queues to serve, by default all three.
    """
    names = queues or tuple(dict.fromkeys(settings.QUEUES.values()))
    if str(app.conf.broker_url or app.conf.broker_read_url or "").startswith("memory"):
        # Otherwise an idle in-memory broker looks for messages once a second only.
        app.conf.broker_transport_options = {"polling_interval": 0.02, **(app.conf.broker_transport_options or {})}
    worker = _EmbeddedWorker(
        app=app,
        pool="threads",
        concurrency=concurrency,
        queues=names,
        hostname="embedded@localhost",
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        **options,
    )
    _draining.value = 0
    thread = threading.Thread(target=worker.start, name="executors-embedded-worker", daemon=True)
    thread.start()
    try:
        if not worker.is_ready.wait(timeout=30):
            raise RuntimeError("the embedded worker did not become ready within 30 seconds")
        yield worker
    finally:
        _draining.value = 1
        worker.stop()
        thread.join(timeout=10)
        _draining.value = 0
