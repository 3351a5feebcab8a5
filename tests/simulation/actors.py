"""Worker processes and their threads, of which exactly one runs at a time: the schedule says which, and how far.

A thread gives control back at every named point that it reaches outside of a transaction, and, when it goes in small steps,
before every statement. So the schedule decides what happens in between, and whether the thread ever goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import OperationalError

from django_executors.engine import lease
from django_executors.engine.drive import drive

if TYPE_CHECKING:
    from .broker import Message
    from .world import World

__all__ = ["Died", "Process", "Thread"]


class Died(BaseException):
    """The end of a worker: nothing in the engine handles it, as nothing handles a SIGKILL."""


class _Heartbeat(lease._Heartbeat):
    """The engine's heartbeat, but for its thread: the schedule says when it beats."""

    def add(self, held: lease.HeldLease) -> None:
        with self._lock:
            self._held[held.operation_id] = held


class Process:
    """A worker process: a name that others see in the rows, threads, and a heartbeat for all of them."""

    def __init__(self, world: World, name: str, threads: int) -> None:
        self.world = world
        self.name = name
        self.threads = [Thread(self, f"{name}.{number}") for number in range(1, threads + 1)]
        self.restart()

    def restart(self) -> None:
        """Be the first incarnation of this process, with nothing to do."""
        self._incarnation = 0
        self.begin()

    def begin(self) -> None:
        """Start as a new incarnation: with a new name, knowing nothing."""
        self._incarnation += 1
        self.owner = f"{self.name}#{self._incarnation}"
        self.heartbeat = _Heartbeat()
        self.is_stopped = False
        self.is_draining = False

    def kill(self) -> None:
        """End at once, wherever its threads stand; a new incarnation takes its place."""
        self.world.somebody_died = True
        for thread in self.threads:
            thread.die()
        self.begin()

    def beat(self) -> None:
        """Renew the leases it holds, as its heartbeat thread does."""
        with self.world.acting_as(self):
            self.heartbeat._beat()

    def end_when_drained(self) -> None:
        """A process that was told to end does so when its threads are idle."""
        if self.is_draining and all(thread.is_idle for thread in self.threads):
            self.begin()


class Thread:
    """One thread of a worker process. It is idle, or stands at a point of `drive`."""

    def __init__(self, process: Process, name: str) -> None:
        self.process = process
        self.world = process.world
        self.name = name
        self.at = ""
        """The point where it stands; empty when it is idle."""
        self.order = ""
        self._is_dying = False
        self._job: Callable[[], Any] | None = None
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._work, name=f"simulated {name}", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        return not self.at

    # -- called by the schedule -----------------------------------------------------------------------------------

    def take(self, message: Message, order: str = "") -> None:
        """Begin to handle a message."""
        self._job = lambda: drive(
            message.operation,
            queue=message.queue,
            limits=message.limits,
            draining=lambda: self.process.is_draining,
        )
        self.at = "begin"
        self.go(order)

    def go(self, order: str = "") -> None:
        """Go on to the next point.

        Args:
            order: ``"inch"``: to the next statement; ``"freely"``: to the end of the message; ``"fail"``: with a database
                that fails now; ``"roll back"`` and ``"die inside"``: fail, or die, inside the commit before which it stands.
        """
        self.order = order
        self._hand_over()
        if self._is_dying:  # it died inside a commit, and its process with it
            self._is_dying = False
            self.process.kill()
        self.process.end_when_drained()

    def die(self) -> None:
        """Unwind without a trace; the point where it stands is the last that it came to."""
        if not self.is_idle:
            self._is_dying = True
            self._hand_over()
            self._is_dying = False

    def close(self) -> None:
        """End the thread for good."""
        self.die()
        self._job = None
        self.at = "begin"
        self._go.release()
        self._thread.join(timeout=10)

    def _hand_over(self) -> None:
        with self.world.acting_as(self.process, self):
            self._go.release()
            self._back.acquire()

    # -- called in the thread itself --------------------------------------------------------------------------------

    def _work(self) -> None:
        self._go.acquire()
        while self._job is not None:
            with self.world.database.used_here() as connection:
                connection.execute_wrappers.append(self._before_statement)
                while self._job is not None:
                    self._run_job()
                    self.at = ""
                    self._back.release()
                    self._go.acquire()

    def _run_job(self) -> None:
        try:
            if not self._is_dying and self._job is not None:
                self._job()
        except Died:
            pass
        except OperationalError as error:
            # Celery logs it, and the message is gone: the operation's timer brings the next one.
            if "simulated" not in str(error):
                self.world.breach(f"{self.name} ended with {error!r}")
        except BaseException as error:
            self.world.breach(f"{self.name} ended with {error!r}", error)
        if not self._is_dying:
            self.world.check()

    def reached(self, point: str) -> None:
        """Come to a named point: let the schedule decide what happens before this thread goes on."""
        if self._is_dying:
            return
        if point == "inside commit":
            if self.order == "die inside":
                self._is_dying = True
                raise Died
            if self.order == "roll back":
                self.order = ""
                raise OperationalError("deadlock detected (simulated)")
            return
        self.world.check()
        if self.order != "freely":
            self.at = point
            self._back.release()
            self._go.acquire()
        if self._is_dying:
            raise Died
        if self.order == "fail":
            self.order = ""
            self.world.somebody_died = True  # as far as it concerns what was not said yet
            raise OperationalError("the connection is gone (simulated)")

    def _before_statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.order == "inch" and not context["connection"].in_atomic_block:
            self.reached("statement")
        if self._is_dying and sql.startswith(("INSERT", "UPDATE", "DELETE")):
            self.world.breach(f"{self.name} is dead and wrote {sql[:100]}")
        return execute(sql, params, many, context)
