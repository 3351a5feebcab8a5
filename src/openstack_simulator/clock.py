"""The cloud's clock: real by default, and a test can freeze it or move it forward."""

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Tells the simulated cloud's time, in seconds since the epoch.

    Everything in the cloud that takes time (a server's build, a token's life) is measured on this clock.
    It never goes backwards. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """The time now, in seconds since the epoch."""
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> float:
        """Move the clock forward and return the new time; it goes on running, or stays frozen, as before.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"the clock only goes forward; advance() got {seconds}")
        with self._lock:
            if self._frozen_at is None:
                self._offset += seconds
            else:
                self._frozen_at += seconds
            return self._now()

    def freeze(self) -> None:
        """Stop the clock where it is; from here on only :meth:`advance` moves it."""
        with self._lock:
            self._frozen_at = self._now()

    def thaw(self) -> None:
        """Let a frozen clock run on from where it stands."""
        with self._lock:
            if self._frozen_at is not None:
                self._offset = self._frozen_at - time.time()
                self._frozen_at = None

    @property
    def frozen(self) -> bool:
        """Whether only :meth:`advance` moves the clock."""
        return self._frozen_at is not None

    def _now(self) -> float:
        return time.time() + self._offset if self._frozen_at is None else self._frozen_at


def in_seconds(moment: float) -> str:
    """ISO 8601 to the second, as Nova, Neutron and Glance write it: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_microseconds(moment: float) -> str:
    """ISO 8601 to the microsecond without a zone, as Cinder writes it: ``2026-01-31T12:00:00.000000``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def parse(text: str) -> float:
    """Seconds since the epoch for an ISO 8601 text; one without a zone is taken as UTC.

    Raises:
        ValueError: The text is no ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
