"""CPU time and memory of processes, read from /proc; medians of several rounds."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Spread", "Usage", "memory", "quantile", "server_process", "tree_cpu", "usage"]

_TICK = os.sysconf("SC_CLK_TCK")


def server_process(port: int) -> int | None:
    """Return the process id of the server that listens on a TCP port of this machine; None when we may not see it."""
    for found in psutil.net_connections(kind="tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
            return int(found.pid)
    return None


def _cpu(pid: int) -> float:
    """CPU seconds of a process and of those children of it that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # utime, stime, cutime, cstime; the list starts at field 3.
    return sum(map(int, fields[11:15])) / _TICK


def _tree(pids: Iterable[int]) -> list[int]:
    found: list[int] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found += [pid, *(child.pid for child in process.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue
    return found


def tree_cpu(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, of processes and all their descendants, the ended ones included.

    A PostgreSQL backend lives as long as its connection: the short ones count through the postmaster that reaped them.
    """
    return sum(_cpu(pid) for pid in _tree(pids))


def memory(pids: Iterable[int]) -> list[tuple[float, float]]:
    """Resident and unique set size of each process in these trees, MiB."""
    sizes = []
    for pid in _tree(pids):
        info = psutil.Process(pid).memory_full_info()
        sizes.append((info.rss / 2**20, info.uss / 2**20))
    return sizes


@dataclass(frozen=True)
class Usage:
    """CPU seconds spent so far: by the workers, by the database, by the broker, and by the whole machine."""

    workers: float
    database: float
    broker: float
    machine: float

    def since(self, before: Usage) -> Usage:
        """Return what was spent between two readings."""
        return Usage(
            self.workers - before.workers,
            self.database - before.database,
            self.broker - before.broker,
            self.machine - before.machine,
        )


def usage(workers: Iterable[int], database: int | None, broker: int | None) -> Usage:
    """Read the CPU time of a run's parties."""
    busy = psutil.cpu_times()
    machine = busy.user + busy.nice + busy.system + busy.irq + busy.softirq + busy.steal
    servers = [tree_cpu([pid]) if pid else 0.0 for pid in (database, broker)]
    return Usage(tree_cpu(workers), *servers, machine)


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several measurements of one thing."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` of the values lie, of 1; the nearest one that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
