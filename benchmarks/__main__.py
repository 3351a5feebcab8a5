"""``python -m benchmarks [QUESTION…] [options]``: asks some or all of the questions and prints tables."""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import growth, latency, memory, opening, place, profile, report, rivals, round_trips, throughput
from .stage import StageFailed, build_template, clean_up

QUESTIONS = ("throughput", "latency", "opening", "memory", "growth", "round_trips")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"{', '.join(QUESTIONS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="few operations, one round: to see whether it works")
    parser.add_argument("--only", default="", metavar="NAMES", help="rivals, by name or its beginning, with commas")
    parser.add_argument("--rounds", type=int, help="how often each rival runs, by default 3")
    parser.add_argument("--operations", type=int, help="of a throughput run, by default 500")
    parser.add_argument("--steps", type=int, default=10, help="steps of an operation, by default 10")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all single measurements; questions in it that are not asked now stay",
    )
    parser.add_argument("--write-readme", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="watch a worker of the first rival with py-spy instead"
    )
    arguments = parser.parse_args()
    arguments.questions = [question.replace("-", "_") for question in arguments.questions] or list(QUESTIONS)
    unknown = set(arguments.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.operations = arguments.operations or (60 if arguments.quick else 500)
    try:
        arguments.rivals = rivals.chosen(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _ask(question: str, arguments: argparse.Namespace) -> Any:
    """Ask one question; returns all measurements, as JSON can hold them."""
    quick, steps = arguments.quick, arguments.steps
    queued = [rival for rival in arguments.rivals if not rival.name.startswith("limit-")]
    ours = next(rival for rival in rivals.RIVALS if rival.name == "ours-rabbitmq")
    if question == "throughput":
        return throughput.measure(
            arguments.rivals, operations=arguments.operations, steps=steps, rounds=arguments.rounds
        )
    if question == "latency":
        return latency.measure(queued, steps=steps, repeats=10 if quick else 50)
    if question == "opening":
        return opening.measure(queued, operations=100 if quick else 1000, steps=steps, rounds=arguments.rounds)
    if question == "memory":
        return memory.measure(queued, operations=20 if quick else 100, steps=steps)
    if question == "growth":
        return growth.measure(ours, repeats=10 if quick else 50, sizes=(1_000, 5_000) if quick else growth.SIZES)
    return round_trips.measure(ours)


def _tables(question: str, found: Any) -> list[report.Table]:
    """Return the tables of a question's measurements."""
    if question == "growth":
        return growth.tables(found)
    if question == "round_trips":
        return round_trips.tables(found)
    took_part = [rival for rival in rivals.RIVALS if rival.name in found]
    each = {"throughput": throughput, "latency": latency, "opening": opening, "memory": memory}[question]
    return each.tables(took_part, found)


def _profile(arguments: argparse.Namespace) -> None:
    rival = arguments.rivals[0]
    file = arguments.profile.resolve()
    stacks = profile.measure(rival, operations=arguments.operations, steps=arguments.steps, file=file)
    print("\n" + "\n".join(table.text() for table in profile.tables(rival, stacks)))


def _run(arguments: argparse.Namespace) -> int:
    about = report.machine()
    print("\n".join(about), flush=True)
    results: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    try:
        build_template(arguments.rivals)
        if arguments.profile:
            _profile(arguments)
            return 0
        for question in arguments.questions:
            began = time.monotonic()
            found = _ask(question, arguments)
            what = f"{arguments.operations} operations of {arguments.steps} steps, {arguments.rounds} rounds"
            minutes = (time.monotonic() - began) / 60
            results[question] = {"about": [*about, f"{what}, {minutes:.0f} minutes"], "found": found}
            print("\n" + "\n".join(table.text() for table in _tables(question, found)), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1))
    except StageFailed as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        clean_up()
    if arguments.write_readme:
        parts = [
            (results[name]["about"], _tables(name, results[name]["found"])) for name in QUESTIONS if name in results
        ]
        report.write_readme(place.ROOT / "benchmarks" / "README.md", parts)
    return 0


def main() -> int:
    """Run; returns the exit status."""
    arguments = _arguments()
    # Like an interrupt: the workers are taken down and the database is dropped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (Path(tempfile.gettempdir()) / "django-executors-bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another benchmark on this machine", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return _run(arguments)


if __name__ == "__main__":
    sys.exit(main())
