"""A broker in memory that loses, doubles and shuffles messages, from a seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from .. import clock, nudges
from ..engine.dispatcher import dispatch_once
from ..engine.drive import drive
from ..models import Operation
from ..states import OperationState
from .driving import advance, still_open

__all__ = ["FakeBroker", "Message", "fake_broker"]


@dataclass(frozen=True)
class Message:
    """A message that says "look at this operation"."""

    operation_id: uuid.UUID
    queue: str
    priority: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None


@dataclass
class FakeBroker:
    """Messages on their way, and what happened to them.

    Attributes:
        lose: Probability with which a message is lost, 0 to 1.
        duplicate: Probability with which a message that is not lost comes twice.
        shuffle: Whether messages overtake each other.
        seed: The same seed does the same.
        sent: All messages that were sent, the lost ones too, in order.
        waiting: Messages that were not delivered yet.
        lost, duplicated, delivered: How many.
    """

    lose: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    seed: int = 0
    sent: list[Message] = field(default_factory=list)
    waiting: list[Message] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0
    delivered: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - to be repeated

    def publish(self, operation_id: uuid.UUID, queue: str, **options: Any) -> None:
        """Take a message with the priority and time limits it asks for, or lose it."""
        message = Message(operation_id, queue, **options)
        self.sent.append(message)
        if self._random.random() < self.lose:
            self.lost += 1
            return
        self.waiting.append(message)
        if self._random.random() < self.duplicate:
            self.duplicated += 1
            self.waiting.append(message)

    def flush(self) -> int:
        """Lose everything that waits; return how much it was."""
        count = len(self.waiting)
        self.waiting.clear()
        self.lost += count
        return count

    def deliver(self) -> bool:
        """Hand one message to a worker; False when none waits."""
        if not self.waiting:
            return False
        message = self.waiting.pop(self._random.randrange(len(self.waiting)) if self.shuffle else 0)
        self.delivered += 1
        drive(message.operation_id, queue=message.queue, limits=(message.time_limit, message.soft_time_limit))
        return True

    def run(self, operation: Operation, *, most_turns: int = 5000) -> Operation:
        """Deliver messages until an operation, and what its steps open, ends; limits and queues of steps are respected.

        Where no message is left, the clock moves on and a dispatcher looks.

        Raises:
            AssertionError: It did not end within so many turns.
        """
        for _ in range(most_turns):
            row = Operation.objects.get(pk=operation.pk)
            if row.state == OperationState.PAUSED or not still_open(operation).exists():
                return row
            if self.deliver() or dispatch_once():
                continue
            waiting = still_open(operation).exclude(nudge_at=None)
            nudge_at = waiting.order_by("nudge_at").values_list("nudge_at", flat=True).first()
            if nudge_at is None:
                raise AssertionError(f"{operation} is open and nobody will ever send a message about it: {row.why()}")
            advance(max(0.0, (nudge_at - clock.read()).total_seconds()) + 0.002)
        raise AssertionError(f"{operation} did not end within {most_turns} turns: {row.why()}")


@contextmanager
def fake_broker(
    *, lose: float = 0.0, duplicate: float = 0.0, shuffle: bool = False, seed: int = 0
) -> Iterator[FakeBroker]:
    """Let all messages of the block go to a broker in memory, see `FakeBroker`."""
    broker = FakeBroker(lose=lose, duplicate=duplicate, shuffle=shuffle, seed=seed)
    with mock.patch.object(nudges, "publish", broker.publish):
        yield broker
