"""When the next attempt or the next look is due. Pure: randomness is handed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RetryPolicy", "backoff", "policy_of", "poll_interval"]


@dataclass(frozen=True)
class RetryPolicy:
    """How a step is tried again, in Celery's own terms.

    Attributes:
        max_retries: How many further attempts, None for no limit.
        default_retry_delay: Seconds between attempts when ``retry_backoff`` is 0.
        retry_backoff: Seconds of the first delay, doubled each time; 0 for fixed delays.
        retry_backoff_max: Longest delay, seconds.
        retry_jitter: Whether to choose between half of the delay and all of it, so that failures do not come in step.
    """

    max_retries: int | None
    default_retry_delay: float
    retry_backoff: float
    retry_backoff_max: float
    retry_jitter: bool

    def allows(self, retries: int) -> bool:
        """Say whether one more attempt is allowed after ``retries`` retries so far."""
        return self.max_retries is None or retries < self.max_retries

    def delay(self, retries: int, rand: Callable[[], float] = random.random) -> float:
        """Return the seconds until the attempt that follows ``retries`` earlier retries."""
        if not self.retry_backoff:
            return self.default_retry_delay
        return backoff(self.retry_backoff, retries, self.retry_backoff_max, rand if self.retry_jitter else None)


def backoff(first: float, count: int, longest: float, rand: Callable[[], float] | None = None) -> float:
    """Return ``first`` doubled ``count`` times, at most ``longest``; with ``rand``, between half of that and all of it."""
    delay = min(longest, first * 2.0 ** min(count, 60))
    return delay if rand is None else delay * (0.5 + rand() / 2)


def poll_interval(interval: float, polls: int, longest: float, rand: Callable[[], float] = random.random) -> float:
    """Return the seconds until the next look, after ``polls`` looks, ±10 % jitter.

    Begins with a quarter of ``interval``, since much is ready at once, and grows by a quarter each time: what takes long is
    looked at in proportion to how long it has taken, at most every ``longest`` seconds.
    """
    delay = min(longest, interval / 4 * 1.25 ** min(polls, 200))
    return delay * (0.9 + rand() / 5)


def policy_of(task: Any, options: Mapping[str, Any]) -> RetryPolicy:
    """Read a policy from a Celery task's attributes; a step's own options win."""
    fixed = "default_retry_delay" in options
    return RetryPolicy(
        max_retries=options.get("max_retries", getattr(task, "max_retries", 3)),
        default_retry_delay=float(options.get("default_retry_delay", getattr(task, "default_retry_delay", None) or 0)),
        retry_backoff=0.0 if fixed else float(getattr(task, "retry_backoff", 0) or 0),
        retry_backoff_max=float(getattr(task, "retry_backoff_max", 600)),
        retry_jitter=bool(getattr(task, "retry_jitter", True)),
    )
