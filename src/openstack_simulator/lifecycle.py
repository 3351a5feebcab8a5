"""How long things take: building to active after a time, after a number of reads, or at once.

Nothing runs in the background. A change that takes time is put on a schedule; :meth:`Lifecycle.settle`, called before
each request, carries out what has become due, in the order it became due. So a test that moves the clock forward sees
exactly what would have happened meanwhile.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from openstack_simulator.clock import Clock


@dataclass(frozen=True)
class Pace:
    """When a change is done: after ``seconds`` on the cloud's clock, and after being seen undone ``reads`` times."""

    seconds: float = 0.0
    reads: int = 0

    @classmethod
    def at_once(cls) -> "Pace":
        """Done when the next request arrives; the answer that started it still shows the old state, as in a cloud."""
        return cls()

    @classmethod
    def after(cls, seconds: float) -> "Pace":
        """Done that many seconds later."""
        return cls(seconds=seconds)

    @classmethod
    def after_reads(cls, reads: int) -> "Pace":
        """Shown undone in that many answers (shown alone or in a list), then done."""
        return cls(reads=reads)


@dataclass
class Effects:
    """What the faults of the request being served do to the changes it starts."""

    error_state: str | None = None
    stuck: bool = False
    stale: float = 0.0


@dataclass
class Change:
    """One change under way, for example the build of one server."""

    record_id: str
    kind: str
    builds: bool
    run: Callable[[], None] | None
    reads_left: int = 0
    cancelled: bool = False


DEFAULT_PACES = {
    "server.create": Pace.after(1.0),
    "server": Pace.after(0.3),
    "volume.create": Pace.after(0.5),
    "volume": Pace.after(0.2),
    "snapshot": Pace.after(0.3),
    "backup": Pace.after(0.3),
    "image": Pace.after(0.3),
    "port": Pace.at_once(),
    "floating_ip": Pace.after(0.1),
}


class Lifecycle:
    """Starts, schedules and finishes changes; not thread-safe by itself, the cloud's lock is held around it.

    ``paces`` maps ``"server.create"`` (or any ``kind.action``) or a whole kind, ``"server"``, to a :class:`Pace`.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.paces = dict(DEFAULT_PACES)
        self.effects = Effects()
        self.created: Counter[str] = Counter()
        """How many objects of each kind were ever created."""
        self.peak_building: dict[str, int] = {}
        """The highest number of objects of each kind that were being created at the same time."""
        self._building: dict[str, set[str]] = {}
        self._order = itertools.count()
        self._due: list[tuple[float, int, Change]] = []
        self._changes: dict[str, list[Change]] = {}
        self._running_at: float | None = None

    def set_all(self, pace: Pace) -> None:
        """Give every kind of change the same pace."""
        self.paces = dict.fromkeys(DEFAULT_PACES, pace)

    def pace_of(self, change: str) -> Pace:
        """The pace of ``"kind.action"``; a pace of the whole kind is used when the action has none of its own."""
        return self.paces.get(change) or self.paces.get(change.partition(".")[0]) or Pace.at_once()

    def now(self) -> float:
        """The time for stamps: while a due change runs, the moment it became due rather than the clock's time."""
        return self.clock.now() if self._running_at is None else self._running_at

    def begin(
        self,
        change: str,
        record_id: str,
        finish: Callable[[], None],
        fail: Callable[[str], None] | None = None,
        *,
        extra_seconds: float = 0.0,
        failure: str | None = None,
    ) -> None:
        """Start a change of one record; ``finish`` is called when it is done.

        Args:
            change: ``"kind.action"``; actions named ``create`` count as building.
            finish: Must look again at the record: other changes may have come in between.
            fail: Called with a message instead of ``finish`` when the change is to fail.
            extra_seconds: Added to the pace.
            failure: Makes the change fail with this message, as a fault with ``error_state`` does.
        """
        kind, _, action = change.partition(".")
        failure = self.effects.error_state if failure is None else failure
        run = finish if failure is None or fail is None else lambda: fail(failure)
        pace = self.pace_of(change)
        pending = Change(record_id, kind, action == "create", run, pace.reads)
        self._changes.setdefault(record_id, []).append(pending)
        if pending.builds:
            self.created[kind] += 1
            building = self._building.setdefault(kind, set())
            building.add(record_id)
            self.peak_building[kind] = max(self.peak_building.get(kind, 0), len(building))
        if self.effects.stuck:
            pending.run = None
        elif not pace.reads:
            self._schedule(pending, pace.seconds + extra_seconds)

    def observed(self, record_id: str) -> None:
        """A record was shown to a client: count it for the changes that wait for reads."""
        for change in self._changes.get(record_id, ()):
            if change.reads_left:
                change.reads_left -= 1
                if not change.reads_left and change.run is not None:
                    self._schedule(change, 0.0)

    def settle(self) -> None:
        """Carry out everything that has become due, oldest first, and what that makes due in turn."""
        now = self.clock.now()
        try:
            while self._due and self._due[0][0] <= now:
                due, _, change = heapq.heappop(self._due)
                if change.cancelled:
                    continue
                self._running_at = due
                self._end(change)
                if change.run is not None:
                    change.run()
        finally:
            self._running_at = None

    def drop(self, record_id: str) -> None:
        """Forget the changes under way of a record, for example because it is being deleted."""
        for change in list(self._changes.get(record_id, ())):
            change.cancelled = True
            self._end(change)

    def building(self, kind: str) -> int:
        """How many objects of a kind are being created now."""
        return len(self._building.get(kind, ()))

    def next_due(self) -> float | None:
        """When the next scheduled change is done, in seconds since the epoch; ``None`` when nothing is scheduled."""
        while self._due and self._due[0][2].cancelled:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def forget_counts(self) -> None:
        """Set the creation counts and the peaks back; what is being built now stays counted in the new peak."""
        self.created.clear()
        self.peak_building = {kind: len(ids) for kind, ids in self._building.items() if ids}

    def _schedule(self, change: Change, seconds: float) -> None:
        heapq.heappush(self._due, (self.now() + seconds, next(self._order), change))

    def _end(self, change: Change) -> None:
        changes = self._changes.get(change.record_id, [])
        if change in changes:
            changes.remove(change)
        if not changes:
            self._changes.pop(change.record_id, None)
        if change.builds:
            self._building.get(change.kind, set()).discard(change.record_id)
