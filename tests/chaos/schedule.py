"""What goes wrong, how often, and when: all of it follows from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["ALONE", "CLOUD_FAULTS", "WORLD_FAULTS", "Event", "schedule"]

WORLD_FAULTS = {
    "child killed": 3,
    "child killed alone": 2,
    "process group killed alone": 1,
    "worker killed": 1,
    "process group killed": 1,
    "children stopped past their lease": 3,
    "worker replaced": 1,
    "broker flushed": 1,
    "broker restarted": 1,
    "messages duplicated": 3,
    "database restarted": 1,
    "database crashed": 1,
    "connections cut": 3,
    "commit answers lost": 4,
}
"""What happens to workers, broker and database, and how often in one round."""

ALONE = frozenset({"child killed alone", "process group killed alone"})
"""Faults that measure how long a takeover takes: nothing else goes wrong and nothing is opened until it has happened."""

CREATES = r"/(servers|volumes|ports|floatingips|os-volume_attachments)(\.json)?$"

CLOUD_FAULTS: dict[str, tuple[float, dict[str, Any]]] = {
    "answer lost after the work": (0.06, {"method": "POST", "path": CREATES, "lose_answer": True}),
    "answer lost": (0.005, {"lose_answer": True}),
    "no answer in time": (0.02, {"method": "POST", "path": CREATES, "answer_delay": 3.0}),
    "connection closed": (0.01, {"drop_before": True}),
    "HTTP 500": (0.01, {"status": 500}),
    "HTTP 503": (0.01, {"status": 503}),
    "HTTP 429": (0.01, {"status": 429, "retry_after": 1}),
    "server in ERROR": (0.05, {"method": "POST", "path": r"/servers$", "error_state": "No valid host was found."}),
    "volume in ERROR": (0.05, {"method": "POST", "path": r"/volumes$", "error_state": "No weighed backends available"}),
}
"""What the cloud does, to which part of the requests that fit, and the simulator's words for it."""


@dataclass(frozen=True)
class Event:
    """One entry of the schedule: seconds after the one before, what, and a number from 0 to 1 that decides the rest."""

    after: float
    kind: str
    choice: float


def schedule(seed: str, kinds: dict[str, int], pause: float) -> Iterator[Event]:
    """Yield events for ever: in rounds, each with every kind as often as wanted, in an order of its own.

    Args:
        pause: Mean seconds between two events.
    """
    chance = random.Random(seed)
    while True:
        round_ = [kind for kind, times in kinds.items() for _ in range(times)]
        chance.shuffle(round_)
        for kind in round_:
            yield Event(pause * (0.5 + chance.random()), kind, chance.random())
