"""Database connections that live across messages: a new one costs more than most steps."""

from __future__ import annotations

from django.db import connections

__all__ = ["check_connections"]


def check_connections() -> None:
    """Make this thread's open connections fit for the next operation.

    One that is broken, or that somebody left without autocommit, is closed; the next query opens another. Where
    ``CONN_MAX_AGE`` is 0, Django's default, it is kept for good, since no request ends here; another age is respected.
    A connection that the server has closed meanwhile is found by a check before its first query.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue  # the caller's own transaction: not a message, but a test or a call with is_async=False
        if not connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_at = None
        connection.health_check_enabled = True  # type: ignore[attr-defined]
        connection.close_if_unusable_or_obsolete()
