"""A base for your fake of a backend: scripted outcomes, lost answers, and objects that are found again by their key."""

from __future__ import annotations

import os
import pickle
import tempfile
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

    Keep one instance for a test, and let your model's ``get_backend()`` return it. What a forked process asked of it is known
    here too, even if that process was killed; only one of them may use it at a time.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {}
        self._calls: list[FakeCall] = []
        self._script: dict[str, deque[Any]] = defaultdict(deque)
        self._lost: Counter[str] = Counter()
        self._pid = os.getpid()
        self._written_by = 0
        self._legacy = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the fake lives, and inherited by a fork

    @property
    def objects(self) -> dict[str, dict[str, Any]]:
        """What exists, by id."""
        self._inherit()
        return self._objects

    @property
    def calls(self) -> list[FakeCall]:
        """All requests that arrived, in order."""
        self._inherit()
        return self._calls

    # -- what a test tells it -----------------------------------------------------------------------------------------

    def will(self, request: str, *outcomes: Any) -> None:
        """Set the outcomes of the next requests of a name, one each: an error is raised, anything else is returned."""
        self._inherit()
        self._script[request].extend(outcomes)

    def unavailable(self, request: str, times: int = 1) -> None:
        """Let the next requests of a name have no effect and raise `BackendUnavailable`."""
        self.will(request, *[BackendUnavailable(f"{request}: no answer")] * times)

    def lose_answer(self, request: str, times: int = 1) -> None:
        """Let the next requests of a name do their work and then raise `OutcomeUnknown`, as when a connection breaks."""
        self._inherit()
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
        scripted = bool(script)
        result = script.popleft() if scripted else None
        if scripted and isinstance(result, BaseException):
            self._bequeath()
            raise result
        if not scripted:
            result = work()
        lost = not scripted and self._lost[request] > 0
        if lost:
            self._lost[request] -= 1
        self._bequeath()
        faults.reach("after request")
        if lost:
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

    def assert_called_once_per_key(self, request: str) -> None:
        """Assert that requests of a name arrived, and none a second time for the same step.

        Raises:
            AssertionError: One did, or none arrived at all.
        """
        counts = Counter(call.key for call in self.calls if call.request == request)
        assert counts, f"{request} was never requested; there were {sorted({call.request for call in self.calls})}"
        again = {key: count for key, count in counts.items() if count > 1}
        assert not again, f"{request} arrived several times for one step: {again}"

    def assert_one_object_per_key(self) -> None:
        """Assert that no step made two objects.

        Raises:
            AssertionError: One did; the text names the objects.
        """
        doubled = [key for key, count in Counter(each["key"] for each in self.objects.values()).items() if count > 1]
        assert not doubled, [each for each in self.objects.values() if each["key"] in doubled]

    # -- what a forked process leaves behind ----------------------------------------------------------------------------

    def _bequeath(self) -> None:
        """In a forked process: write down the state, for the case that this process is killed next."""
        if os.getpid() == self._pid:
            return
        self._legacy.seek(0)
        self._legacy.truncate()
        self._written_by = os.getpid()
        pickle.dump((self._objects, self._calls, dict(self._script), self._lost), self._legacy)
        self._legacy.flush()

    def _inherit(self) -> None:
        """Go on from what another process, which is gone by now, has written down last."""
        if self._written_by == os.getpid() or not self._legacy.seek(0, os.SEEK_END):
            return
        self._legacy.seek(0)
        objects, calls, script, lost = pickle.load(self._legacy)  # noqa: S301 - written by our own child
        if os.getpid() == self._pid:
            self._legacy.seek(0)
            self._legacy.truncate()
        self._objects.clear()
        self._objects.update(objects)
        self._calls[:] = calls
        self._script.clear()
        self._script.update(script)
        self._lost = lost
