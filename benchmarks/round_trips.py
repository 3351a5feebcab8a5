"""How often a step goes to the database, counted on the wire: libpq writes down every message."""

from __future__ import annotations

import re
from typing import Any

from .report import Table
from .rivals import Rival
from .stage import backstage

__all__ = ["measure", "tables"]

_SHORT, _LONG = 4, 8
_OWN = 2
"""Round trips of the step's own work: it loads a row and updates it."""


def measure(rival: Rival) -> dict[str, dict[str, list[str]]]:
    """Drive a short and a long operation of each kind of step; the difference is what steps cost, the rest is paid once."""
    with backstage(rival, "benchmarks.inside") as inside:
        return {
            kind: {str(steps): inside.do("wire", steps=steps, plain=kind == "plain") for steps in (_SHORT, _LONG)}
            for kind in ("row-only", "plain")
        }


def tables(found: dict[str, Any]) -> list[Table]:
    """Return the table of a measurement, and all that was sent for one operation."""
    sizes = sorted(map(int, found["plain"]))
    table = Table(
        "Round trips to the database, BEGIN and COMMIT included",
        ("steps", "per step", "of these its own work", "the engine's", "once per operation"),
        f"From operations of {sizes[0]} and of {sizes[1]} steps, with a success path and the state transition in it.",
    )
    listing = []
    for kind, trips in found.items():
        short, long = (len(trips[str(size)]) for size in sizes)
        each = (long - short) / (sizes[1] - sizes[0])
        table.add(kind, f"{each:.1f}", str(_OWN), f"{each - _OWN:.1f}", f"{short - each * sizes[0]:.1f}")
        counts: dict[str, int] = {}
        for sent in trips[str(sizes[0])]:
            # Without quotes and values, so that the same statement is one line.
            words = re.sub(r"\d[\d.]*", "n", sent.replace('"', ""))
            short_text = words if len(words) < 70 else f"{words[:67]}..."
            counts[short_text] = counts.get(short_text, 0) + 1
        for sent, count in counts.items():
            listing.append((kind, sent, str(count)))
    sent_table = Table(f"What an operation of {sizes[0]} steps sends", ("steps", "statement", "times"))
    for row in listing:
        sent_table.add(*row)
    return [table, sent_table]
