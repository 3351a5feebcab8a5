"""A process that dies at any point of a small operation loses nothing and repeats nothing that it should not."""

from __future__ import annotations

import pytest

from django_executors.models import Claim, Operation
from tests.crash.driving import count_points, drive_to_end, run_and_kill
from tests.testapp.executors import BoxCreateExecutor, BoxDeleteExecutor, BoxThrottledCreateExecutor
from tests.testapp.models import Box, Call

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("executor", [BoxCreateExecutor, BoxThrottledCreateExecutor])
def test_a_create_killed_at_any_point_ends_with_the_row_ok(executor):
    def run() -> None:
        operation = Operation.objects.get()
        drive_to_end(operation)

    box = Box.objects.create(name="dry run")
    executor.execute(box)
    points = count_points(run)
    assert len(points) >= 4
    for at in range(len(points)):
        Operation.objects.all().delete()
        Box.objects.all().delete()
        Call.objects.all().delete()
        box = Box.objects.create(name=f"killed {points[at]}")
        operation = executor.execute(box)
        assert run_and_kill(run, at), (at, points[at])
        ended = drive_to_end(operation)
        box.refresh_from_db()
        assert (ended.state, box.state) == ("succeeded", "ok"), (at, points[at], ended.error)
        creates = Call.objects.filter(method="create_box").count()
        assert creates == 1 or (creates == 2 and ended.events.filter(kind="operation.taken_over").exists())
        assert not Claim.objects.exists()
        assert all(step.state == "succeeded" for step in operation.steps.exclude(phase="failure"))


def test_a_delete_killed_at_any_point_ends_without_the_row():
    def run() -> None:
        drive_to_end(Operation.objects.get())

    box = Box.objects.create(name="dry run", state="ok")
    BoxDeleteExecutor.execute(box)
    points = count_points(run)
    for at in range(len(points)):
        Operation.objects.all().delete()
        box = Box.objects.create(name=f"killed {points[at]}", state="ok")
        operation = BoxDeleteExecutor.execute(box)
        assert run_and_kill(run, at)
        assert drive_to_end(operation).state == "succeeded", (at, points[at])
        assert not Box.objects.exists()
        assert not Claim.objects.exists()
