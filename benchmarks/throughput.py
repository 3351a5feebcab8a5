"""How many steps a second, and how much CPU time each costs: many operations, two worker processes, nothing else to do.

The workers are up, warm and held (SIGSTOP) while the operations are opened; the clock runs from their release to the end of
the last operation. So nobody gains by a slow client, and starting up costs nobody anything.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass

from .measure import Spread
from .report import Table, number
from .rivals import Rival
from .stage import stage, wait_until

__all__ = ["Run", "measure", "once", "tables"]


@dataclass(frozen=True)
class Run:
    """One run of one rival."""

    rate: float
    """Steps a second."""
    workers: float
    """CPU milliseconds of all worker processes per step."""
    database: float
    """CPU milliseconds of the PostgreSQL server per step."""
    broker: float
    """CPU milliseconds of the broker per step."""
    others: float
    """Share of the machine that somebody else used meanwhile, of 1."""
    connections: int
    """Database connections opened during the run."""
    transactions: float
    """Transactions per step."""


def once(rival: Rival, operations: int, steps: int) -> Run:
    """Run a rival once.

    Raises:
        StageFailed: It did not do the work, or did it wrong.
    """
    with stage(rival, steps) as running:
        first = running.make_items(operations)
        sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        with running.held():
            running.client.do("open", first=first, count=operations, steps=steps)
            time.sleep(1.1)  # PostgreSQL's backends publish their counts once a second
            opened, committed, polls = running.value(sessions), running.value(commits), running.polls
            before, began = running.read(), time.perf_counter()
        wait_until(running.is_done, f"{rival.name}: {operations} operations")
        seconds = time.perf_counter() - began
        used = running.read().since(before)
        running.client.do("check", items=running.opened, steps=steps)
        running.workers.stop()  # its backends publish their last counts when they end
        time.sleep(0.2)
        done = operations * steps
        ours = used.workers + used.database + used.broker
        return Run(
            rate=done / seconds,
            workers=used.workers * 1000 / done,
            database=used.database * 1000 / done,
            broker=used.broker * 1000 / done,
            others=max(0.0, used.machine - ours) / (seconds * (os.cpu_count() or 1)),
            connections=running.value(sessions) - opened,
            transactions=(running.value(commits) - committed - (running.polls - polls)) / done,
        )


def measure(rivals: list[Rival], *, operations: int, steps: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run every rival once per round, in turn, so that a slow hour of the machine hits them all."""
    runs: dict[str, list[dict[str, float]]] = {rival.name: [] for rival in rivals}
    for turn in range(rounds):
        for rival in rivals if turn % 2 == 0 else reversed(rivals):
            run = once(rival, operations, steps)
            runs[rival.name].append(asdict(run))
            print(
                f"  round {turn + 1}: {rival.name:<24} {run.rate:8.0f} steps/s  {run.workers:6.2f} ms CPU", flush=True
            )
    return runs


def tables(rivals: list[Rival], runs: dict[str, list[dict[str, float]]]) -> list[Table]:
    """Return the table of a measurement."""
    table = Table(
        "Throughput",
        (
            "rival",
            "broker",
            "steps/s",
            "min-max",
            "x chain",
            "worker CPU ms/step",
            "min-max",
            "chain / it",
            "database CPU",
            "broker CPU",
            "transactions/step",
            "connections",
            "others' CPU %",
        ),
        "CPU in ms per step. Others: what somebody else used of the machine meanwhile; above 10 the run was disturbed.",
    )
    for rival in rivals:
        mine = {key: Spread.of([run[key] for run in runs[rival.name]]) for key in runs[rival.name][0]}
        rate, cpu = mine["rate"], mine["workers"]
        base = runs.get(rival.baseline)
        rate_base = Spread.of([run["rate"] for run in base]).median if base else None
        cpu_base = Spread.of([run["workers"] for run in base]).median if base else None
        table.add(
            rival.title,
            rival.broker or "-",
            number(rate.median),
            f"{number(rate.least)}-{number(rate.most)}",
            f"{rate.median / rate_base:.2f}" if rate_base else "-",
            number(cpu.median),
            f"{number(cpu.least)}-{number(cpu.most)}",
            f"{cpu_base / cpu.median:.2f}" if cpu_base else "-",
            number(mine["database"].median),
            number(mine["broker"].median),
            number(mine["transactions"].median),
            f"{mine['connections'].median:.0f}",
            f"{mine['others'].median * 100:.0f}",
        )
    return [table]
