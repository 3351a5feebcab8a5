"""How long operations were without a worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django_executors.models import Event, Operation
from tests.chaos.checks import describe
from tests.chaos.faults import Kill

__all__ = ["Takeover", "percentile", "pickups", "takeovers"]


@dataclass
class Takeover:
    """An operation that lost its worker and got another.

    Attributes:
        seconds: From the SIGKILL to the takeover event, on the database's clock; a lease is part of it.
        outage: Whether database or broker were away in between.
    """

    kill: Kill
    seconds: float
    outage: bool

    def tell(self, history: list[tuple[datetime, datetime, str]]) -> str:
        """Return what happened, and what else went wrong meanwhile."""
        at, end = self.kill.at, self.kill.at + timedelta(seconds=self.seconds)
        lines = [f"{self.kill.how} at {at:%H:%M:%S.%f}, taken over {self.seconds:.2f} s later; meanwhile:"]
        lines += [f"    {b:%H:%M:%S.%f} to {e:%H:%M:%S.%f} {what}" for b, e, what in history if b < end and at < e]
        return "\n".join([*lines, describe(self.kill.operation_id)])


def takeovers(kills: list[Kill], outages: list[tuple[str, float, float]]) -> list[Takeover]:
    """Return how long operations were without a worker; not those that the dying worker had just given back."""
    found = []
    for kill in kills:
        events = Event.objects.filter(operation_id=kill.operation_id, kind="operation.taken_over", at__gt=kill.at)
        taken = events.order_by("id").values_list("at", flat=True).first()
        if taken is None:
            continue
        seconds = (taken - kill.at).total_seconds()
        end = kill.monotonic + seconds
        outage = any(began < end and kill.monotonic < over for _, began, over in outages)
        found.append(Takeover(kill, seconds, outage))
    return found


def pickups() -> list[float]:
    """Return the seconds from the opening of an operation to its first claim: how busy the workers are."""
    rows = Operation.objects.filter(parent=None, started_at__isnull=False).values_list("created_at", "started_at")
    return [(started - created).total_seconds() for created, started in rows]


def percentile(values: list[float], part: float) -> float:
    """Return the value that so large a part of the values does not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
