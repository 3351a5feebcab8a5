"""Crashes the worker at each point of an operation in turn, lets another go on, and asks your test whether all is well."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import connection, connections

from .. import faults
from ..models import Operation
from .driving import messages_stay_here, run

__all__ = ["CRASH_POINTS", "Crash", "crash_after_every_step", "crash_everywhere"]

CRASH_POINTS = frozenset({"after claim", "after commit", "after step", "after request"})
"""Behind everything that the database or a cloud can see. A crash before or inside of a commit leaves the same world as one
behind what came before it."""


@dataclass(frozen=True)
class Crash:
    """One crash: the how-manieth point it was, from 0, and the point's name."""

    number: int
    point: str

    def __str__(self) -> str:
        return f"crash at point {self.number} ({self.point})"


class _Died(BaseException):
    """The end of a worker: nothing in the engine handles it, as nothing handles a SIGKILL."""


def crash_after_every_step(
    execute: Callable[[], Operation], check: Callable[[Operation], None], *, kill: bool = False
) -> list[Crash]:
    """As `crash_everywhere`, with fewer points: a step's work is done but not recorded, or a commit was made."""
    return crash_everywhere(execute, check, points={"after step", "after commit"}, kill=kill)


def crash_everywhere(
    execute: Callable[[], Operation],
    check: Callable[[Operation], None],
    *,
    points: Collection[str] = CRASH_POINTS,
    kill: bool = False,
) -> list[Crash]:
    """Run an operation once undisturbed, then once for each point that it passes, with a crash there.

    After a crash the lease ends on the fake clock, and the operation is driven on to its end, as by another worker.

    Args:
        execute: Makes new rows and opens the operation; called for each run. A fake cloud should be a new one as well.
        check: Asserts what must be true at the end; gets the operation as it ended.
        points: Names of the points, see `CRASH_POINTS`.
        kill: Kill a forked process with SIGKILL instead of raising an exception that nobody handles. Slower, and needs a
            test without a transaction around it, and a database that another process can open. A `FakeBackend` keeps what
            the killed process did; a fake of another kind, in memory, does not.

    Returns:
        The crashes, in order.

    Raises:
        AssertionError: From ``check``, with a note that names the crash; or the operation passed no point at all.
        RuntimeError: ``kill`` inside of a transaction, or with SQLite in memory.
    """
    if kill:
        _check_other_processes_see_the_rows()
    with messages_stay_here():
        return _crash_everywhere(execute, check, points, _killed if kill else _raised)


def _check_other_processes_see_the_rows() -> None:
    if connection.in_atomic_block:
        raise RuntimeError("kill=True needs a test without a transaction: TransactionTestCase, or transaction=True")
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        # The killed process would work on a copy, so nothing would happen to the rows that are checked.
        raise RuntimeError('kill=True needs a database in a file: set DATABASES["default"]["TEST"]["NAME"]')


def _crash_everywhere(
    execute: Callable[[], Operation],
    check: Callable[[Operation], None],
    points: Collection[str],
    crashed: Callable[[Operation, int, Collection[str]], bool],
) -> list[Crash]:
    passed: list[str] = []
    operation = execute()
    _with_handler(lambda point: passed.append(point) if point in points else None, operation)
    _check(check, run(operation), "undisturbed")
    assert passed, "the operation passed none of the points: did it do anything?"
    crashes = [Crash(number, point) for number, point in enumerate(passed)]
    for crash in crashes:
        operation = execute()
        if not crashed(operation, crash.number, points):
            raise AssertionError(f"{operation} ended before the {crash}: execute() must do the same each time")
        _check(check, run(operation), str(crash))
    return crashes


def _check(check: Callable[[Operation], None], ended: Operation, where: str) -> None:
    try:
        check(ended)
    except Exception as error:
        error.add_note(f"{where}; the operation is {ended.state}: {ended.error or 'no error'}")
        raise


def _with_handler(handler: Callable[[str], None], operation: Operation) -> None:
    faults.install(handler)
    try:
        run(operation)
    finally:
        faults.install(None)


def _counting(at: int, points: Collection[str], end: Callable[[], None]) -> Callable[[str], None]:
    seen = -1

    def handler(point: str) -> None:
        nonlocal seen
        seen += point in points
        if seen == at:
            end()

    return handler


def _raised(operation: Operation, at: int, points: Collection[str]) -> bool:
    def die() -> None:
        # What runs on its way out must not die a second time.
        faults.install(None)
        raise _Died

    try:
        _with_handler(_counting(at, points, die), operation)
    except _Died:
        return True
    return False


def _killed(operation: Operation, at: int, points: Collection[str]) -> bool:
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _with_handler(_counting(at, points, lambda: os.kill(os.getpid(), signal.SIGKILL)), operation)
            status = 0
        except BaseException:  # noqa: BLE001 - the child tells what it was, and ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    assert os.WEXITSTATUS(status) == 0, "the run failed by itself; its traceback is on stderr"
    return False
