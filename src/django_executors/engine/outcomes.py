"""What may come of an attempt: not ready yet, to be tried again, failed, or a result that can be stored."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.exceptions import Retry
from django.db import InterfaceError, OperationalError
from django.utils.timezone import is_aware

from .. import clock, journal, plan, retries
from ..exceptions import BackendThrottled, BackendUnavailable, DeadlineExceeded, OutcomeUnknown, PlanError, StepWaiting
from ..models import Step
from ..states import StepState, WaitKind
from . import ending

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["failed", "not_ready", "refused", "retried", "storable"]

logger = logging.getLogger("django_executors")


def refused(driver: Driver, step: Step, task: Any, error: Exception) -> bool:
    """Deal with whatever kept a row-only step from being done; its writes are rolled back."""
    if isinstance(error, StepWaiting):
        return not_ready(driver, step, task, error)
    if isinstance(error, Retry):
        return retried(driver, step, error)
    return failed(driver, step, task, error)


def storable(driver: Driver, step: Step, result: Any) -> Any:
    """Return a result as it can be stored; None for one that is not JSON and that nobody waits for.

    Raises:
        PlanError: The next step wants it, and it is not JSON.
    """
    if hasattr(result, "_meta") and hasattr(result, "pk"):
        return f"{result._meta.label_lower}:{result.pk}"
    try:
        plan.check_json(result, f"the result of {step.name}")
    except PlanError:
        following = driver.steps.get(step.position + 1)
        if following is not None and (following.takes_result or following.kind != Step.Kind.TASK):
            raise
        logger.warning("operation %s: the result of %s is not JSON and is dropped", driver.operation.pk, step.name)
        return None
    return result


def not_ready(driver: Driver, step: Step, task: Any, waiting: StepWaiting) -> bool:
    """Let a step wait that looked and found it not ready, or fail it at its deadline."""
    deadline = waiting.deadline if waiting.deadline is not None else getattr(task, "deadline", None)
    if deadline is not None and _age(step) >= deadline:
        return driver.step_failed(
            step, DeadlineExceeded(f"gave up after {deadline:g} s of waiting for {waiting.reason}")
        )
    interval = float(getattr(task, "default_retry_delay", None) or 5)
    longest = float(getattr(task, "longest_poll_interval", 30))
    after = waiting.after
    if after is None:
        after = retries.poll_interval(interval, step.polls, max(longest, interval))
    polls = step.polls + 1
    return driver.rest(
        WaitKind(waiting.kind),
        waiting.reason,
        after,
        lambda: journal.update_step(step, state=StepState.WAITING, polls=polls, error=""),
        takeovers=0,
    )


def _age(step: Step) -> float:
    started = Step.objects.filter(pk=step.pk).values_list("started_at", flat=True).first()
    return 0.0 if started is None else (clock.read() - started).total_seconds()


def retried(driver: Driver, step: Step, retry: Retry, outcome_unknown: bool = False) -> bool:
    """Let a step wait whose task raised Celery's ``Retry``."""
    changes: dict[str, Any] = {}
    signature = getattr(retry, "sig", None)
    if signature is not None and not step.takes_result:
        args, kwargs = list(signature.args or ()), dict(signature.kwargs or {})
        if (args, kwargs) != (step.args, step.kwargs):
            try:
                plan.check_json([args, kwargs], f"arguments of the retried {step.name}")
            except PlanError as error:
                return driver.step_failed(step, error)
            changes = {"args": args, "kwargs": kwargs}
    reason = journal.error_text(retry.exc) if retry.exc else "the task asked to be tried again"
    state = StepState.UNCERTAIN if outcome_unknown else StepState.WAITING
    return _rest_for_retry(
        driver, step, "retried", retry.exc or retry, reason, _seconds(retry.when), state=state, **changes
    )


def _seconds(when: Any) -> float:
    if isinstance(when, datetime):
        now = datetime.now(when.tzinfo) if is_aware(when) else datetime.now()  # as naive as the eta
        return max(0.0, (when - now).total_seconds())
    return max(0.0, float(when or 0))


def _rest_for_retry(
    driver: Driver, step: Step, outcome: str, error: BaseException, reason: str, after: float, **changes: Any
) -> bool:
    number = step.retries + 1

    def write() -> None:
        journal.record_attempt(step, outcome, worker=driver.fence.owner, error=error)
        journal.update_step(step, retries=number, error=journal.error_text(error), **changes)

    return driver.rest(WaitKind.BACKOFF, f"retry {number} after: {reason}", after, write, takeovers=0)


def failed(driver: Driver, step: Step, task: Any, error: Exception, outcome_unknown: bool = False) -> bool:
    """Try a step again later, fail it, or set its operation aside, as the class of the error says."""
    unknown = error if isinstance(error, OutcomeUnknown) else None
    transient = isinstance(error, BackendUnavailable | OperationalError | InterfaceError)
    policy = retries.policy_of(task, step.options)
    if unknown is not None and (not unknown.findable or not getattr(task, "repeatable", True)):
        return ending.quarantine(driver, journal.error_text(error), error)
    if unknown is None and not transient:
        return driver.step_failed(step, error)
    # A call that had no effect says nothing about an earlier one: what was unknown stays so until an attempt ends well.
    uncertain = unknown is not None or outcome_unknown
    if not policy.allows(step.retries):
        if uncertain:
            return ending.quarantine(
                driver, f"still unknown after {step.retries} looks: {journal.error_text(error)}", error
            )
        return driver.step_failed(step, error)
    after = policy.delay(step.retries)
    if isinstance(error, BackendThrottled) and error.retry_after is not None:
        after = max(after, error.retry_after)
    return _rest_for_retry(
        driver,
        step,
        "uncertain" if unknown is not None else "retried",
        error,
        journal.error_text(error),
        after,
        state=StepState.UNCERTAIN if uncertain else StepState.WAITING,
    )
