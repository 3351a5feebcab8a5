"""How long a lone operation takes on idle workers: from the commit of the request to the first step, and to the end."""

from __future__ import annotations

import random
import time
from typing import Any

from .measure import quantile
from .report import Table, number
from .rivals import Rival
from .stage import stage

__all__ = ["measure", "tables"]


def measure(rivals: list[Rival], *, steps: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Open operations one after the other, each when the last one has ended and a moment has passed."""
    found = {}
    for rival in rivals:
        with stage(rival, steps) as running:
            first = running.make_items(repeats)
            runs = []
            for pk in range(first, first + repeats):
                # Not in step with anybody's polling.
                time.sleep(random.uniform(0.05, 0.25))
                runs.append(running.client.do("lone", pk=pk, steps=steps, unfinished=rival.unfinished))
            running.client.do("check", items=running.opened, steps=steps)
            found[rival.name] = runs
        middle = quantile([run["first"] for run in runs], 0.5)
        print(f"  latency: {rival.name:<24} {middle:8.2f} ms to the first step", flush=True)
    return found


def tables(rivals: list[Rival], found: dict[str, Any]) -> list[Table]:
    """Return the table of a measurement."""
    table = Table(
        "Latency of a lone operation, ms from the commit of the request",
        ("rival", "broker", "first step p50", "p95", "min-max", "end p50", "p95", "min-max"),
    )
    for rival in rivals:
        cells = []
        for key in ("first", "end"):
            values = [run[key] for run in found[rival.name]]
            cells += [number(quantile(values, 0.5)), number(quantile(values, 0.95))]
            cells.append(f"{number(min(values))}-{number(max(values))}")
        table.add(rival.title, rival.broker or "-", *cells)
    return [table]
