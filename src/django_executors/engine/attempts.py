"""A step that is a Celery task: which worker may run it, how an attempt starts, and how it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError, connection

from .. import clock, faults, journal, registry, throttling
from ..conf import settings
from ..exceptions import LeaseLost, PlanError, StepFailed
from ..journal import SignalsChanged
from ..models import Step
from ..states import StepState, WaitKind
from . import ending, outcomes, rows
from .connections import close_left_open
from .running import run_task
from .slots import need_of, rest_for_slot

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["advance"]


def advance(driver: Driver, step: Step) -> bool:
    """Run a task step, or hand it to another worker, or let it wait; whether the driver goes on here."""
    task = registry.find_task(step.task)
    if task is None:
        return driver.rest(
            WaitKind.UNKNOWN_TASK,
            f"this code has no task {step.task!r}: deploy code that has it, or declare an alias",
            settings.UNKNOWN_TASK_SECONDS,
        )
    if not driver.may_run(step, task):
        return driver.hand_over(step, task)
    countdown = step.options.get("countdown")
    if countdown and step.state == StepState.PENDING:
        return driver.rest(
            WaitKind.COUNTDOWN,
            f"step {step.name} has a countdown of {countdown:g} s",
            float(countdown),
            lambda: journal.update_step(step, state=StepState.WAITING, started_at=clock.now()),
        )
    if getattr(task, "transactional", False):
        return rows.advance(driver, step, task)
    return _advance_backend(driver, step, task)


def _advance_backend(driver: Driver, step: Step, task: Any) -> bool:
    outcome_unknown = step.state in (StepState.RUNNING, StepState.UNCERTAIN)
    if outcome_unknown and not getattr(task, "repeatable", True):
        return ending.quarantine(driver, f"nobody knows whether {step.name} had an effect, and it may not run twice")
    args, kwargs = driver.arguments(step)
    try:
        started = _start(driver, step, task, args, kwargs)
    except (LeaseLost, SignalsChanged, OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 - a refused transition or wrong arguments fail the step
        return driver.step_failed(step, error)
    if not started:
        return False
    faults.reach("before step")
    nested = connection.in_atomic_block  # the caller's own transaction: a test, or a call with is_async=False
    context = driver.context(step, began=True, outcome_unknown=outcome_unknown)
    outcome = run_task(task, driver.operation, step, args, kwargs, context)
    faults.reach("after step")
    left_open = [] if nested else close_left_open()
    if left_open:
        text = f"{step.name} left a transaction open on {', '.join(left_open)}; what it wrote there was rolled back"
        return driver.step_failed(step, StepFailed(text))
    if outcome.waiting is not None:
        return outcomes.not_ready(driver, step, task, outcome.waiting)
    if outcome.retry is not None:
        return outcomes.retried(driver, step, outcome.retry, outcome_unknown)
    if outcome.error is not None:
        # A database that fails under a backend's feet says nothing about what the cloud was asked before.
        unknown = outcome_unknown or isinstance(outcome.error, OperationalError | InterfaceError)
        return outcomes.failed(driver, step, task, outcome.error, unknown)
    try:
        result = outcomes.storable(driver, step, outcome.result)
    except PlanError as error:
        return driver.step_failed(step, error)
    behind = driver.behind(step)
    driver.carry(
        lambda: journal.finish_step(step, StepState.SUCCEEDED, result=result),
        **behind,
        takeovers=0,
    )
    step.state, step.result = StepState.SUCCEEDED, result
    return True


def _start(driver: Driver, step: Step, task: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Commit that an attempt starts, with all that belongs to it. False: it has to wait for a slot."""
    need = need_of(task, args, kwargs) if getattr(task, "throttle", None) is not None else None
    number = step.attempts + 1
    waits = False

    def write() -> None:
        nonlocal waits
        waits = need is not None and not throttling.acquire(need.key, need.resource, driver.operation, limit=need.limit)
        if waits:
            return
        if not step.began and hasattr(task, "begin"):
            task.begin(args, kwargs, driver.context(step))
        journal.start_attempt(step, number, began=True)

    driver.commit_and_renew(write)
    if waits and need is not None:
        rest_for_slot(driver, step, need.key)
    return not waits
