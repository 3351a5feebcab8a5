"""How much memory two working processes and what belongs to them take, after they have done some work."""

from __future__ import annotations

from typing import Any

from .measure import memory
from .report import Table, number
from .rivals import Rival
from .stage import stage, wait_until

__all__ = ["measure", "tables"]


def measure(rivals: list[Rival], *, operations: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Run operations and read the sizes of all worker processes, MiB: resident and unique."""
    found = {}
    for rival in rivals:
        with stage(rival, steps) as running:
            first = running.make_items(operations)
            running.client.do("open", first=first, count=operations, steps=steps)
            wait_until(running.is_done, f"{rival.name}: {operations} operations")
            found[rival.name] = memory(running.workers.pids)
            running.client.do("check", items=running.opened, steps=steps)
        print(f"  memory: {rival.name:<24} {sum(uss for _, uss in found[rival.name]):8.0f} MiB unique", flush=True)
    return found


def tables(rivals: list[Rival], found: dict[str, Any]) -> list[Table]:
    """Return the table of a measurement."""
    table = Table(
        "Memory of all worker processes, MiB",
        ("rival", "broker", "processes", "RSS of the largest", "USS of the largest", "RSS, sum", "USS, sum"),
        "RSS counts memory that forked processes share once for each; USS leaves it out. The truth is between the sums.",
    )
    for rival in rivals:
        sizes = found[rival.name]
        table.add(
            rival.title,
            rival.broker or "-",
            str(len(sizes)),
            number(max(rss for rss, _ in sizes)),
            number(max(uss for _, uss in sizes)),
            number(sum(rss for rss, _ in sizes)),
            number(sum(uss for _, uss in sizes)),
        )
    return [table]
