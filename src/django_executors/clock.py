"""The database's clock: the only clock that leases, timers and claims are compared with.

Workers' own clocks may differ or jump; a comparison is always made by the database. A test can move the clock forward
for this process with `advance`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable, Expression
from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime
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
    shift = _offset + timedelta(seconds=seconds)
    if not shift:
        return Now()
    return ExpressionWrapper(Now() + Value(shift), output_field=DateTimeField())


def read() -> datetime:
    """Ask the database for its current time.

    Returns:
        An aware datetime.
    """
    compiler_sql, params = _now_sql()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {compiler_sql}", params)
        value = cursor.fetchone()[0]
    if isinstance(value, str):
        value = parse_datetime(value)
    if is_naive(value):
        from datetime import UTC

        value = make_aware(value, UTC)
    return value + _offset


def _now_sql() -> tuple[str, list[object]]:
    if connection.vendor == "sqlite":
        return "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')", []
    if connection.vendor == "mysql":
        return "CURRENT_TIMESTAMP(6)", []
    return "STATEMENT_TIMESTAMP()", []
