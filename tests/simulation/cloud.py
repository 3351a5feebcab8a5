"""A cloud in memory, and the backend that talks to it as a good backend does: it looks before it makes a second one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django_executors.context import current_step
from django_executors.exceptions import BackendRejected, BackendThrottled, BackendUnavailable, OutcomeUnknown
from django_executors.tasks import not_repeatable
from tests.testapp.models import Box

if TYPE_CHECKING:
    from .world import World

__all__ = ["FAULTS", "Backend", "Cloud"]

FAULTS = ("unavailable", "throttled", "rejected", "lost")
"""What may become of a request: no effect, told to wait, refused for good, or done and the answer lost."""

_BUILD_SECONDS = 1.0


@dataclass
class Thing:
    """An object in the cloud."""

    number: int
    key: str
    box: int
    ready_at: float


class Cloud:
    """What exists in the cloud and what was asked of it."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin empty and well."""
        self.things: dict[str, list[Thing]] = defaultdict(list)
        self.accepted: Counter[str] = Counter()
        """How many requests of a step were done, per idempotency key."""
        self.faults: list[str] = []
        self._made = 0

    def make(self, key: str, box: int, ready_at: float) -> Thing:
        """Make an object; a second one for the same key too, since not every cloud knows keys."""
        self._made += 1
        thing = Thing(self._made, key, box, ready_at)
        self.things[key].append(thing)
        return thing

    def of_box(self, box: int) -> list[Thing]:
        """Return the objects of a resource."""
        return [thing for things in self.things.values() for thing in things if thing.box == box]

    def remove(self, box: int) -> None:
        """Remove the objects of a resource."""
        for key in [key for key, things in self.things.items() if any(thing.box == box for thing in things)]:
            del self.things[key]


class Backend:
    """The only code that talks to the cloud."""

    world: ClassVar[World]

    @property
    def cloud(self) -> Cloud:
        return self.world.cloud

    def _request(
        self, effect: Callable[[str], Any], *, writes: bool = True, may_fly: bool = True, is_repeatable: bool = True
    ) -> Any:
        """Send a request.

        Args:
            writes: Whether a lost answer leaves open what happened.
            is_repeatable: Whether it may be done twice.
            may_fly: Whether it may be under way for long. No lease can call back what is under way, so a request that must
                not be done twice arrives at once; that such twins are found later is a matter of backend and cloud.
        """
        step = current_step()
        self.world.reach("before request")
        step.ensure_lease()
        self.world.invariants.request_sent(step)
        if may_fly:
            self.world.reach("in flight")
        fault = self.cloud.faults.pop(0) if self.cloud.faults else ""
        if fault == "unavailable":
            raise BackendUnavailable("503, simulated")
        if fault == "throttled":
            raise BackendThrottled("429, simulated", retry_after=5)
        if fault == "rejected":
            raise BackendRejected("400, simulated")
        result = effect(step.idempotency_key)
        self.cloud.accepted[step.idempotency_key] += 1
        self.world.invariants.request_done(step.idempotency_key, is_repeatable=is_repeatable)
        self.world.reach("after request")
        if fault == "lost":
            raise OutcomeUnknown("no answer, simulated") if writes else BackendUnavailable("no answer, simulated")
        return result

    def create_box(self, box: Box) -> None:
        step = current_step()
        # Only an attempt whose predecessor may have had an effect looks: the engine has to say which one that is.
        found = self._request(self._find, writes=False) if step.outcome_unknown else None
        made = found or self._request(
            lambda key: self.cloud.make(key, box.pk, self.world.time.seconds + _BUILD_SECONDS), may_fly=False
        )
        box.backend_id = f"thing-{made.number}"
        box.save(update_fields=["backend_id"])

    def _find(self, key: str) -> Thing | None:
        return next(iter(self.cloud.things.get(key, ())), None)

    def pull_runtime_state(self, box: Box) -> None:
        def look(key: str) -> str:
            things = self.cloud.of_box(box.pk)
            if not things:
                return "GONE"
            return "ACTIVE" if all(thing.ready_at <= self.world.time.seconds for thing in things) else "BUILD"

        box.runtime_state = self._request(look, writes=False)
        box.save(update_fields=["runtime_state"])

    def touch(self, box: Box) -> None:
        self._request(lambda key: None)

    @not_repeatable
    def fire(self, box: Box) -> None:
        self._request(lambda key: None, may_fly=False, is_repeatable=False)

    def delete_box(self, box: Box) -> None:
        self._request(lambda key: self.cloud.remove(box.pk))

    def is_deleted(self, box: Box) -> bool:
        return bool(self._request(lambda key: not self.cloud.of_box(box.pk), writes=False))
