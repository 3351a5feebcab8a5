"""Drives an operation: claim, run, record, next, until the plan ends, a wait begins, or another worker must go on.

Two invariants, kept by `journal.Fence.commit`:

- a step that only writes rows runs in the commit that records it, so it happens exactly once; several in a row share one;
- a step that calls a backend is marked as started in one commit, runs outside of any transaction, and is recorded in the
  next one, which may also start the next step. A worker that dies in between leaves the mark, and the next attempt knows
  that it has to look first.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction

from .. import faults, journal, routing
from ..conf import settings
from ..context import StepContext
from ..exceptions import (
    LeaseLost,
    OperationCancelled,
    StepFailed,
)
from ..journal import Fence, SignalsChanged
from ..models import Operation, Step
from ..nudges import nudge
from ..plan import storable_text
from ..statements import fetch
from ..states import OPEN_OPERATION_STATES, OperationState, StepPhase, StepState, WaitKind
from . import attempts, ending, lease, parts
from .running import step_task_id

__all__ = ["drive"]

logger = logging.getLogger("django_executors")

Limits = tuple[float | None, float | None]

_DONE = (StepState.SUCCEEDED, StepState.SKIPPED)


def drive(
    operation_id: uuid.UUID | str,
    *,
    queue: str | None = None,
    limits: Limits = (None, None),
    draining: Callable[[], bool] = lambda: False,
) -> bool:
    """Claim an operation and drive it as far as it goes here.

    Args:
        queue: The queue that this worker's message came from; None to run every step here, whatever its queue.
        limits: Hard and soft time limit of that message, seconds.
        draining: Says that this process wants to end: the operation is handed back at the next step boundary.

    Returns:
        Whether the operation could be claimed. Losing it later is no error: whoever holds it goes on.
    """
    asked_at = time.monotonic()
    nested = connection.in_atomic_block
    claimed = lease.claim(uuid.UUID(str(operation_id)), queue)
    if claimed is None:
        return False
    fence, taken_over = claimed
    faults.reach("after claim")
    with lease.hold(fence, asked_at) as held:
        driver = Driver(fence, held, queue, limits, draining)
        try:
            driver.run(taken_over)
        except LeaseLost as lost:
            logger.warning("%s", lost)
        except (OperationalError, InterfaceError):
            # Outside of a commit, which tries again by itself: a read between two steps. Waiting for the lease to end would
            # cost more than the error did, and count as a takeover.
            if nested or not lease.give_back(fence):
                raise
            logger.warning("operation %s: the database failed, another look follows", operation_id, exc_info=True)
    return True


class Driver:
    def __init__(
        self,
        fence: Fence,
        held: lease.HeldLease,
        queue: str | None,
        limits: Limits,
        draining: Callable[[], bool],
    ) -> None:
        self.fence = fence
        self.held = held
        self.queue = queue
        self.limits = limits
        self.draining = draining
        self.steps: dict[int, Step] = {}
        self._carried: tuple[Callable[[], None], dict[str, Any]] | None = None

    @property
    def operation(self) -> Operation:
        return self.fence.operation

    def run(self, taken_over: bool) -> None:
        self.steps = {step.position: step for step in fetch(Step, operation=self.operation.pk)}
        self.seen_signals = self.operation.signals
        if taken_over:
            self._note_takeover()
        while True:
            try:
                if not self._advance():
                    return
            except SignalsChanged:
                continue

    def _note_takeover(self) -> None:
        step = self.steps.get(self.operation.position)

        def write() -> None:
            if step is not None and step.state == StepState.RUNNING:
                journal.record_attempt(step, "taken over", text="the worker fell silent before it recorded a result")
            journal.add_event(self.operation, "operation.taken_over", f"by {self.fence.owner}")

        self.persist(write)

    # -- commits ------------------------------------------------------------------------------------------------------

    def carry(self, write: Callable[[], None], **changes: Any) -> None:
        """Leave the record of a finished step to the next commit, whatever that is: the next start, a wait, or the end.

        Nothing slow may come before that commit. Dying before it is the same as dying before a commit of its own.
        """
        self._carried = (write, changes)
        self._remember(changes)

    def commit(self, write: journal.Write | None = None, **changes: Any) -> None:
        """`Fence.commit`, together with what was carried so far."""
        if self._carried is None:
            self.fence.commit(write, **changes)
            return
        carried, carried_changes = self._carried

        def both() -> dict[str, Any] | None:
            carried()
            return write() if write is not None else None

        try:
            self.fence.commit(both, **{**carried_changes, **changes})
        except SignalsChanged:
            self._remember(carried_changes)  # the row was read again, and does not have them yet
            raise
        self._carried = None

    def _remember(self, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(self.operation, name, value)

    def persist(self, write: journal.Write | None = None, **changes: Any) -> None:
        """Commit something that is true whatever others asked for meanwhile, and renew the lease."""
        while True:
            asked_at = time.monotonic()
            try:
                self.commit(write, **{**journal.lease_values(), **changes})
            except SignalsChanged:
                continue
            self.held.renewed(asked_at)
            return

    def commit_and_renew(self, write: journal.Write) -> None:
        """Commit and renew the lease, unless somebody asked for something since: then the driver decides again.

        Raises:
            SignalsChanged: Nothing was written.
        """
        asked_at = time.monotonic()
        self.commit(write, **journal.lease_values())
        self.held.renewed(asked_at)

    def rest(
        self,
        kind: WaitKind,
        reason: str,
        after: float | None,
        write: Callable[[], None] | None = None,
        *,
        hand_over: bool = False,
        **changes: Any,
    ) -> bool:
        """Give the operation back until a timer or a wake; returns False, for the loop to end."""
        while True:
            operation = self.operation
            woken = operation.signals != self.seen_signals
            resting = OperationState.WAITING if operation.state == OperationState.RUNNING else operation.state

            def all_writes(hand_on: bool = hand_over or woken) -> None:
                if write is not None:
                    write()
                if hand_on:
                    row = self.operation
                    transaction.on_commit(
                        partial(
                            nudge,
                            row.pk,
                            changes.get("queue", row.queue),
                            priority=changes.get("priority", row.priority),
                            time_limit=changes.get("time_limit", row.time_limit),
                            soft_time_limit=changes.get("soft_time_limit", row.soft_time_limit),
                        )
                    )

            try:
                self.commit(
                    all_writes,
                    **journal.release_values(0.0 if woken else after),
                    state=resting,
                    wait_kind=kind,
                    wait_reason=storable_text(reason)[:2000],
                    **changes,
                )
            except SignalsChanged:
                continue
            return False

    # -- one turn of the loop -----------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        operation = self.operation
        if operation.takeovers > settings.MAX_TAKEOVERS:
            current = self.steps.get(operation.position)
            if current is not None and parts.cancel_open(self, current):
                # They would go on without the claim that this operation's end gives back.
                return self.rest(
                    WaitKind.PARTS, "its parts are cancelled before it is set aside", settings.WAIT_FLOOR_SECONDS
                )
            return ending.quarantine(self, self._why_taken_over())
        if self._comes_too_early():
            return self.rest(
                WaitKind.OPERATION, "waiting for the operation that opened it to end", settings.WAIT_FLOOR_SECONDS
            )
        if operation.state == OperationState.CANCELLING and operation.phase in (StepPhase.MAIN, StepPhase.SUCCESS):
            return self._cancel()
        if operation.pause_requested:
            self.commit(
                lambda: journal.add_event(operation, "operation.paused"),
                **journal.release_values(None),
                state=OperationState.PAUSED,
                wait_kind=WaitKind.PAUSED,
                pause_requested=False,
            )
            return False
        if self.draining():
            return self.rest(WaitKind.QUEUE, "its worker is shutting down, another goes on", 0.0, hand_over=True)
        step = self.steps.get(operation.position)
        if step is None or step.phase != operation.phase:
            return self._next_phase()
        if step.state in _DONE:
            self.persist(**self.behind(step))
            return True
        if step.kind == Step.Kind.TASK:
            return attempts.advance(self, step)
        return parts.advance(self, step)

    def _why_taken_over(self) -> str:
        text = f"taken over {self.operation.takeovers} times without finishing a step: it may kill its workers"
        if self.operation.time_limit is not None:
            text += f", or need more than its time limit of {self.operation.time_limit:g} s"
        return text

    def _comes_too_early(self) -> bool:
        """Say whether the operation in whose step this one was opened still works, maybe on the same resource."""
        operation = self.operation
        if operation.parent_id is None or operation.parent_step_id is not None:
            return False
        if operation.state != OperationState.RUNNING or any(step.attempts for step in self.steps.values()):
            return False
        return Operation.objects.filter(pk=operation.parent_id, state__in=OPEN_OPERATION_STATES).exists()

    def _next_phase(self) -> bool:
        operation = self.operation
        if operation.phase == StepPhase.MAIN:
            self.persist(phase=StepPhase.SUCCESS, position=self.first(StepPhase.SUCCESS))
            return True
        if operation.phase == StepPhase.COMPENSATION:
            self.persist(phase=StepPhase.FAILURE, position=self.first(StepPhase.FAILURE))
            return True
        if operation.phase == StepPhase.FAILURE:
            return ending.fail(self)
        return ending.succeed(self)

    # -- what a step needs --------------------------------------------------------------------------------------------

    def may_run(self, step: Step, task: Any) -> bool:
        """Say whether this worker's message is of the queue and has the time limits that a step asks for."""
        if self.queue is None:
            return True
        queue = routing.queue_for(task, step.options, is_heavy=self.operation.is_heavy)
        return queue == self.queue and routing.limits_of(task, step.options) == self.limits

    def hand_over(self, step: Step, task: Any) -> bool:
        """Give the operation to a worker that may run its next step."""
        queue = routing.queue_for(task, step.options, is_heavy=self.operation.is_heavy)
        hard, soft = routing.limits_of(task, step.options)
        return self.rest(
            WaitKind.QUEUE,
            f"for a worker of queue {queue}",
            0.0,
            hand_over=True,
            queue=queue,
            time_limit=hard,
            soft_time_limit=soft,
            priority=step.options.get("priority", self.operation.priority),
        )

    def arguments(self, step: Step) -> tuple[list[Any], dict[str, Any]]:
        """Return a step's arguments, with the previous result where it takes one."""
        args, kwargs = list(step.args), dict(step.kwargs)
        if step.takes_result:
            available, value = self.previous_result(step)
            if available:
                args.insert(0, value)
        return args, kwargs

    def context(self, step: Step, *, began: bool = False, outcome_unknown: bool = False) -> StepContext:
        """Return what a step's code may know."""
        operation = self.operation
        return StepContext(
            idempotency_key=step.idempotency_key,
            operation_id=operation.pk,
            root_id=operation.root_id,
            step_id=step.pk,
            attempt=max(1, step.attempts),
            outcome_unknown=outcome_unknown,
            began=began,
            failed_error=operation.error,
            failed_traceback=operation.error_traceback,
            ensure_lease=self.held.ensure,
            polls=step.polls,
        )

    def behind(self, step: Step) -> dict[str, Any]:
        """Columns that go on behind a step; from the last main step to the success path in the same commit."""
        following = self.steps.get(step.position + 1)
        if step.phase == StepPhase.MAIN and (following is None or following.phase != StepPhase.MAIN):
            return {"phase": StepPhase.SUCCESS, "position": self.first(StepPhase.SUCCESS)}
        return {"position": step.position + 1}

    def first(self, phase: StepPhase) -> int:
        positions = [step.position for step in self.steps.values() if step.phase == phase]
        return min(positions, default=len(self.steps))

    def phase_steps(self, phase: StepPhase) -> list[Step]:
        """The steps of a phase, in order."""
        return sorted((s for s in self.steps.values() if s.phase == phase), key=lambda s: s.position)

    def previous_result(self, step: Step) -> tuple[bool, Any]:
        """Return whether there is a result to hand to a step, and the result."""
        before = self.steps.get(step.position - 1)
        if before is not None and before.phase == step.phase:
            return True, before.result
        if step.phase == StepPhase.MAIN and self.operation.input is not None:
            return True, self.operation.input.get("value")
        if step.phase == StepPhase.SUCCESS:
            main = self.phase_steps(StepPhase.MAIN)
            return bool(main), main[-1].result if main else None
        if step.phase == StepPhase.FAILURE:
            failed = self._failed_step()
            return True, step_task_id(failed) if failed is not None else str(self.operation.pk)
        return False, None

    def _failed_step(self) -> Step | None:
        failed = [s for s in self.steps.values() if s.state in (StepState.FAILED, StepState.CANCELLED)]
        return min(failed, key=lambda s: s.position, default=None)

    def step_failed(self, step: Step, error: Exception, *, state: StepState = StepState.FAILED) -> bool:
        """Record that a step failed for good and go over to undoing or to the failure path."""
        return ending.step_failed(self, step, error, state=state)

    def _cancel(self) -> bool:
        step = self.steps.get(self.operation.position)
        if step is not None and step.phase == self.operation.phase and parts.cancel_open(self, step):
            return self.rest(WaitKind.PARTS, "waiting for its parts to be cancelled", settings.WAIT_FLOOR_SECONDS)
        untouched = all(s.attempts == 0 and s.state not in _DONE for s in self.steps.values())
        if untouched and (step is None or step.state == StepState.PENDING or step.started_at is None):
            return ending.cancel_untouched(self)
        if step is None or step.phase != self.operation.phase:
            step = max(self.phase_steps(StepPhase(self.operation.phase)), key=lambda s: s.position, default=None)
        error = OperationCancelled("cancelled by a person")
        if step is None or step.state in _DONE:
            return ending.go_to_failure(self, error)
        return self.step_failed(step, error, state=StepState.CANCELLED)

    def part_failed(self, step: Step, text: str) -> bool:
        """Fail a step because one of its parts did not succeed."""
        return self.step_failed(step, StepFailed(text))
