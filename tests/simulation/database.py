"""A SQLite file of the simulation's own: a connection per thread for the engine, and one that reads what is committed."""

from __future__ import annotations

import copy
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from .virtual_time import SQL_FUNCTION, VirtualTime

__all__ = ["Database"]

_APPS = ("contenttypes", "django_executors", "testapp")
_KEPT = ("django_content_type", "sqlite_sequence")


class _Connection(DatabaseWrapper):
    """A connection whose clock is the simulation's."""

    time: VirtualTime

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.connection.create_function(SQL_FUNCTION, 1, self.time.text)
        # A simulation kills threads, not the machine: nothing needs to reach a disk.
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")


class Database:
    """Where the engine of a simulation writes, whatever database the rest of the tests run on."""

    def __init__(self, directory: str, time: VirtualTime) -> None:
        self._time = time
        self.path = Path(directory) / "simulation.sqlite3"
        self._settings = copy.deepcopy(connections.settings["default"])
        self._settings |= {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.path), "OPTIONS": {"timeout": 1}}

    @classmethod
    @contextmanager
    def opened(cls, time: VirtualTime) -> Iterator[Database]:
        """Make a database, and let this thread's engine work on it during the block."""
        memory = Path("/dev/shm")
        ContentType.objects.clear_cache()  # ids of another database
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
            database = cls(directory, time)
            with database.used_here() as connection:
                with connection.schema_editor() as editor:
                    for label in _APPS:
                        for model in apps.get_app_config(label).get_models():
                            editor.create_model(model)
                # As after a migration: a transaction that is rolled back must not be the one that makes them.
                ContentType.objects.get_for_models(*apps.get_app_config("testapp").get_models())
                database._prepare_reset(connection)
                database._reader = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)
                try:
                    yield database
                finally:
                    database._reader.close()
        ContentType.objects.clear_cache()

    @contextmanager
    def used_here(self) -> Iterator[DatabaseWrapper]:
        """Make this the default database of this thread during the block."""
        before = getattr(connections._connections, "default", None)
        connection = _Connection(self._settings, "default")
        connection.time = self._time
        connections["default"] = connection
        try:
            connection.ensure_connection()
            yield connection
        finally:
            connection.close()
            if before is None:
                del connections["default"]
            else:
                connections["default"] = before

    def _prepare_reset(self, connection: DatabaseWrapper) -> None:
        tables = [table for table in connection.introspection.table_names() if table not in _KEPT]
        # Numbers begin at 1 again, so that a schedule does the same wherever it runs.
        deletions = [f"DELETE FROM {table}" for table in tables] + ["DELETE FROM sqlite_sequence"]
        self._reset = "PRAGMA foreign_keys=OFF; BEGIN;" + ";".join(deletions) + "; COMMIT; PRAGMA foreign_keys=ON;"

    def reset(self) -> None:
        """Delete all rows; called by the thread that runs the schedule."""
        connection = connections["default"]
        connection.ensure_connection()
        connection.connection.executescript(self._reset)

    def version(self) -> int:
        """Return a number that changes with every commit."""
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])

    def committed(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return rows as every other process would see them now."""
        return self._reader.execute(sql, parameters).fetchall()
