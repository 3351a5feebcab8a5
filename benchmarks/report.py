"""Aligned tables for people, and the line that says what they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psycopg

from . import place

__all__ = ["Table", "machine", "number", "write_readme"]


def number(value: float) -> str:
    """Write a figure with three digits that matter, and never more than that."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


class Table:
    """Rows of text under a title."""

    def __init__(self, title: str, columns: tuple[str, ...], note: str = "") -> None:
        self.title = title
        self.columns = columns
        self.note = note
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: str) -> None:
        """Add a row of cells; columns of figures are aligned to the right."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells in a table of {len(self.columns)} columns")
        self.rows.append(cells)

    def text(self) -> str:
        """Return the table, aligned."""
        texts = [all(row[i][:1].isalpha() or row[i] == "-" for row in self.rows) for i in range(1, len(self.columns))]
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]

        def line(cells: tuple[str, ...]) -> str:
            first, *others = cells
            padded = [first.ljust(widths[0])]
            for cell, width, is_text in zip(others, widths[1:], texts, strict=True):
                padded.append(cell.ljust(width) if is_text else cell.rjust(width))
            return "  ".join(padded).rstrip()

        body = [line(self.columns), line(tuple("-" * width for width in widths)), *map(line, self.rows)]
        note = [self.note] if self.note else []
        return "\n".join([self.title, "", *body, *note, ""])


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine() -> list[str]:
    """Say which machine, which versions and which sources this is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with psycopg.connect(f"{place.POSTGRES_URL}/postgres") as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync')"
        ).fetchone()
    assert row is not None
    packages = ("django", "celery", "kombu", "psycopg", "redis", "dbos", "procrastinate", "dramatiq")
    git = ("git", "-C", str(place.SOURCES))
    changed = "+changes" if _output(*git, "status", "--porcelain", "--untracked-files=no", ".") else ""
    system = f"{platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f} at the start"
    return [
        f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB, {system}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages),
        f"PostgreSQL {row[0]} (synchronous_commit {row[1]}, fsync {row[2]}), RabbitMQ {_rabbitmq()}, Redis {_redis()}",
        f"engine: {_output(*git, 'rev-parse', '--short', 'HEAD')}{changed}",
    ]


def _rabbitmq() -> str:
    return _output("rabbitmqctl", "--quiet", "version")


def _redis() -> str:
    import redis

    try:
        return str(redis.Redis.from_url(place.BROKER_URLS["redis"]).info("server")["redis_version"])
    except redis.RedisError:
        return "?"


_BEGIN = "<!-- tables: written by python -m benchmarks --write-readme -->"
_END = "<!-- end of the tables -->"


def write_readme(readme: Path, parts: list[tuple[list[str], list[Table]]]) -> None:
    """Put tables between the marks of the README, each group of them behind what it was measured on.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = readme.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the marks {_BEGIN} and {_END}")
    blocks: list[str] = []
    said: list[str] = []
    for about, tables in parts:
        if about[:-1] != said:
            blocks += ["```text", *about, "```", ""]
            said = about[:-1]
        for table in tables:
            title, _, body = table.text().partition("\n\n")
            blocks += [f"### {title}", "", "```text", body.rstrip(), "```", ""]
    readme.write_text("\n".join([before + _BEGIN, "", *blocks, _END]) + after)
