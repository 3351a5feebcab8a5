"""One line that says what an operation does, or why it does not move."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import clock
from ..states import OperationState, WaitKind
from .throttle import Slot

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["explain"]


def explain(operation: Operation) -> str:
    """Return the reason, with figures as of now. Reads the database's clock and, for a throttle, the line."""
    state = OperationState(operation.state)
    if not operation.is_open:
        return f"{state.label}: {operation.error}" if operation.error else str(state.label)
    now = clock.read()
    if state == OperationState.PAUSED:
        return "paused by a person; unpause it to go on"
    step = operation.steps.filter(position=operation.position).first()
    where = f"step {operation.position + 1} ({step.name})" if step else "the end"
    if operation.lease_owner:
        if operation.due_at is not None and operation.due_at <= now:
            silent = (now - operation.due_at).total_seconds()
            return (
                f"stalled at {where}: worker {operation.lease_owner} let its lease end {silent:.0f} s ago, "
                "it is offered to another worker"
            )
        doing = {OperationState.CANCELLING: "cancelling at", OperationState.COMPENSATING: "undoing at"}
        attempt = f", attempt {step.tries}" if step and step.tries > 1 else ""
        return f"{doing.get(state, 'running')} {where} on {operation.lease_owner}{attempt}"
    if operation.wait_kind == WaitKind.THROTTLE:
        return _throttle_line(operation)
    if operation.wait_kind == WaitKind.POLL and step is not None:
        return f"waiting for {operation.wait_reason}, poll {step.polls}, next {_in(operation.due_at, now)}"
    if operation.wait_kind == WaitKind.PARTS:
        return _parts_line(operation, where)
    if operation.wait_kind:
        reason = operation.wait_reason or WaitKind(operation.wait_kind).label
        return f"{reason}; {where} {_in(operation.due_at, now)}" if operation.due_at else reason
    if operation.due_at is not None and operation.due_at > now:
        return f"queued for {operation.queue}, starts {_in(operation.due_at, now)}"
    waited = (now - operation.created_at).total_seconds()
    return f"queued for a worker of queue {operation.queue} for {waited:.0f} s, before {where}"


def _in(due_at: datetime | None, now: datetime) -> str:
    if due_at is None:
        return "when it is told"
    left = due_at - now
    return f"in {left.total_seconds():.0f} s" if left > timedelta() else "now"


def _throttle_line(operation: Operation) -> str:
    slot = Slot.objects.filter(operation=operation, held=False).first()
    if slot is None:
        return f"throttled by {operation.wait_key}, about to start"
    line = Slot.objects.filter(throttle_id=slot.throttle_id, held=False)
    position, total = line.filter(id__lte=slot.id).count(), line.count()
    holders = Slot.objects.filter(throttle_id=slot.throttle_id, held=True).values_list("resource", flat=True)
    return (
        f"throttled: {_ordinal(position)} of {total} in line for {slot.throttle_id} "
        f"(limit {slot.throttle.limit or slot.limit}, held by {', '.join(holders) or 'nobody'})"
    )


def _parts_line(operation: Operation, where: str) -> str:
    parts = list(operation.children.filter(parent_step__position=operation.position))
    ended = sum(not part.is_open for part in parts)
    slowest = next((part for part in parts if part.is_open), None)
    text = f"{where}: {ended} of {len(parts)} parts ended"
    return f"{text}; {slowest} is {OperationState(slowest.state).label}: {slowest.why()}" if slowest else text


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
