"""What a request pays that opens many operations: all in one transaction, or one by one. No worker runs meanwhile."""

from __future__ import annotations

from typing import Any

from .measure import Spread
from .report import Table, number
from .rivals import Rival
from .stage import Client, StageFailed, backstage, wait_until

__all__ = ["measure", "tables"]


def measure(rivals: list[Rival], *, operations: int, steps: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Open so many operations in one request, and again in requests of their own; count what then waits."""
    found: dict[str, list[dict[str, float]]] = {rival.name: [] for rival in rivals}
    for turn in range(rounds):
        for rival in rivals if turn % 2 == 0 else reversed(rivals):
            with backstage(rival) as client:
                client.do("prepare")
                client.do("items", first=1, count=2 * operations + 10)
                client.do("open", first=2 * operations + 1, count=10, steps=steps)  # imports, connects
                together = client.do("open_at_once", first=1, count=operations, steps=steps)
                alone = client.do("open", first=operations + 1, count=operations, steps=steps)
                _expect(client, rival, 2 * operations + 10)
                client.do("prepare")
            found[rival.name].append(
                {
                    "operations": operations,
                    "together": together["seconds"],
                    "together_cpu": together["cpu"],
                    "alone": alone["seconds"],
                }
            )
            print(f"  opening: {rival.name:<24} {together['seconds']:8.2f} s together", flush=True)
    return found


def _expect(client: Client, rival: Rival, opened: int) -> None:
    """Wait until all that was opened waits: a broker may say so a moment later."""
    wait_until(lambda: client.do("waiting") >= opened, f"{rival.name}: {opened} waiting operations", 10)
    waiting = client.do("waiting")
    if waiting != opened:
        raise StageFailed(f"{rival.name}: {opened} operations were opened, {waiting} wait")


def tables(rivals: list[Rival], found: dict[str, Any]) -> list[Table]:
    """Return the table of a measurement."""
    counts = {run["operations"] for runs in found.values() for run in runs}
    table = Table(
        f"Opening {', '.join(f'{count:,}' for count in sorted(counts))} operations, seconds",
        ("rival", "broker", "one request", "min-max", "x chain", "its CPU", "a request each", "min-max", "x chain"),
    )
    for rival in rivals:
        mine = {key: Spread.of([run[key] for run in found[rival.name]]) for key in found[rival.name][0]}
        base = found.get(rival.baseline)

        def ratio(key: str, mine: dict[str, Spread] = mine, base: Any = base) -> str:
            return f"{mine[key].median / Spread.of([run[key] for run in base]).median:.2f}" if base else "-"

        one, each = mine["together"], mine["alone"]
        table.add(
            rival.title,
            rival.broker or "-",
            number(one.median),
            f"{number(one.least)}-{number(one.most)}",
            ratio("together"),
            number(mine["together_cpu"].median),
            number(each.median),
            f"{number(each.least)}-{number(each.most)}",
            ratio("alone"),
        )
    return [table]
