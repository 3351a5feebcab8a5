"""Bugs to be found: each takes one safeguard out of the engine while its context lasts, at a seam that is likely to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from django.db.models import F

from django_executors import clock, journal, nudges, throttling
from django_executors.engine import dispatcher, drive, ending, lease
from django_executors.journal import Fence, SignalsChanged
from django_executors.models import Operation, Step
from django_executors.statements import update
from django_executors.states import OPEN_OPERATION_STATES

from .choosing import Focus
from .plans import MarkTask

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A bug, and which schedules are most likely to meet it."""

    apply: Callable[[], AbstractContextManager[Any]]
    focus: Focus


MUTANTS: dict[str, Mutant] = {}

_IN_LINE = ("CreateInLine", "CreateStateInLine")


def mutant(*troubles: str, plans: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Add a bug to the list; name the kinds of trouble and the plans that bring it to light."""

    def add(apply: Any) -> Any:
        MUTANTS[apply.__name__] = Mutant(apply, Focus(plans, troubles))
        return apply

    return add


def _guarded_by(*columns: str) -> Callable[[Fence, dict[str, Any]], None]:
    """Return a guarded UPDATE that compares these columns only."""

    def guarded_update(self: Fence, changes: dict[str, Any]) -> None:
        known = {
            "lease_owner": self.owner,
            "lease_token": self.token,
            "version": self.operation.version,
            "signals": self.operation.signals,
        }
        rows = Operation.objects.filter(pk=self.operation.pk, **{name: known[name] for name in columns})
        if not rows.update(version=F("version") + 1, **changes):
            if "signals" in columns:
                found = Operation.objects.get(pk=self.operation.pk)
                is_mine = "lease_token" not in columns or found.lease_token == self.token
                if found.signals != self.operation.signals and is_mine:
                    self.operation.__dict__.update({k: v for k, v in found.__dict__.items() if k != "_state"})
                    raise SignalsChanged
            raise drive.LeaseLost("mutant")

    return guarded_update


@mutant("stall")
def no_fencing() -> Any:
    """A worker that lost its lease may still write."""
    return mock.patch.object(Fence, "_guarded_update", _guarded_by("signals"))


@mutant("people")
def signals_ignored() -> Any:
    """A worker does not see what others asked for before it writes."""
    return mock.patch.object(Fence, "_guarded_update", _guarded_by("lease_owner", "lease_token", "version"))


@mutant("fail", plans=("Rows", "CreateOrUndo"))
@contextmanager
def version_ignored() -> Iterator[None]:
    """A commit whose answer was lost is made a second time."""
    guarded = _guarded_by("lease_owner", "lease_token", "signals")
    with (
        mock.patch.object(Fence, "_guarded_update", guarded),
        mock.patch.object(Fence, "_was_applied", return_value=False),
    ):
        yield


@mutant("kill")
def record_before_run() -> Any:
    """A backend step is recorded as done in the commit that starts it."""
    start_attempt = journal.start_attempt

    def started(step: Step, number: int, **changes: Any) -> None:
        start_attempt(step, number, **changes)
        journal.write_later(update(Step, {"id": step.pk}, {"state": "succeeded"}))

    return mock.patch.object(journal, "start_attempt", started)


@mutant("kill")
def nudge_before_commit() -> Any:
    """Messages are sent inside of the transaction they tell about."""
    return mock.patch.object(nudges, "transaction", SimpleNamespace(on_commit=lambda call: call()))


@mutant("people", plans=_IN_LINE)
def slot_leak() -> Any:
    """An operation that ends keeps its slots, and its places in line."""
    return mock.patch.object(throttling, "release_operation", return_value=None)


@mutant("people", plans=_IN_LINE)
def slot_given_to_nobody() -> Any:
    """A slot that is given back is not handed to the next in line."""

    def release(keys: Any, **condition: Any) -> None:
        for key in sorted(set(keys)):
            throttling.Slot.objects.filter(throttle_id=key, **condition).delete()

    return mock.patch.object(throttling, "_release", release)


@mutant("messages", plans=("Create", "Update"))
def claim_without_compare() -> Any:
    """A claim does not ask whether somebody holds the operation."""
    claim = lease.claim

    def claim_anyway(operation_id: Any, queue: str | None) -> Any:
        Operation.objects.filter(pk=operation_id, state__in=OPEN_OPERATION_STATES).update(due_at=clock.now())
        return claim(operation_id, queue)

    return mock.patch.object(lease, "claim", claim_anyway)


@mutant("kill", "cloud", plans=("Create",))
def takeover_without_mark() -> Any:
    """A worker that takes over does not know that an attempt had started."""
    context = drive.Driver.context

    def unmarked(self: Any, step: Step, *, began: bool = False, outcome_unknown: bool = False) -> Any:
        return context(self, step, began=began, outcome_unknown=False)

    return mock.patch.object(drive.Driver, "context", unmarked)


@mutant("kill")
def row_only_step_outside() -> Any:
    """A row-only step runs outside of the commit that records it."""
    return mock.patch.object(MarkTask, "transactional", False)


@mutant("inch", plans=_IN_LINE)
def wake_lost() -> Any:
    """A wake does not reach an operation that a worker holds at that moment."""
    wake = journal.wake

    def wake_idle(operation_id: Any, **changes: Any) -> bool:
        if Operation.objects.filter(pk=operation_id).exclude(lease_owner="").exists():
            return True
        return wake(operation_id, **changes)

    return mock.patch.object(journal, "wake", wake_idle)


@mutant("kill")
def claims_kept() -> Any:
    """An operation that ends keeps its resource."""
    return mock.patch.object(ending, "_give_back", return_value=None)


@mutant("stall")
def lease_not_asked() -> Any:
    """A request is sent without a look at the lease."""
    return mock.patch.object(lease.HeldLease, "ensure", return_value=None)


@mutant("kill")
def expired_leases_forgotten() -> Any:
    """The dispatcher does not look for silent workers."""
    idle = SimpleNamespace(filter=lambda **condition: Operation.objects.filter(lease_owner="", **condition))
    return mock.patch.object(dispatcher, "Operation", SimpleNamespace(objects=idle))


@mutant("stall", plans=("Update", "Fire"))
def heartbeat_by_owner() -> Any:
    """A heartbeat takes every lease of its process for its own, also one that another thread has taken over."""

    def beat(self: Any) -> None:
        for held in list(self._held.values()):
            mine = Operation.objects.filter(pk=held.operation_id, lease_owner=lease.owner())
            if mine.update(**journal.lease_values()):
                held.renewed(lease.time.monotonic())

    return mock.patch.object(lease._Heartbeat, "_beat", beat)
