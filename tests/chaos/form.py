"""How long and how hard a run is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIMITS", "LONG", "SHORT", "Form"]

LIMITS = {"instance": 2, "volume": 2}
"""How many the engine may let the cloud build at once."""


@dataclass(frozen=True)
class Form:
    """How long and how hard a run is.

    Attributes:
        instances: Instance operations to open at least.
        small: Small operations likewise.
        seconds: Longest time under fire.
        quiet_seconds: How long everything may take to come to an end afterwards.
        pause: Mean seconds between two faults of workers, broker and database.
        cloud_scale: How many times as often as usual the cloud fails.
        each_kind: How often each kind of fault must have happened.
    """

    instances: int
    small: int
    seconds: float
    quiet_seconds: float
    pause: float
    cloud_scale: float
    each_kind: int
    workers: int = 3
    lives: int = 6
    boxes: int = 8


SHORT = Form(
    instances=30,
    small=300,
    seconds=130,
    quiet_seconds=90,
    pause=1.3,
    cloud_scale=2.0,
    each_kind=1,
    lives=6,
    boxes=10,
)
"""About two minutes, for every change."""

LONG = Form(
    instances=1000,
    small=5000,
    seconds=5400,
    quiet_seconds=300,
    pause=2.5,
    cloud_scale=1.0,
    each_kind=5,
    lives=8,
    boxes=12,
)
"""Until a thousand instance operations have been opened, however long that takes."""
