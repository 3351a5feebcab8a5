"""Real workers and steps that kill them, or never end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, shared_task

from django_executors.conf import load
from django_executors.consistency import check_consistency
from django_executors.models import Claim, Event, Operation
from tests.acceptance.workers import Workers, ended, real_broker, wait_until
from tests.testapp.executors import BoxUpdateExecutor, CanvasExecutor
from tests.testapp.models import Box, Mark
from tests.testapp.tasks import mark

pytestmark = pytest.mark.django_db(transaction=True)

TRIES = load().MAX_TAKEOVERS + 1


@shared_task
def kill_worker() -> None:
    """Be a poison: the process that runs this is killed."""
    Mark.objects.create(what="poison")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def exit_worker() -> None:
    """End the process that runs this, as a library may that calls ``sys.exit``."""
    Mark.objects.create(what="exit")
    sys.exit(1)


@shared_task
def never_end() -> None:
    """Wait for something that does not come."""
    Mark.objects.create(what="endless")
    while True:
        time.sleep(0.05)


@pytest.fixture(params=["TEST_RABBITMQ_URL", "TEST_REDIS_URL"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    with real_broker(request.param) as url:
        started = Workers(url, tmp_path / "workers.log", include=("tests.acceptance.test_recovery",))
        yield started
        started.end()


def box(name: str) -> Box:
    return Box.objects.create(name=name, state="ok")


def run(step: Any, name: str = "b") -> Operation:
    return CanvasExecutor.execute(box(name), build=lambda _: chain(mark.si(f"{name} begins"), step, mark.si("never")))


def outcomes(operation: Operation, position: int = 1) -> list[str]:
    return list(operation.steps.get(position=position).attempt_rows.values_list("outcome", flat=True))


def violations() -> list[Any]:
    return [each for each in check_consistency() if not each.is_warning]


def test_a_poison_is_quarantined_after_a_few_workers_and_harms_nobody_else(workers: Workers) -> None:
    running = [workers.start(), workers.start()]
    poison, leaver = run(kill_worker.si(), "poison"), run(exit_worker.si(), "leaver")
    others = [BoxUpdateExecutor.execute(box(f"b{number}"), updated_fields=["name"]) for number in range(20)]
    assert [ended(operation).state for operation in others] == ["succeeded"] * 20
    for operation, what in ((poison, "poison"), (leaver, "exit")):
        operation = ended(operation)
        assert operation.state == "quarantined"
        assert f"taken over {TRIES} times without finishing a step: it may kill its workers" in operation.error
        assert Mark.objects.filter(what=what).count() == TRIES
        assert outcomes(operation) == ["taken over"] * TRIES + ["uncertain"]
    assert Mark.objects.filter(what="never").count() == 0
    assert {each.state for each in Box.objects.all()} == {"ok"}
    taken_over = Event.objects.filter(kind="operation.taken_over").exclude(operation__in=(poison, leaver))
    assert not taken_over.exists(), "only the poison's own process dies"
    late = BoxUpdateExecutor.execute(box("late"), updated_fields=["name"])
    assert ended(late).state == "succeeded", "the workers have new children"
    assert [process.poll() for process in running] == [None, None]
    assert not Claim.objects.exists()
    assert violations() == []


def test_a_step_that_never_ends_is_killed_at_its_time_limit_and_then_quarantined(workers: Workers) -> None:
    workers.start()
    operation = run(never_end.si().set(time_limit=1))
    beside = BoxUpdateExecutor.execute(box("beside"), updated_fields=["name"])
    assert ended(beside).state == "succeeded"
    operation = ended(operation)
    assert (operation.state, Mark.objects.filter(what="endless").count()) == ("quarantined", TRIES)
    assert outcomes(operation) == ["taken over"] * TRIES + ["uncertain"]
    assert "Hard time limit (1" in workers.log.read_text()
    assert violations() == []


def test_a_step_that_never_ends_fails_at_its_soft_time_limit(workers: Workers) -> None:
    workers.start()
    operation = ended(run(never_end.si().set(soft_time_limit=1)))
    assert operation.state == "failed"
    assert "SoftTimeLimitExceeded" in operation.error
    assert (outcomes(operation), Mark.objects.filter(what="endless").count()) == (["failed"], 1)
    assert violations() == []


def test_the_reason_of_a_quarantine_names_the_time_limit(workers: Workers) -> None:
    workers.start()
    operation = ended(run(never_end.si().set(time_limit=1)))
    assert "time limit of 1 s" in operation.error


def test_a_worker_whose_time_limit_ends_between_steps_is_not_stopped_by_it(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    steps = [mark.si(f"step {number}").set(time_limit=5, soft_time_limit=4) for number in range(5)]
    operation = CanvasExecutor.execute(box("b"), build=lambda _: chain(*steps, mark.si("unlimited")))
    assert ended(operation).state == "succeeded"
    wait_until(lambda: Mark.objects.filter(what="unlimited").exists(), "the last step")
    assert Mark.objects.count() == 6
