"""Time that stands still until the schedule moves it: the database's clock, the workers' monotonic clock, and ids."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.db.models import DateTimeField, Expression

from django_executors import clock, ids, journal
from django_executors.engine import drive, lease, rows

__all__ = ["SQL_FUNCTION", "VirtualTime"]

SQL_FUNCTION = "virtual_now"
"""Name of the function, on every connection, that gives the time so many seconds from now."""

_START = datetime(2030, 1, 1, tzinfo=UTC)
_PARTS_OF_A_SECOND = 64
"""Time moves in steps that floats hold exactly, so the two clocks never differ by a rounding error."""


_MOMENTS: Any = DateTimeField()


class _Moment(Expression):
    """So many seconds from now, where now is when the statement runs, as with the database's own clock."""

    def __init__(self, after: float) -> None:
        super().__init__(output_field=_MOMENTS)
        self.after = after

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return f"{SQL_FUNCTION}(%s)", [self.after]


# The engine keeps compiled statements, and tells them apart by the expressions in them.
_moment = lru_cache(maxsize=500)(_Moment)


class VirtualTime:
    """Seconds since the schedule began. Every clock that the engine reads shows it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ids = 0
        self.asleep: Any = None
        """Called instead of sleeping; other workers may run meanwhile."""

    def restart(self) -> None:
        """Go back to the beginning, for the next schedule."""
        self.seconds = 0.0
        self._ids = 0

    def advance(self, seconds: float) -> None:
        """Move on by at least so many seconds."""
        self.seconds += math.ceil(seconds * _PARTS_OF_A_SECOND) / _PARTS_OF_A_SECOND

    def text(self, after: float = 0.0) -> str:
        """Return the time so many seconds from now, as SQLite stores it."""
        return str(self.at(after).replace(tzinfo=None))

    def now(self) -> datetime:
        """Return the time."""
        return self.at(0.0)

    def at(self, seconds: float) -> datetime:
        """Return the moment so many seconds from now."""
        return _START + timedelta(seconds=self.seconds + seconds)

    def until(self, text: str) -> float:
        """Return the seconds from now until a time as SQLite stores it."""
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - self.at(0.0)).total_seconds()

    def _random_bytes(self, length: int) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(length, "big")

    def _sleep(self, seconds: float) -> None:
        if self.asleep is not None:
            self.asleep()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the engine read this clock instead of the machine's."""
        machine = SimpleNamespace(
            monotonic=lambda: self.seconds,
            sleep=self._sleep,
            time_ns=lambda: int(self.at(0.0).timestamp() * 1_000_000_000),
        )
        patches = [mock.patch.object(module, "time", machine) for module in (drive, lease, rows, journal, ids)]
        patches += [
            mock.patch.object(ids, "os", SimpleNamespace(urandom=self._random_bytes)),
            mock.patch.object(clock, "from_now", _moment),
            mock.patch.object(clock, "read", self.now),
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()
