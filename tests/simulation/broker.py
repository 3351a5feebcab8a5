"""A broker that keeps its messages in a list; the schedule takes, loses, doubles and reorders them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .world import World

__all__ = ["Broker", "Message"]


class Message(NamedTuple):
    """A nudge, as a worker receives it."""

    operation: str
    queue: str
    limits: tuple[float | None, float | None]


class Broker:
    """Stands where Celery's publishing stands: `send` replaces ``app.send_task``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.restart()

    def restart(self) -> None:
        """Begin without messages, reachable."""
        self.messages: list[Message] = []
        self.is_down = False
        self.sent = 0

    def send(self, name: str, args: tuple[str, str], **options: Any) -> None:
        """Take a message; the sender may be interrupted just before."""
        self.world.reach("before send")
        operation, queue = args
        self.world.invariants.message_sent(operation)
        if self.is_down:
            raise ConnectionError("the broker is down")
        self.sent += 1
        self.messages.append(
            Message(uuid.UUID(operation).hex, queue, (options.get("time_limit"), options.get("soft_time_limit")))
        )
