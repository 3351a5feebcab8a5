"""Runs steps that only write rows: each happens exactly once, because it runs in the commit that records it.

Several in a row share one commit: what a step costs is then mostly its own statements. Rolled back, they have not happened,
so whatever one of them raises, those before it are run and committed without it, and then it alone decides what follows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError

from .. import journal, registry, throttling
from ..exceptions import ExecutorsError, PlanError
from ..models import Step
from ..states import OperationState, StepPhase, StepState
from . import ending, outcomes
from .running import run_task
from .slots import need_of, rest_for_slot

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["advance"]

_MOST_STEPS = 25
_LONGEST_SECONDS = 0.1
"""A commit holds locks, and others wait for them: it takes no further step after that time."""

_TRIES_AS_A_DATABASE_ERROR = 3
"""So often a database error of a step is taken for a deadlock or a broken connection, and the commit is tried again."""


class _RolledBack(Exception):
    def __init__(self, index: int, error: Exception) -> None:
        self.index = index
        self.error = error
        super().__init__(str(error))


def advance(driver: Driver, step: Step, task: Any) -> bool:
    """Run a row-only step and those of its kind that follow; whether the driver goes on here."""
    if getattr(task, "throttle", None) is not None:
        return _advance_throttled(driver, step, task)
    batch = [(step, task), *_following(driver, step)]
    while True:
        try:
            return _commit(driver, batch)
        except _RolledBack as rolled_back:
            if rolled_back.index == 0:
                return outcomes.refused(driver, step, task, rolled_back.error)
            batch = batch[: rolled_back.index]


def _following(driver: Driver, step: Step) -> list[tuple[Step, Any]]:
    """Return the steps that may share a commit with this one, with their tasks."""
    found: list[tuple[Step, Any]] = []
    while len(found) < _MOST_STEPS - 1:
        behind = driver.behind(step)
        following = driver.steps.get(behind["position"])
        if following is None or following.phase != behind.get("phase", step.phase):
            break
        if following.kind != Step.Kind.TASK or following.state != StepState.PENDING:
            break
        task = registry.find_task(following.task)
        if (
            task is None
            or not getattr(task, "transactional", False)
            or getattr(task, "throttle", None) is not None
            or following.options.get("countdown")
            or not driver.may_run(following, task)
        ):
            break
        found.append((following, task))
        step = following
    return found


def _commit(driver: Driver, batch: list[tuple[Step, Any]]) -> bool:
    before = [(step, step.state, step.result) for step, _ in batch]
    done: list[Step] = []
    tries = 0
    ended = False

    def forget() -> None:
        done.clear()
        for step, state, result in before:
            step.state, step.result = state, result

    def write() -> dict[str, Any]:
        nonlocal tries, ended
        tries += 1
        forget()
        began = time.monotonic()
        # After a deadlock one step at a time: the others may be what we waited for in the wrong order.
        for index, (step, task) in enumerate(batch if tries == 1 else batch[:1]):
            if index and time.monotonic() - began > _LONGEST_SECONDS:
                break
            step.result = _result(driver, step, task, index, tries)
            step.state = StepState.SUCCEEDED
            done.append(step)
        journal.finish_rows(done)
        columns = {"phase": done[-1].phase, **driver.behind(done[-1]), "takeovers": 0}
        ended = _is_the_end(driver, columns)
        if ended:
            ending.write_success(driver)
            columns |= ending.success_values(driver)
        return columns

    try:
        driver.commit_and_renew(write)
    except BaseException:
        forget()
        raise
    for step in done:
        step.attempts += 1
        step.began = True
    return not ended


def _result(driver: Driver, step: Step, task: Any, index: int, tries: int) -> Any:
    """Run a step inside of its commit and return its result; whatever it raises rolls the commit back."""
    args, kwargs = driver.arguments(step)
    outcome = run_task(task, driver.operation, step, args, kwargs, driver.context(step, began=step.began))
    error = outcome.error or outcome.waiting or outcome.retry
    if isinstance(error, OperationalError | InterfaceError) and tries <= _TRIES_AS_A_DATABASE_ERROR:
        raise error  # for the commit to be tried again
    if error is not None:
        raise _RolledBack(index, error)
    try:
        return outcomes.storable(driver, step, outcome.result)
    except PlanError as refused:
        raise _RolledBack(index, refused) from refused


def _is_the_end(driver: Driver, columns: dict[str, Any]) -> bool:
    """Say whether nothing is left to do but to end the operation well."""
    operation = driver.operation
    following = driver.steps.get(columns["position"])
    return (
        columns["phase"] == StepPhase.SUCCESS
        and operation.state == OperationState.RUNNING
        and not operation.pause_requested
        and (following is None or following.phase != StepPhase.SUCCESS)
    )


def _advance_throttled(driver: Driver, step: Step, task: Any) -> bool:
    args, kwargs = driver.arguments(step)
    try:
        need = need_of(task, args, kwargs)
    except ExecutorsError as refused:
        return driver.step_failed(step, refused)
    waits = False
    attempts = step.attempts + 1
    tries = 0

    def write() -> dict[str, Any]:
        nonlocal waits, tries
        tries += 1
        waits = not throttling.acquire(need.key, need.resource, driver.operation, limit=need.limit)
        if waits:
            return {}  # the place in line stays, the step has not run
        result = _result(driver, step, task, 0, tries)
        journal.finish_step(step, StepState.SUCCEEDED, result=result, attempts=attempts, began=True)
        return {**driver.behind(step), "takeovers": 0}

    try:
        driver.persist(write)
    except _RolledBack as rolled_back:
        return outcomes.refused(driver, step, task, rolled_back.error)
    if waits:
        rest_for_slot(driver, step, need.key)
    return not waits
