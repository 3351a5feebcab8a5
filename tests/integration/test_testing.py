"""`django_executors.testing` finds what it is meant to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group, shared_task

from django_executors import clock, tasks
from django_executors.context import StepContext, step_context
from django_executors.exceptions import LeaseLost, OutcomeUnknown
from django_executors.models import Operation
from django_executors.testing import (
    FakeBackend,
    advance,
    assert_transcript,
    crash_after_every_step,
    crash_everywhere,
    fake_broker,
    fake_clock,
    run,
    run_due,
    transcript,
)
from tests.integration.driving import die, make_box, marks, script
from tests.testapp.executors import BoxCreateExecutor, BoxUpdateExecutor, CanvasExecutor
from tests.testapp.models import Box, Call, ToyCloud
from tests.testapp.tasks import mark

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _clock() -> Any:
    with fake_clock():
        yield


@shared_task
def open_an_update(pk: int) -> None:
    BoxUpdateExecutor.execute(Box.objects.get(pk=pk), updated_fields=["name"])


def create() -> Operation:
    return BoxCreateExecutor.execute(Box.objects.create(name="b"))


# -- driving ------------------------------------------------------------------------------------------------------------


def test_run_jumps_over_waits() -> None:
    ToyCloud.behaviour["pull_runtime_state"] = script("BUILD", "BUILD", "ACTIVE")
    before = clock.read()
    assert run(BoxCreateExecutor.execute(Box.objects.create(name="b"), countdown=3600)).state == "succeeded"
    assert (clock.read() - before).total_seconds() > 3600


def test_run_refuses_an_operation_that_would_never_go_on() -> None:
    operation = create()
    Operation.objects.filter(pk=operation.pk).update(due_at=None)
    with pytest.raises(AssertionError, match="has no timer"):
        run(operation)


def test_run_gives_up_on_an_operation_that_goes_round_in_circles() -> None:
    ToyCloud.behaviour["pull_runtime_state"] = "BUILD"
    with pytest.raises(AssertionError, match="did not end within 20 turns"):
        run(create(), most_turns=20)


def test_the_clock_goes_forward_only_and_is_put_right() -> None:
    with pytest.raises(ValueError, match="forward"):
        advance(-1)
    before = clock.read()
    with fake_clock():
        advance(3600)
        assert (clock.read() - before).total_seconds() >= 3600
    assert (clock.read() - before).total_seconds() < 3600


def test_run_drives_what_a_step_opens_too() -> None:
    other = make_box(name="other")
    run(CanvasExecutor.execute(make_box("creation_scheduled"), build=lambda _: open_an_update.si(other.pk)))
    other.refresh_from_db()
    assert other.state == "ok"


def test_run_sends_nothing_to_the_broker(messages: Any) -> None:
    operation = CanvasExecutor.execute(
        make_box("creation_scheduled"), build=lambda _: group(mark.si("a"), mark.si("b").set(queue="heavy"))
    )
    assert len(messages()) == 1
    assert run(operation).state == "succeeded"
    assert messages() == []


# -- crashing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True])
def test_a_crash_is_made_at_every_point(kill: bool) -> None:
    states = []
    crashes = crash_everywhere(create, lambda operation: states.append(operation.state), kill=kill)
    assert states == ["succeeded"] * (len(crashes) + 1)
    assert {"after claim", "after commit", "after step"} == {crash.point for crash in crashes}
    taken_over = Operation.objects.filter(events__kind="operation.taken_over").count()
    # The last point is behind the end; and one may lie in a wait, when nobody holds the operation.
    assert len(crashes) - taken_over <= 4


def test_a_step_that_may_not_run_twice_is_found_and_the_crash_is_named() -> None:
    def check(operation: Operation) -> None:
        assert Call.objects.filter(method="create_box", resource=f"testapp.box:{operation.resource_pk}").count() == 1

    with pytest.raises(AssertionError) as caught:
        crash_everywhere(create, check)
    assert re.search(r"crash at point \d+ \(after step\)", "".join(caught.value.__notes__))


def test_a_fake_backend_knows_what_a_killed_process_asked_of_it() -> None:
    backend = FakeBackend()
    ToyCloud.behaviour["create_box"] = lambda box: backend.create("make")

    def execute() -> Operation:
        backend.objects.clear()
        backend.calls.clear()
        return create()

    def check(operation: Operation) -> None:
        assert operation.state == "succeeded"
        assert len(backend.objects) == 1
        backend.assert_called_once_per_key("make")

    crashes = crash_everywhere(execute, check, kill=True)
    assert "after request" in {crash.point for crash in crashes}


def test_what_a_killed_process_has_used_up_is_used_up() -> None:
    backend = FakeBackend()
    ToyCloud.behaviour["create_box"] = lambda box: backend.create("make")

    def execute() -> Operation:
        backend.unavailable("make")
        backend.lose_answer("make")
        return create()

    def check(operation: Operation) -> None:
        assert operation.state == "succeeded"
        assert transcript(operation, step="create_box").count("retried") == 1
        assert backend.count("make") == 2 * len(backend.objects)

    crash_everywhere(execute, check, points={"after request"}, kill=True)


def test_crashing_after_every_step_leaves_claims_and_requests_out() -> None:
    crashes = crash_after_every_step(create, lambda operation: None)
    assert {crash.point for crash in crashes} == {"after step", "after commit"}


def test_a_check_that_fails_without_a_crash_says_so() -> None:
    def check(operation: Operation) -> None:
        assert operation.state == "failed"

    with pytest.raises(AssertionError) as caught:
        crash_everywhere(create, check)
    assert "undisturbed" in caught.value.__notes__[0]


def test_an_operation_that_does_nothing_is_refused() -> None:
    with pytest.raises(AssertionError, match="passed none of the points"):
        crash_everywhere(create, lambda operation: None, points={"no such point"})


# -- messages -----------------------------------------------------------------------------------------------------------


def test_messages_that_are_all_lost_only_delay() -> None:
    with fake_broker(lose=1.0) as broker:
        operation = create()
        assert broker.lost == 1
        broker.lose = 0.0
        assert broker.run(operation).state == "succeeded"
        assert broker.delivered > 0


def test_messages_that_all_come_twice_do_nothing_twice() -> None:
    with fake_broker(duplicate=1.0, shuffle=True) as broker:
        operation = CanvasExecutor.execute(
            make_box("creation_scheduled"), build=lambda _: chain(mark.si("a"), group(mark.si("b"), mark.si("c")))
        )
        assert broker.run(operation).state == "succeeded"
        assert broker.duplicated >= 3
    assert sorted(marks()) == ["a", "b", "c"]


def test_a_step_with_a_time_limit_gets_a_message_with_it() -> None:
    with fake_broker() as broker:
        operation = CanvasExecutor.execute(
            make_box("creation_scheduled"), build=lambda _: chain(mark.si("a").set(time_limit=60), mark.si("b"))
        )
        assert broker.run(operation, most_turns=300).state == "succeeded"
        assert [message.time_limit for message in broker.sent] == [None, 60, None]


def test_the_same_seed_does_the_same() -> None:
    def counts(seed: int) -> tuple[int, int]:
        with fake_broker(lose=0.5, duplicate=0.5, seed=seed) as broker:
            for number in range(40):
                broker.publish(Operation().pk, str(number))
            return broker.lost, broker.duplicated

    assert counts(1) == counts(1)
    assert len({counts(seed) for seed in range(5)}) > 1


def test_a_flush_loses_what_waits() -> None:
    with fake_broker() as broker:
        operation = create()
        assert broker.flush() == 1
        assert not broker.deliver()
        assert broker.run(operation).state == "succeeded"


# -- transcripts --------------------------------------------------------------------------------------------------------


def test_a_transcript_shows_steps_parts_and_the_end() -> None:
    operation = CanvasExecutor.execute(
        make_box("creation_scheduled"),
        build=lambda ref: chain(
            mark.si("a"), group(mark.si("b"), mark.si("c")), tasks.BackendMethodTask().si(ref, "touch"), mark.si("d")
        ),
    )
    ToyCloud.behaviour["touch"] = ValueError("broken")
    run(operation)
    assert transcript(operation) == [
        "mark: running, succeeded",
        "2 in parallel: succeeded",
        "  branch 1 of Canvas b: succeeded",
        "    mark: running, succeeded",
        "  branch 2 of Canvas b: succeeded",
        "    mark: running, succeeded",
        "touch: running, failed",
        "failed",
    ]
    assert transcript(operation, step=0) == ["running", "succeeded"]
    with pytest.raises(LookupError, match="2 steps 'mark'"):
        transcript(operation, step="mark")


def test_a_transcript_keeps_the_order_of_looks_and_takeovers() -> None:
    ToyCloud.behaviour["pull_runtime_state"] = script("BUILD", "BUILD", "BUILD", "ACTIVE")
    operation = create()
    run_due(operation)
    advance(60)
    die(operation, "after step")
    run(operation)
    words = ["waited", "running", "lease expired", "waited", "succeeded"]
    assert transcript(operation, step="pull_runtime_state") == words


def test_a_transcript_that_differs_is_shown_line_by_line() -> None:
    operation = run(create())
    with pytest.raises(AssertionError) as caught:
        assert_transcript(operation, ["running", "retried", "running", "succeeded"], step="create_box")
    assert "- retried" in str(caught.value)
    assert_transcript(operation, ["running", "succeeded"], step="create_box")


# -- the fake backend ---------------------------------------------------------------------------------------------------


def test_a_fake_backend_does_what_it_is_told_in_order() -> None:
    backend = FakeBackend()
    backend.will("show", "a", "b")
    backend.unavailable("show")
    assert [backend.request("show", lambda: "c") for _ in range(2)] == ["a", "b"]
    with pytest.raises(Exception, match="no answer"):
        backend.request("show")
    assert backend.request("show", lambda: "c") == "c"
    assert backend.count("show") == 4


def test_an_object_whose_answer_was_lost_is_found_by_its_key() -> None:
    backend = FakeBackend()
    backend.lose_answer("make")
    with step_context(StepContext(idempotency_key="k")):
        with pytest.raises(OutcomeUnknown):
            backend.create("make", name="x")
        assert backend.create("make", name="x")["name"] == "x"
    assert len(backend.objects) == 1
    backend.objects["another"] = {"id": "another", "key": "k"}
    with pytest.raises(AssertionError, match="another"):
        backend.assert_one_object_per_key()


def test_requests_are_counted_by_key() -> None:
    backend = FakeBackend()
    with pytest.raises(AssertionError, match="never requested"):
        backend.assert_called_once_per_key("make")
    with step_context(StepContext(idempotency_key="k")):
        backend.request("make")
        backend.assert_called_once_per_key("make")
        backend.request("make")
    with pytest.raises(AssertionError, match="several times"):
        backend.assert_called_once_per_key("make")


def test_a_request_of_a_worker_without_lease_does_not_arrive() -> None:
    def lost() -> None:
        raise LeaseLost("over")

    backend = FakeBackend()
    with step_context(StepContext(ensure_lease=lost)), pytest.raises(LeaseLost):
        backend.request("make")
    assert backend.calls == []


# -- the plugin ---------------------------------------------------------------------------------------------------------


def test_pytest_can_load_the_fixtures_before_django_is_set_up() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    plain["PYTHONPATH"] = str(ROOT / "src")
    code = "import django_executors.testing.fixtures, sys; print('django_executors.models' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("False", "")


def test_killing_with_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    test = tmp_path / "test_kill.py"
    test.write_text(
        """
import pytest
from django_executors.testing import crash_everywhere
from examples.testing.models import Volume, VolumeCreateExecutor

pytest_plugins = ["django_executors.testing.fixtures"]


@pytest.mark.django_db(transaction=True)
def test_refused(executors_clock):
    with pytest.raises(RuntimeError, match="in a file"):
        crash_everywhere(lambda: VolumeCreateExecutor.execute(Volume.objects.create()), lambda operation: None, kill=True)
"""
    )
    assert_pytest_passes(str(test), tests=1)


# -- the page -----------------------------------------------------------------------------------------------------------


def test_the_code_of_the_page_is_that_of_the_example_and_the_example_passes() -> None:
    code = "".join(path.read_text() for path in sorted((ROOT / "examples/testing").glob("*.py")))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/test-your-operations.md").read_text(), re.DOTALL)
    assert len(blocks) >= 6
    assert [block for block in blocks if block not in code] == []
    assert_pytest_passes("examples/testing", tests=6)


def assert_pytest_passes(path: str, tests: int) -> None:
    """Run a path's tests in a process of their own, with the example's settings."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", "examples/testing/pytest.ini", path]
    plain = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ran = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{tests} passed" in ran.stdout
