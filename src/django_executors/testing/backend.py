"""A base for your fake of a backend: scripted outcomes, lost answers, and objects that are found again by their key."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import faults
from ..context import current_step
from ..exceptions import BackendUnavailable, OutcomeUnknown

__all__ = ["FakeBackend", "FakeCall"]


@dataclass(frozen=True)
class FakeCall:
    """One request: its name, the idempotency key of the step, and whether an earlier outcome was unknown."""

    request: str
    key: str
    outcome_unknown: bool


class FakeBackend:
    """A cloud in memory. Subclass it, and write each method of your backend with `request` or `create`::

        class FakeStorage(FakeBackend):
            def create_volume(self, volume):
                made = self.create("create_volume", name=volume.name)
                volume.backend_id = made["id"]
                volume.save(update_fields=["backend_id"])

            def delete_volume(self, volume):
                self.request("delete_volume", lambda: self.objects.pop(volume.backend_id, None))

    Keep one instance for a test, and let your model's ``get_backend()`` return it.

    Attributes:
        objects: What exists, by id.
        calls: All requests that arrived, in order.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[FakeCall] = []
        self._script: dict[str, deque[Any]] = defaultdict(deque)
        self._lost: Counter[str] = Counter()

    # -- what a test tells it -----------------------------------------------------------------------------------------

    def will(self, request: str, *outcomes: Any) -> None:
        """Set the outcomes of the next requests of a name, one each: an error is raised, anything else is returned."""
        self._script[request].extend(outcomes)

    def unavailable(self, request: str, times: int = 1) -> None:
        """Let the next requests of a name have no effect and raise `BackendUnavailable`."""
        self.will(request, *[BackendUnavailable(f"{request}: no answer")] * times)

    def lose_answer(self, request: str, times: int = 1) -> None:
        """Let the next requests of a name do their work and then raise `OutcomeUnknown`, as when a connection breaks."""
        self._lost[request] += times

    # -- what its methods are made of ---------------------------------------------------------------------------------

    def request(self, request: str, work: Callable[[], Any] = lambda: None) -> Any:
        """Make a request: a scripted outcome, or ``work()``.

        Raises:
            LeaseLost: The worker may no longer act, so nothing was sent.
            OutcomeUnknown: The work was done, and the test wanted the answer to be lost.
        """
        step = current_step()
        step.ensure_lease()
        self.calls.append(FakeCall(request, step.idempotency_key, step.outcome_unknown))
        script = self._script[request]
        if script:
            outcome = script.popleft()
            if isinstance(outcome, BaseException):
                raise outcome
            faults.reach("after request")
            return outcome
        result = work()
        faults.reach("after request")
        if self._lost[request]:
            self._lost[request] -= 1
            raise OutcomeUnknown(f"the answer to {request} was lost")
        return result

    def create(self, request: str, **attributes: Any) -> dict[str, Any]:
        """Return the object that an earlier attempt of this step made, or make one; as a backend method should."""
        key = current_step().idempotency_key
        found = [each for each in self.objects.values() if each["key"] == key]
        if found:
            return found[0]

        def work() -> dict[str, Any]:
            made = {**attributes, "id": f"{request}-{len(self.calls)}", "key": key}
            self.objects[made["id"]] = made
            return made

        return dict(self.request(request, work))

    # -- what a test asks ---------------------------------------------------------------------------------------------

    def count(self, request: str) -> int:
        """Return how many requests of a name arrived."""
        return sum(call.request == request for call in self.calls)

    def assert_one_object_per_key(self) -> None:
        """Assert that no step made two objects.

        Raises:
            AssertionError: One did; the text names the objects.
        """
        doubled = [key for key, count in Counter(each["key"] for each in self.objects.values()).items() if count > 1]
        assert not doubled, [each for each in self.objects.values() if each["key"] in doubled]
