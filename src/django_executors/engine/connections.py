"""Database connections that live across messages: a new one costs more than most steps.

What a step leaves behind on one must not reach the next commit.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import connections

__all__ = ["check_connections", "close_left_open"]

_TRUSTED_SECONDS = 1.0


def check_connections() -> None:
    """Make this thread's open connections fit for the next operation.

    One that is broken, or that somebody left without autocommit, is closed; the next query opens another. Where
    ``CONN_MAX_AGE`` is 0, Django's default, it is kept for good, since no request ends here; another age is respected.
    A connection that the server has closed meanwhile is found by a check before its first query; under load, when messages
    follow each other closely, at most once a second.
    """
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue  # the caller's own transaction: not a message, but a test or a call with is_async=False
        if not connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_at = None
        idle = now - getattr(connection, "_executors_checked_at", 0.0) > _TRUSTED_SECONDS
        connection.health_check_enabled = idle  # type: ignore[attr-defined]
        if idle:
            connection._executors_checked_at = now  # type: ignore[attr-defined]
        connection.close_if_unusable_or_obsolete()


def close_left_open() -> list[str]:
    """Close this thread's connections on which somebody left a transaction open; return their names.

    What was written in such a transaction is rolled back.
    """
    left = []
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.autocommit or _in_transaction(connection):
            # Not close(): inside an atomic block it would wait for the block to end, which nobody ends any more.
            connection.in_atomic_block = False
            connection.close()
            left.append(connection.alias)
    return left


_OPEN = (1, 2, 3)
"""libpq's numbers: active, in a transaction, in a failed transaction."""


def _in_transaction(connection: Any) -> bool:
    """Ask the driver whether a transaction was begun behind Django's back; without a round trip."""
    raw = connection.connection
    if connection.vendor == "postgresql":
        info = getattr(raw, "info", None)
        return info is not None and int(info.transaction_status) in _OPEN
    if connection.vendor == "mysql":
        return bool(getattr(raw, "server_status", 0) & 1)
    return bool(getattr(raw, "in_transaction", False))
