"""Side by side where there is more than one thing to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import group

__all__ = ["side_by_side"]


def side_by_side(signatures: Iterable[Any]) -> list[Any]:
    """Return steps that run the signatures in parallel; none for none, and one without a group around it."""
    steps = list(signatures)
    return steps if len(steps) < 2 else [group(steps)]
