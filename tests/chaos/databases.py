"""Databases of our own, each with one database ``chaos``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

from tests.chaos.servers import Server, program

__all__ = ["Database", "MariaDB", "PostgreSQL"]


class Database(Server):
    """A server with one database, ``chaos``."""

    protocol: ClassVar[str] = ""


class PostgreSQL(Database):
    name = "PostgreSQL"
    user = "postgres"
    protocol = "postgres"
    stop_signals = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

    def find_programs(self) -> None:
        newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        places = list(reversed(newest))
        self.initdb = program("initdb", "postgresql", *places)
        self.postgres = program("postgres", "postgresql", *places)

    def prepare(self) -> None:
        self.run(self.initdb, "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def command(self) -> list[str]:
        # Processes are killed here, not the machine: what the kernel has is safe, so nothing is forced to the disk.
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "60",
        }
        return [
            self.postgres,
            "-D",
            "data",
            "-p",
            str(self.port),
            *(f"-c{key}={value}" for key, value in options.items()),
        ]

    def answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self._dsn("postgres"), connect_timeout=3, autocommit=True) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'chaos'").fetchone() is None:
                    connection.execute("CREATE DATABASE chaos")
        except psycopg.Error:
            return False
        return True

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def version(self) -> str:
        return self.run(self.postgres, "--version").rpartition(") ")[2].partition(" ")[0]

    def url(self, port: int | None = None) -> str:
        return f"postgres://postgres@127.0.0.1:{port or self.port}/chaos"


class MariaDB(Database):
    name = "MariaDB"
    user = "mysql"
    protocol = "mysql"

    def find_programs(self) -> None:
        self.mariadbd = program("mariadbd", "mariadb-server")
        self.install_db = program("mariadb-install-db", "mariadb-server")

    def prepare(self) -> None:
        self.run(
            self.install_db,
            "--no-defaults",
            f"--datadir={self.directory}/data",
            "--auth-root-authentication-method=normal",
        )

    def command(self) -> list[str]:
        return [
            self.mariadbd,
            "--no-defaults",
            f"--datadir={self.directory}/data",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--socket=mariadb.sock",
            f"--pid-file={self.directory}/pid",
            # Handed to the kernel at each commit, which is enough when no machine dies.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-lock-wait-timeout=10",
            "--max-connections=60",
        ]

    def answers(self) -> bool:
        import pymysql

        try:
            connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=3)
            try:
                connection.cursor().execute("CREATE DATABASE IF NOT EXISTS chaos CHARACTER SET utf8mb4")
            finally:
                connection.close()
        except pymysql.Error:
            return False
        return True

    def version(self) -> str:
        return self.run(self.mariadbd, "--no-defaults", "--version").partition("Ver ")[2].partition("-")[0]

    def url(self, port: int | None = None) -> str:
        return f"mysql://root@127.0.0.1:{port or self.port}/chaos"
