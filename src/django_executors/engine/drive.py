"""Drives an operation: claim, run, record, next, until the plan ends, a wait begins, or another worker must go on.

Two invariants, kept by `journal.Fence.commit`:

- a step that only writes rows runs in the commit that records it, so it happens exactly once;
- a step that calls a backend is marked as started in one commit, runs outside of any transaction, and is recorded in a
  second one. A worker that dies in between leaves the mark, and the next attempt knows that it has to look first.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from celery.exceptions import Retry
from django.db import InterfaceError, OperationalError, transaction
from django.utils.timezone import is_aware

from .. import clock, faults, journal, plan, registry, retries, routing, throttling
from ..conf import settings
from ..context import StepContext
from ..exceptions import (
    BackendThrottled,
    BackendUnavailable,
    DeadlineExceeded,
    LeaseLost,
    OperationCancelled,
    OutcomeUnknown,
    PlanError,
    StepFailed,
    StepWaiting,
)
from ..journal import Fence, SignalsChanged
from ..models import Operation, Step
from ..nudges import nudge
from ..states import OperationState, StepPhase, StepState, WaitKind
from . import ending, lease, parts
from .running import run_task, step_task_id

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

    @property
    def operation(self) -> Operation:
        return self.fence.operation

    def run(self, taken_over: bool) -> None:
        self.steps = {step.position: step for step in Step.objects.filter(operation=self.operation)}
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

    def persist(self, write: Callable[[], None] | None = None, **changes: Any) -> None:
        """Commit something that is true whatever others asked for meanwhile, and renew the lease."""
        while True:
            asked_at = time.monotonic()
            try:
                self.fence.commit(write, **{**journal.lease_values(), **changes})
            except SignalsChanged:
                continue
            self.held.renewed(asked_at)
            return

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
                self.fence.commit(
                    all_writes,
                    **journal.release_values(0.0 if woken else after),
                    state=resting,
                    wait_kind=kind,
                    wait_reason=reason[:2000],
                    **changes,
                )
            except SignalsChanged:
                continue
            return False

    # -- one turn of the loop -----------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        operation = self.operation
        if operation.takeovers > settings.MAX_TAKEOVERS:
            return self._quarantine(
                f"taken over {operation.takeovers} times without finishing a step: it may kill its workers"
            )
        if operation.state == OperationState.CANCELLING and operation.phase in (StepPhase.MAIN, StepPhase.SUCCESS):
            return self._cancel()
        if operation.pause_requested:
            self.fence.commit(
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
            return self._task(step)
        return parts.advance(self, step)

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

    # -- task steps ---------------------------------------------------------------------------------------------------

    def _task(self, step: Step) -> bool:
        task = registry.find_task(step.task)
        if task is None:
            return self.rest(
                WaitKind.UNKNOWN_TASK,
                f"this code has no task {step.task!r}: deploy code that has it, or declare an alias",
                settings.UNKNOWN_TASK_SECONDS,
            )
        hop = self._hop(step, task)
        if hop is not None:
            return hop
        countdown = step.options.get("countdown")
        if countdown and step.state == StepState.PENDING:
            return self.rest(
                WaitKind.COUNTDOWN,
                f"step {step.name} has a countdown of {countdown:g} s",
                float(countdown),
                lambda: journal.update_step(step, state=StepState.WAITING, started_at=clock.now()),
            )
        args, kwargs = list(step.args), dict(step.kwargs)
        if step.takes_result:
            available, value = self.previous_result(step)
            if available:
                args.insert(0, value)
        if getattr(task, "transactional", False):
            return self._row_only(step, task, args, kwargs)
        return self._backend(step, task, args, kwargs)

    def _hop(self, step: Step, task: Any) -> bool | None:
        if self.queue is None:
            return None
        queue = routing.queue_for(task, step.options, is_heavy=self.operation.is_heavy)
        limits = (
            step.options.get("time_limit", getattr(task, "time_limit", None)),
            step.options.get("soft_time_limit", getattr(task, "soft_time_limit", None)),
        )
        priority = step.options.get("priority", self.operation.priority)
        if queue == self.queue and limits == self.limits:
            return None
        return self.rest(
            WaitKind.QUEUE,
            f"for a worker of queue {queue}",
            0.0,
            hand_over=True,
            queue=queue,
            time_limit=limits[0],
            soft_time_limit=limits[1],
            priority=priority,
        )

    def _context(self, step: Step, *, began: bool, outcome_unknown: bool) -> StepContext:
        return StepContext(
            idempotency_key=step.idempotency_key,
            operation_id=self.operation.pk,
            root_id=self.operation.root_id,
            step_id=step.pk,
            attempt=max(1, step.attempts),
            outcome_unknown=outcome_unknown,
            began=began,
            failed_error=self.operation.error,
            failed_traceback=self.operation.error_traceback,
            ensure_lease=self.held.ensure,
            polls=step.polls,
        )

    def _throttle_ready(self, task: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str, int] | None:
        """Ask a task which slot it needs; makes sure the throttle's row is there before the transaction that locks it."""
        wanted = getattr(task, "throttle", None)
        if wanted is None:
            return None
        need: tuple[str, str, int] = wanted(args, kwargs)
        throttling.ensure(need[0])
        return need

    def _start(self, step: Step, task: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
        """Commit that an attempt starts, with all that belongs to it. False: it has to wait for a slot."""
        need = self._throttle_ready(task, args, kwargs)
        waits = False

        def write() -> None:
            nonlocal waits
            waits = need is not None and not throttling.acquire(need[0], need[1], self.operation, limit=need[2])
            if waits:
                return
            if not step.began and hasattr(task, "begin"):
                with_context = self._context(step, began=False, outcome_unknown=False)
                task.begin(args, kwargs, with_context)
            journal.start_attempt(step, began=True)

        self.persist(write)
        if waits and need is not None:
            self._rest_for_slot(step, need[0])
        return not waits

    def _rest_for_slot(self, step: Step, key: str) -> None:
        # A wake between the two commits raised ``signals``, so the rest below ends at once: nothing is missed.
        uncertain = step.state in (StepState.RUNNING, StepState.UNCERTAIN)
        self.rest(
            WaitKind.THROTTLE,
            f"waiting for a free slot of {key}",
            settings.WAIT_FLOOR_SECONDS,
            lambda: journal.update_step(step, state=StepState.UNCERTAIN if uncertain else StepState.WAITING),
            wait_key=key[:255],
        )

    def _backend(self, step: Step, task: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
        outcome_unknown = step.state in (StepState.RUNNING, StepState.UNCERTAIN)
        if outcome_unknown and not getattr(task, "repeatable", True):
            return self._quarantine(f"nobody knows whether {step.name} had an effect, and it may not run twice")
        try:
            started = self._start(step, task, args, kwargs)
        except (LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - a refused transition or wrong arguments fail the step
            return self.step_failed(step, error)
        if not started:
            return False
        faults.reach("before step")
        context = self._context(step, began=True, outcome_unknown=outcome_unknown)
        outcome = run_task(task, self.operation, step, args, kwargs, context)
        faults.reach("after step")
        if outcome.waiting is not None:
            return self._not_ready(step, task, outcome.waiting)
        if outcome.retry is not None:
            return self._celery_retry(step, outcome.retry, outcome_unknown)
        if outcome.error is not None:
            return self._attempt_failed(step, task, outcome.error, outcome_unknown)
        try:
            result = self._storable(step, outcome.result)
        except PlanError as error:
            return self.step_failed(step, error)
        self.persist(
            lambda: journal.finish_step(step, StepState.SUCCEEDED, result=result),
            **self.behind(step),
            takeovers=0,
        )
        return True

    def _row_only(self, step: Step, task: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
        need = self._throttle_ready(task, args, kwargs)
        outcome = None
        waits = False

        def write() -> None:
            nonlocal outcome, waits
            waits = need is not None and not throttling.acquire(need[0], need[1], self.operation, limit=need[2])
            if waits:
                # What follows is rolled forward: the place in line stays, the step has not run.
                Operation.objects.filter(pk=self.operation.pk).update(position=step.position, phase=step.phase)
                return
            context = self._context(step, began=False, outcome_unknown=False)
            outcome = run_task(task, self.operation, step, args, kwargs, context)
            error = outcome.error or outcome.waiting or outcome.retry
            if error is not None:
                raise _RolledBack(error)
            result = self._storable(step, outcome.result)
            journal.finish_step(step, StepState.SUCCEEDED, result=result, attempts=step.attempts + 1)

        try:
            self.persist(write, **self.behind(step), takeovers=0)
        except _RolledBack as rolled_back:
            error = rolled_back.error
            if isinstance(error, StepWaiting):
                return self._not_ready(step, task, error)
            if isinstance(error, Retry):
                return self._celery_retry(step, error)
            if isinstance(error, OperationalError | InterfaceError):
                raise error from None
            return self._attempt_failed(step, task, error)
        except PlanError as error:
            return self.step_failed(step, error)
        if waits and need is not None:
            self.operation.position, self.operation.phase = step.position, step.phase
            self._rest_for_slot(step, need[0])
            return False
        return True

    def _storable(self, step: Step, result: Any) -> Any:
        if hasattr(result, "_meta") and hasattr(result, "pk"):
            return f"{result._meta.label_lower}:{result.pk}"
        try:
            plan.check_json(result, f"the result of {step.name}")
        except PlanError:
            following = self.steps.get(step.position + 1)
            if following is not None and (following.takes_result or following.kind != Step.Kind.TASK):
                raise
            logger.warning("operation %s: the result of %s is not JSON and is dropped", self.operation.pk, step.name)
            return None
        return result

    # -- what may come of an attempt ----------------------------------------------------------------------------------

    def _not_ready(self, step: Step, task: Any, waiting: StepWaiting) -> bool:
        deadline = waiting.deadline if waiting.deadline is not None else getattr(task, "deadline", None)
        if deadline is not None and self._age(step) >= deadline:
            return self.step_failed(
                step, DeadlineExceeded(f"gave up after {deadline:g} s of waiting for {waiting.reason}")
            )
        interval = float(getattr(task, "default_retry_delay", None) or 5)
        longest = float(getattr(task, "longest_poll_interval", 30))
        after = waiting.after
        if after is None:
            after = retries.poll_interval(interval, step.polls, max(longest, interval))
        return self.rest(
            WaitKind(waiting.kind),
            waiting.reason,
            after,
            lambda: journal.update_step(step, state=StepState.WAITING, polls=step.polls + 1, error=""),
            takeovers=0,
        )

    def _age(self, step: Step) -> float:
        started = Step.objects.filter(pk=step.pk).values_list("started_at", flat=True).first()
        return 0.0 if started is None else (clock.read() - started).total_seconds()

    def _celery_retry(self, step: Step, retry: Retry, outcome_unknown: bool = False) -> bool:
        changes: dict[str, Any] = {}
        signature = getattr(retry, "sig", None)
        if signature is not None and not step.takes_result:
            args, kwargs = list(signature.args or ()), dict(signature.kwargs or {})
            if (args, kwargs) != (step.args, step.kwargs):
                try:
                    plan.check_json([args, kwargs], f"arguments of the retried {step.name}")
                except PlanError as error:
                    return self.step_failed(step, error)
                changes = {"args": args, "kwargs": kwargs}
        reason = journal.error_text(retry.exc) if retry.exc else "the task asked to be tried again"
        state = StepState.UNCERTAIN if outcome_unknown else StepState.WAITING
        return self.rest(
            WaitKind.BACKOFF,
            f"retry {step.retries + 1} after: {reason}",
            self._seconds(retry.when),
            lambda: self._write_retry(step, "retried", retry.exc or retry, state, changes),
            takeovers=0,
        )

    @staticmethod
    def _seconds(when: Any) -> float:
        if isinstance(when, datetime):
            now = datetime.now(when.tzinfo) if is_aware(when) else datetime.now()  # as naive as the eta
            return max(0.0, (when - now).total_seconds())
        return max(0.0, float(when or 0))

    def _write_retry(
        self, step: Step, outcome: str, error: BaseException, state: StepState, changes: dict[str, Any]
    ) -> None:
        journal.record_attempt(step, outcome, worker=self.fence.owner, error=error)
        journal.update_step(step, state=state, retries=step.retries + 1, error=journal.error_text(error), **changes)

    def _attempt_failed(self, step: Step, task: Any, error: Exception, outcome_unknown: bool = False) -> bool:
        unknown = error if isinstance(error, OutcomeUnknown) else None
        transient = isinstance(error, BackendUnavailable | OperationalError | InterfaceError)
        policy = retries.policy_of(task, step.options)
        if unknown is not None and (not unknown.findable or not getattr(task, "repeatable", True)):
            return self._quarantine(journal.error_text(error), error)
        if unknown is None and not transient:
            return self.step_failed(step, error)
        # A call that had no effect says nothing about an earlier one: what was unknown stays so until an attempt ends well.
        uncertain = unknown is not None or outcome_unknown
        if not policy.allows(step.retries):
            if uncertain:
                return self._quarantine(f"still unknown after {step.retries} looks: {journal.error_text(error)}", error)
            return self.step_failed(step, error)
        after = policy.delay(step.retries)
        if isinstance(error, BackendThrottled) and error.retry_after is not None:
            after = max(after, error.retry_after)
        state = StepState.UNCERTAIN if uncertain else StepState.WAITING
        return self.rest(
            WaitKind.BACKOFF,
            f"retry {step.retries + 1} after: {journal.error_text(error)}",
            after,
            lambda: self._write_retry(step, "uncertain" if unknown is not None else "retried", error, state, {}),
            takeovers=0,
        )

    def step_failed(self, step: Step, error: Exception, *, state: StepState = StepState.FAILED) -> bool:
        """Record that a step failed for good and go over to undoing or to the failure path."""
        return ending.step_failed(self, step, error, state=state)

    def _quarantine(self, reason: str, error: BaseException | None = None) -> bool:
        return ending.quarantine(self, reason, error)

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


class _RolledBack(Exception):
    def __init__(self, error: Any) -> None:
        self.error = error
        super().__init__(str(error))
