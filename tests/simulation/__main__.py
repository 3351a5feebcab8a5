"""``python -m tests.simulation --schedules 5000 --seed 1``: run schedules, and reduce the first that breaks a promise."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from .batch import simulate

_CHUNK = 250


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate the engine.")
    parser.add_argument("--schedules", type=int, default=2000, help="how many schedules to run")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first; the next ones count on")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share the work")
    arguments = parser.parse_args()

    began = time.perf_counter()
    ends: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    reports: list[str] = []
    last = arguments.seed + arguments.schedules
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        chunks = [
            pool.submit(simulate, first, min(_CHUNK, last - first)) for first in range(arguments.seed, last, _CHUNK)
        ]
        for chunk in as_completed(chunks):
            if chunk.cancelled():
                continue
            ended, made, report = chunk.result()
            ends += ended
            moves += made
            if report:
                reports.append(report)
                print(report, flush=True)
                pool.shutdown(wait=False, cancel_futures=True)
    if reports:
        return 1
    seconds = time.perf_counter() - began
    print(f"{arguments.schedules} schedules from seed {arguments.seed}, {sum(moves.values())} moves, no breach")
    print(f"{seconds:.0f} s, {arguments.schedules / seconds * 60:.0f} schedules a minute")
    print("operations:", ", ".join(f"{number} {state}" for state, number in ends.most_common()))
    print("moves:", ", ".join(f"{number} {name}" for name, number in moves.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
