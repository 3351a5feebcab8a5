"""A step that is a Celery task: where it may run, how an attempt starts, and what may come of it."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.exceptions import Retry
from django.db import InterfaceError, OperationalError
from django.utils.timezone import is_aware

from .. import clock, faults, journal, plan, registry, retries, routing, throttling
from ..conf import settings
from ..context import StepContext
from ..exceptions import (
    BackendThrottled,
    BackendUnavailable,
    DeadlineExceeded,
    ExecutorsError,
    LeaseLost,
    OutcomeUnknown,
    PlanError,
    StepWaiting,
)
from ..models import Operation, Step
from ..states import StepState, WaitKind
from . import ending
from .running import run_task

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["advance"]

logger = logging.getLogger("django_executors")


def advance(driver: Driver, step: Step) -> bool:
    """Run a task step once, or hand it to another worker, or let it wait; whether the driver goes on here."""
    task = registry.find_task(step.task)
    if task is None:
        return driver.rest(
            WaitKind.UNKNOWN_TASK,
            f"this code has no task {step.task!r}: deploy code that has it, or declare an alias",
            settings.UNKNOWN_TASK_SECONDS,
        )
    return _TaskStep(driver, step, task).advance()


class _TaskStep:
    """One step with its task, in the hands of the driver that holds the operation."""

    def __init__(self, driver: Driver, step: Step, task: Any) -> None:
        self.driver = driver
        self.step = step
        self.task = task

    def advance(self) -> bool:
        hop = self._hop()
        if hop is not None:
            return hop
        countdown = self.step.options.get("countdown")
        if countdown and self.step.state == StepState.PENDING:
            return self.driver.rest(
                WaitKind.COUNTDOWN,
                f"step {self.step.name} has a countdown of {countdown:g} s",
                float(countdown),
                lambda: journal.update_step(self.step, state=StepState.WAITING, started_at=clock.now()),
            )
        args, kwargs = list(self.step.args), dict(self.step.kwargs)
        if self.step.takes_result:
            available, value = self.driver.previous_result(self.step)
            if available:
                args.insert(0, value)
        if getattr(self.task, "transactional", False):
            return self._row_only(args, kwargs)
        return self._backend(args, kwargs)

    def _hop(self) -> bool | None:
        if self.driver.queue is None:
            return None
        queue = routing.queue_for(self.task, self.step.options, is_heavy=self.driver.operation.is_heavy)
        limits = (
            self.step.options.get("time_limit", getattr(self.task, "time_limit", None)),
            self.step.options.get("soft_time_limit", getattr(self.task, "soft_time_limit", None)),
        )
        priority = self.step.options.get("priority", self.driver.operation.priority)
        if queue == self.driver.queue and limits == self.driver.limits:
            return None
        return self.driver.rest(
            WaitKind.QUEUE,
            f"for a worker of queue {queue}",
            0.0,
            hand_over=True,
            queue=queue,
            time_limit=limits[0],
            soft_time_limit=limits[1],
            priority=priority,
        )

    def _context(self, *, began: bool, outcome_unknown: bool) -> StepContext:
        return StepContext(
            idempotency_key=self.step.idempotency_key,
            operation_id=self.driver.operation.pk,
            root_id=self.driver.operation.root_id,
            step_id=self.step.pk,
            attempt=max(1, self.step.attempts),
            outcome_unknown=outcome_unknown,
            began=began,
            failed_error=self.driver.operation.error,
            failed_traceback=self.driver.operation.error_traceback,
            ensure_lease=self.driver.held.ensure,
            polls=self.step.polls,
        )

    def _throttle_ready(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str, int] | None:
        """Ask a task which slot it needs; makes sure the throttle's row is there before the transaction that locks it."""
        wanted = getattr(self.task, "throttle", None)
        if wanted is None:
            return None
        need: tuple[str, str, int] = wanted(args, kwargs)
        throttling.ensure(need[0])
        return need

    def _start(self, args: list[Any], kwargs: dict[str, Any]) -> bool:
        """Commit that an attempt starts, with all that belongs to it. False: it has to wait for a slot."""
        need = self._throttle_ready(args, kwargs)
        waits = False

        def write() -> None:
            nonlocal waits
            waits = need is not None and not throttling.acquire(need[0], need[1], self.driver.operation, limit=need[2])
            if waits:
                return
            if not self.step.began and hasattr(self.task, "begin"):
                with_context = self._context(began=False, outcome_unknown=False)
                self.task.begin(args, kwargs, with_context)
            journal.start_attempt(self.step, began=True)

        self.driver.persist(write)
        if waits and need is not None:
            self._rest_for_slot(need[0])
        return not waits

    def _rest_for_slot(self, key: str) -> None:
        # A wake between the two commits raised ``signals``, so the rest below ends at once: nothing is missed.
        uncertain = self.step.state in (StepState.RUNNING, StepState.UNCERTAIN)
        self.driver.rest(
            WaitKind.THROTTLE,
            f"waiting for a free slot of {key}",
            settings.WAIT_FLOOR_SECONDS,
            lambda: journal.update_step(self.step, state=StepState.UNCERTAIN if uncertain else StepState.WAITING),
            wait_key=key[:255],
        )

    def _backend(self, args: list[Any], kwargs: dict[str, Any]) -> bool:
        outcome_unknown = self.step.state in (StepState.RUNNING, StepState.UNCERTAIN)
        if outcome_unknown and not getattr(self.task, "repeatable", True):
            return ending.quarantine(
                self.driver, f"nobody knows whether {self.step.name} had an effect, and it may not run twice"
            )
        try:
            started = self._start(args, kwargs)
        except (LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - a refused transition or wrong arguments fail the step
            return self.driver.step_failed(self.step, error)
        if not started:
            return False
        faults.reach("before step")
        context = self._context(began=True, outcome_unknown=outcome_unknown)
        outcome = run_task(self.task, self.driver.operation, self.step, args, kwargs, context)
        faults.reach("after step")
        if outcome.waiting is not None:
            return self._not_ready(outcome.waiting)
        if outcome.retry is not None:
            return self._celery_retry(outcome.retry, outcome_unknown)
        if outcome.error is not None:
            return self._attempt_failed(outcome.error, outcome_unknown)
        try:
            result = self._storable(outcome.result)
        except PlanError as error:
            return self.driver.step_failed(self.step, error)
        self.driver.persist(
            lambda: journal.finish_step(self.step, StepState.SUCCEEDED, result=result),
            **self.driver.behind(self.step),
            takeovers=0,
        )
        return True

    def _row_only(self, args: list[Any], kwargs: dict[str, Any]) -> bool:
        try:
            need = self._throttle_ready(args, kwargs)
        except ExecutorsError as refused:
            return self.driver.step_failed(self.step, refused)
        outcome = None
        waits = False

        def write() -> None:
            nonlocal outcome, waits
            waits = need is not None and not throttling.acquire(need[0], need[1], self.driver.operation, limit=need[2])
            if waits:
                # What follows is rolled forward: the place in line stays, the step has not run.
                Operation.objects.filter(pk=self.driver.operation.pk).update(
                    position=self.step.position, phase=self.step.phase
                )
                return
            context = self._context(began=False, outcome_unknown=False)
            outcome = run_task(self.task, self.driver.operation, self.step, args, kwargs, context)
            error = outcome.error or outcome.waiting or outcome.retry
            if error is not None:
                raise _RolledBack(error)
            result = self._storable(outcome.result)
            journal.finish_step(self.step, StepState.SUCCEEDED, result=result, attempts=self.step.attempts + 1)

        try:
            self.driver.persist(write, **self.driver.behind(self.step), takeovers=0)
        except _RolledBack as rolled_back:
            error = rolled_back.error
            if isinstance(error, StepWaiting):
                return self._not_ready(error)
            if isinstance(error, Retry):
                return self._celery_retry(error)
            if isinstance(error, OperationalError | InterfaceError):
                raise error from None
            return self._attempt_failed(error)
        except PlanError as refused:
            return self.driver.step_failed(self.step, refused)
        if waits and need is not None:
            self.driver.operation.position, self.driver.operation.phase = self.step.position, self.step.phase
            self._rest_for_slot(need[0])
            return False
        return True

    def _storable(self, result: Any) -> Any:
        if hasattr(result, "_meta") and hasattr(result, "pk"):
            return f"{result._meta.label_lower}:{result.pk}"
        try:
            plan.check_json(result, f"the result of {self.step.name}")
        except PlanError:
            following = self.driver.steps.get(self.step.position + 1)
            if following is not None and (following.takes_result or following.kind != Step.Kind.TASK):
                raise
            logger.warning(
                "operation %s: the result of %s is not JSON and is dropped", self.driver.operation.pk, self.step.name
            )
            return None
        return result

    # -- what may come of it ------------------------------------------------------------------------------------------

    def _not_ready(self, waiting: StepWaiting) -> bool:
        deadline = waiting.deadline if waiting.deadline is not None else getattr(self.task, "deadline", None)
        if deadline is not None and self._age() >= deadline:
            return self.driver.step_failed(
                self.step, DeadlineExceeded(f"gave up after {deadline:g} s of waiting for {waiting.reason}")
            )
        interval = float(getattr(self.task, "default_retry_delay", None) or 5)
        longest = float(getattr(self.task, "longest_poll_interval", 30))
        after = waiting.after
        if after is None:
            after = retries.poll_interval(interval, self.step.polls, max(longest, interval))
        return self.driver.rest(
            WaitKind(waiting.kind),
            waiting.reason,
            after,
            lambda: journal.update_step(self.step, state=StepState.WAITING, polls=self.step.polls + 1, error=""),
            takeovers=0,
        )

    def _age(self) -> float:
        started = Step.objects.filter(pk=self.step.pk).values_list("started_at", flat=True).first()
        return 0.0 if started is None else (clock.read() - started).total_seconds()

    def _celery_retry(self, retry: Retry, outcome_unknown: bool = False) -> bool:
        changes: dict[str, Any] = {}
        signature = getattr(retry, "sig", None)
        if signature is not None and not self.step.takes_result:
            args, kwargs = list(signature.args or ()), dict(signature.kwargs or {})
            if (args, kwargs) != (self.step.args, self.step.kwargs):
                try:
                    plan.check_json([args, kwargs], f"arguments of the retried {self.step.name}")
                except PlanError as error:
                    return self.driver.step_failed(self.step, error)
                changes = {"args": args, "kwargs": kwargs}
        reason = journal.error_text(retry.exc) if retry.exc else "the task asked to be tried again"
        state = StepState.UNCERTAIN if outcome_unknown else StepState.WAITING
        return self.driver.rest(
            WaitKind.BACKOFF,
            f"retry {self.step.retries + 1} after: {reason}",
            self._seconds(retry.when),
            lambda: self._write_retry("retried", retry.exc or retry, state, changes),
            takeovers=0,
        )

    @staticmethod
    def _seconds(when: Any) -> float:
        if isinstance(when, datetime):
            now = datetime.now(when.tzinfo) if is_aware(when) else datetime.now()  # as naive as the eta
            return max(0.0, (when - now).total_seconds())
        return max(0.0, float(when or 0))

    def _write_retry(self, outcome: str, error: BaseException, state: StepState, changes: dict[str, Any]) -> None:
        journal.record_attempt(self.step, outcome, worker=self.driver.fence.owner, error=error)
        journal.update_step(
            self.step, state=state, retries=self.step.retries + 1, error=journal.error_text(error), **changes
        )

    def _attempt_failed(self, error: Exception, outcome_unknown: bool = False) -> bool:
        unknown = error if isinstance(error, OutcomeUnknown) else None
        transient = isinstance(error, BackendUnavailable | OperationalError | InterfaceError)
        policy = retries.policy_of(self.task, self.step.options)
        if unknown is not None and (not unknown.findable or not getattr(self.task, "repeatable", True)):
            return ending.quarantine(self.driver, journal.error_text(error), error)
        if unknown is None and not transient:
            return self.driver.step_failed(self.step, error)
        # A call that had no effect says nothing about an earlier one: what was unknown stays so until an attempt ends well.
        uncertain = unknown is not None or outcome_unknown
        if not policy.allows(self.step.retries):
            if uncertain:
                return ending.quarantine(
                    self.driver, f"still unknown after {self.step.retries} looks: {journal.error_text(error)}", error
                )
            return self.driver.step_failed(self.step, error)
        after = policy.delay(self.step.retries)
        if isinstance(error, BackendThrottled) and error.retry_after is not None:
            after = max(after, error.retry_after)
        state = StepState.UNCERTAIN if uncertain else StepState.WAITING
        return self.driver.rest(
            WaitKind.BACKOFF,
            f"retry {self.step.retries + 1} after: {journal.error_text(error)}",
            after,
            lambda: self._write_retry("uncertain" if unknown is not None else "retried", error, state, {}),
            takeovers=0,
        )


class _RolledBack(Exception):
    def __init__(self, error: Any) -> None:
        self.error = error
        super().__init__(str(error))
