"""Real workers: in threads of this process, and as processes that are killed in the middle of a step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import chain, group

from django_executors.models import Claim, Operation
from django_executors.worker import embedded_worker
from tests.acceptance.tasks import stand
from tests.acceptance.workers import Workers, ended, real_broker, wait_until
from tests.brokers import broker_at, purge
from tests.celeryapp import app
from tests.testapp.executors import BoxCreateExecutor, BoxDeleteExecutor, CanvasExecutor
from tests.testapp.models import Box, Call, Mark
from tests.testapp.tasks import collect, heavy_mark, mark

pytestmark = pytest.mark.django_db(transaction=True)

# -- in this process ------------------------------------------------------------------------------------------------


def test_an_embedded_worker_needs_nothing_but_the_database() -> None:
    with broker_at("memory://"), embedded_worker(app, concurrency=4):
        box = Box.objects.create(name="b")
        operation = ended(BoxCreateExecutor.execute(box))
        assert (operation.state, operation.error) == ("succeeded", "")
        box.refresh_from_db()
        assert (box.state, box.runtime_state, box.backend_id) == ("ok", "ACTIVE", f"cloud-{box.pk}")
        assert ended(BoxDeleteExecutor.execute(box)).state == "succeeded"
    assert not Box.objects.exists()
    assert not Claim.objects.exists()
    methods = ["create_box", "pull_runtime_state", "pull_box", "delete_box", "is_deleted"]
    assert list(Call.objects.values_list("method", flat=True)) == methods


def test_an_embedded_worker_serves_all_queues_and_many_operations_at_once() -> None:
    with broker_at("memory://"), embedded_worker(app, concurrency=4):
        operations = [
            CanvasExecutor.execute(
                Box.objects.create(name=f"b{number}"),
                build=lambda ref: chain(mark.si("a"), group(heavy_mark.si("b"), mark.si("c")), collect.s("d")),
            )
            for number in range(10)
        ]
        states = [ended(operation).state for operation in operations]
    assert states == ["succeeded"] * 10
    assert {operation.result[1][0] for operation in Operation.objects.filter(parent=None)} == {"b"}
    assert Mark.objects.count() == 40


# -- as processes ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["TEST_RABBITMQ_URL", "TEST_REDIS_URL"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    with real_broker(request.param) as url:
        started = Workers(url, tmp_path / "workers.log")
        yield started
        started.end()


def standing() -> list[str]:
    return list(Mark.objects.filter(what__startswith="stands").order_by("id").values_list("what", flat=True))


def test_a_worker_that_is_killed_in_mid_step_costs_time_and_nothing_else(workers: Workers, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    box = Box.objects.create(name="b", state="creation_scheduled")
    operation = CanvasExecutor.execute(
        box, build=lambda ref: chain(mark.si("before"), stand.si(str(gate)), collect.s("after"))
    )
    first = workers.start()
    wait_until(standing, "the first worker stands in the step")
    workers.kill(first)
    assert Operation.objects.get(pk=operation.pk).state == "running"
    second = workers.start()
    wait_until(lambda: len(standing()) == 2, "the second worker stands in the step")
    gate.touch()
    operation = ended(operation)
    assert (operation.state, operation.error) == ("succeeded", "")
    kinds = list(operation.events.order_by("id").values_list("kind", flat=True))
    assert kinds.count("operation.taken_over") == 1
    assert kinds.count("operation.succeeded") == 1
    step = operation.steps.get(position=1)
    assert (step.state, step.attempts) == ("succeeded", 2)
    assert list(step.attempt_rows.values_list("number", "outcome")) == [(1, "taken over")]
    marks = list(Mark.objects.exclude(what__startswith="stands").order_by("id").values_list("what", flat=True))
    assert marks == ["before", f"after<{step.result!r}"]
    assert standing()[1] == f"stands {step.result}"
    box.refresh_from_db()
    assert box.state == "ok"
    assert not Claim.objects.exists()
    assert workers.stop(second) == 0


def test_losing_all_messages_only_delays(workers: Workers) -> None:
    operations = [
        CanvasExecutor.execute(Box.objects.create(name="b"), build=lambda ref: chain(mark.si("a"), heavy_mark.si("b")))
        for _ in range(3)
    ]
    assert purge() == 3
    workers.start()
    assert [ended(operation).state for operation in operations] == ["succeeded"] * 3
    assert Mark.objects.count() == 6


def test_a_worker_that_is_asked_to_end_hands_over_behind_its_step(workers: Workers, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    operation = CanvasExecutor.execute(
        Box.objects.create(name="b"), build=lambda ref: chain(stand.si(str(gate)), mark.si("after"))
    )
    first = workers.start()
    wait_until(standing, "the first worker stands in the step")
    first.terminate()
    wait_until(lambda: "Warm shutdown" in workers.log.read_text(), "the worker knows that it has to end")
    gate.touch()
    assert first.wait(30) == 0
    row = Operation.objects.get(pk=operation.pk)
    assert (row.lease_owner, row.steps.get(position=0).attempts) == ("", 1)
    workers.start()
    operation = ended(operation)
    assert operation.state == "succeeded"
    assert list(operation.events.filter(kind="operation.taken_over")) == []
    assert operation.steps.get(position=0).attempts == 1
