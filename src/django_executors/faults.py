"""Named points at which a test may stop or kill a process. Inert unless a test installs a handler.

The points are reached around every commit of the engine and every run of a step; a backend adds one on each side of every
request. A crash test counts them and ends the process at the n-th.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["install", "reach"]

_handler: Callable[[str], None] | None = None


def install(handler: Callable[[str], None] | None) -> None:
    """Call ``handler`` with the name of each point that is reached; None makes the points inert again."""
    global _handler
    _handler = handler


def reach(point: str) -> None:
    """Tell that the process has come to a point."""
    if _handler is not None:
        _handler(point)
