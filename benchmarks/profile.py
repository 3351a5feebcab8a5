"""Where the time of this engine's workers goes: py-spy watches one of them from outside while it works.

The file has one line per stack, "frame;frame;frame count"; speedscope and flamegraph.pl open it as it is.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

from .measure import tree_cpu
from .report import Table
from .rivals import Rival
from .stage import Stage, StageFailed, stage, wait_until

__all__ = ["measure", "tables"]

_HERTZ = 250


def measure(rival: Rival, *, operations: int, steps: int, file: Path) -> Counter[tuple[str, ...]]:
    """Profile the busiest worker process while many operations run; returns how often each stack was seen.

    Args:
        file: Where the stacks go.

    Raises:
        StageFailed: py-spy could not watch the process.
    """
    with stage(rival, steps) as running:
        first = running.make_items(operations)
        with running.held():
            running.client.do("open", first=first, count=operations, steps=steps)
        pid = _busiest(running)
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--rate", str(_HERTZ)]
        watcher = subprocess.Popen(
            [*command, "--format", "raw", "--output", str(file), "--duration", "3600"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(running.is_done, f"{rival.name}: {operations} operations")
        finally:
            watcher.send_signal(2)  # it writes its file when it is interrupted
            said = watcher.communicate(timeout=60)[0]
        running.client.do("check", items=running.opened, steps=steps)
    if not file.exists():
        raise StageFailed(f"py-spy wrote nothing: {said}")
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in file.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def _busiest(running: Stage) -> int:
    """The process that used most CPU time so far: a pool's child, not its parent."""
    pids = [child.pid for pid in running.workers.pids for child in psutil.Process(pid).children(recursive=True)]
    return max(pids or running.workers.pids, key=lambda pid: tree_cpu([pid]))


def tables(rival: Rival, stacks: Counter[tuple[str, ...]], most: int = 25) -> list[Table]:
    """Return the functions with the largest shares, by their own time and with all that they call."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    # Other threads (heartbeat) sleep, which py-spy cannot always tell from work.
    main_thread = Counter({stack: count for stack, count in stacks.items() if "threading.py" not in stack[0]})
    for stack, count in main_thread.items():
        names = [frame.rpartition(":")[0] + ")" if frame[-2:-1].isdigit() else frame for frame in stack]
        own[names[-1]] += count
        total.update(dict.fromkeys(names, count))
    every = sum(main_thread.values())
    for name, count in list(total.items()):
        if count > 0.98 * every:
            del total[name]  # the way into the task, the same for all
    found = []
    for title, counts in (("own time", own), ("time with all it calls", total)):
        table = Table(f"Profile of a worker of {rival.name}: {title}", ("function", "%", "samples"))
        for name, count in counts.most_common(most):
            table.add(name, f"{100 * count / every:.1f}", str(count))
        found.append(table)
    return found
