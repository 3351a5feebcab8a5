"""The database's clock: the only clock that leases, timers and claims are compared with.

Workers' own clocks may differ or jump; a comparison is always made by the database. A test can move the clock forward
for this process with `advance`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable, Expression
from django.db.models.functions import Now
from django.utils.timezone import is_naive, make_aware

__all__ = ["advance", "from_now", "now", "read"]

_offset = timedelta()


def advance(seconds: float) -> None:
    """Move the clock of this process forward; for tests."""
    global _offset
    _offset += timedelta(seconds=seconds)


def reset() -> None:
    """Undo every `advance`."""
    global _offset
    _offset = timedelta()


def now() -> Combinable:
    """Return an expression for the database's current time."""
    return from_now(0.0)


def from_now(seconds: float) -> Expression:
    """Return an expression for the database's current time plus ``seconds``."""
    return _shifted(_offset + timedelta(seconds=seconds))


@lru_cache(maxsize=500)  # always the same object for the same time: statements are cached by what they consist of
def _shifted(shift: timedelta) -> Expression:
    return ExpressionWrapper(Now() + Value(shift), output_field=DateTimeField()) if shift else Now()


def read() -> datetime:
    """Ask the database for its current time.

    Returns:
        An aware datetime.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_now_sql()}")
        found = cursor.fetchone()[0]
    value = found if isinstance(found, datetime) else datetime.fromisoformat(str(found))
    return (make_aware(value, UTC) if is_naive(value) else value) + _offset


def _now_sql() -> str:
    if connection.vendor == "sqlite":
        return "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')"
    if connection.vendor == "mysql":
        return "CURRENT_TIMESTAMP(6)"
    return "STATEMENT_TIMESTAMP()"
