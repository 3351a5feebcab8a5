"""Whether a step costs the same with many open operations in the tables as with few: times and plans at several sizes."""

from __future__ import annotations

import re
from typing import Any

from .measure import Spread
from .report import Table, number
from .rivals import Rival
from .stage import StageFailed, backstage

__all__ = ["SIZES", "measure", "tables"]

SIZES = (1_000, 10_000, 100_000)
_KINDS = ("claim", "load the steps", "record: operation", "record: step", "dispatch")


def measure(rival: Rival, *, repeats: int, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Fill the tables to each size, then drive and dispatch.

    Raises:
        StageFailed: One of the statements reads a whole table.
    """
    found = []
    with backstage(rival, "benchmarks.inside") as inside:
        for size, old in [*((size, False) for size in sizes), (sizes[-1], True)]:
            if old:
                inside.do("hold_snapshot")
            else:
                inside.do("grow", count=size)
            times = inside.do("times", repeats=repeats)
            plans = inside.do("plans")
            missing = set(_KINDS) - set(plans)
            if missing:
                raise StageFailed(f"the engine sent no statement of the kind {', '.join(sorted(missing))}")
            for kind, plan in plans.items():
                if any("Seq Scan on django_executors_" in line for line in plan["plan"]):
                    text = "\n".join(plan["plan"])
                    raise StageFailed(f"{kind} reads a whole table with {size:,} open operations:\n{text}")
            label = f"{size:,}" if not old else f"{size:,}, old view"
            found.append({"size": label, "times": times, "plans": plans})
            print(f"  growth: {label} open operations", flush=True)
    return found


def tables(found: list[dict[str, Any]]) -> list[Table]:
    """Return the tables of a measurement: times, and plans in short."""
    sizes = [each["size"] for each in found]
    times = Table(
        "Growth: milliseconds with so many open operations in the tables",
        ("what", *(cell for size in sizes for cell in (f"{size} p50", "min-max")), "largest / smallest"),
        "Each statement as the engine sent it, its round trip included. Old view: another session held a snapshot meanwhile.",
    )
    for kind in found[0]["times"]:
        spreads = [Spread.of(each["times"][kind]) for each in found]
        cells = [cell for s in spreads for cell in (number(s.median), f"{number(s.least)}-{number(s.most)}")]
        times.add(kind, *cells, f"{spreads[-2].median / spreads[0].median:.2f}")
    plans = Table(
        "Growth: plans, by EXPLAIN (ANALYZE, BUFFERS) of the engine's own statements",
        ("statement", "open operations", "scans", "pages", "ms"),
    )
    for kind in _KINDS:
        for each in found:
            lines = each["plans"][kind]["plan"]
            plans.add(kind, each["size"], scans(lines), f"{pages(lines):,}", number(milliseconds(lines)))
    return [times, plans]


def scans(plan: list[str]) -> str:
    """Return the scans of a plan, with their indexes."""
    found = []
    for line in plan:
        match = re.search(r"((?:\w+ )*Scan)(?: using (\S+))?(?: on (\S+))?", line)
        if match:
            found.append(f"{match[1]} {match[2] or match[3]}")
    return ", ".join(dict.fromkeys(found)) or "none"


def pages(plan: list[str]) -> int:
    """Return how many pages the whole plan touched."""
    for line in plan:
        if "Buffers:" in line:
            shared = line.partition("shared")[2]
            return sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", shared))
    return 0


def milliseconds(plan: list[str]) -> float:
    """Return the execution time."""
    for line in plan:
        if line.startswith("Execution Time:"):
            return float(line.split()[2])
    return 0.0
