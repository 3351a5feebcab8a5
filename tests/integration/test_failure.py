"""What fails says so: on the step, the operation and the resource, in one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group, shared_task
from celery.exceptions import Ignore, Reject

from django_executors import clock, tasks
from django_executors.conf import settings
from django_executors.context import current_step
from django_executors.engine.drive import drive
from django_executors.exceptions import (
    BackendNotFound,
    BackendRejected,
    BackendThrottled,
    BackendUnavailable,
    OutcomeUnknown,
    StepWaiting,
)
from django_executors.models import Claim, Operation, Slot
from tests.integration.driving import die, drive_due, make_box, marks, script, settle, skip_wait, transcript, update
from tests.testapp.executors import (
    BoxCreateExecutor,
    BoxDeleteExecutor,
    BoxUpdateExecutor,
    CanvasExecutor,
    CompensatingExecutor,
)
from tests.testapp.models import Box, Call, Mark, ToyCloud
from tests.testapp.tasks import collect, fail, flaky, mark, picky

pytestmark = pytest.mark.django_db(transaction=True)


def calls(method: str) -> int:
    return Call.objects.filter(method=method).count()


def assert_ended_cleanly() -> None:
    """No row lies, whatever happened: no claim, no slot, no lease, no timer, no resource that promises work."""
    assert not Operation.objects.filter(state__in=["scheduled", "running", "waiting", "cancelling"]).exists()
    assert not Operation.objects.exclude(lease_owner="", due_at=None, nudge_at=None).exists()
    assert not Claim.objects.exists()
    assert not Slot.objects.exists()
    assert not Box.objects.exclude(state__in=["ok", "erred"]).exists()


# -- a step fails ---------------------------------------------------------------------------------------------------


def test_a_failing_step_makes_its_resource_erred_with_the_clouds_own_words() -> None:
    ToyCloud.behaviour = {"pull_box": BackendRejected("no valid host", service="compute", request_id="req-1")}
    box = make_box("creation_scheduled")
    operation = settle(BoxCreateExecutor.execute(box))
    assert (operation.state, operation.error) == ("failed", "no valid host [compute, req-1]")
    assert operation.why() == "failed: no valid host [compute, req-1]"
    box.refresh_from_db()
    assert (box.state, box.error_message) == ("erred", "no valid host [compute, req-1]")
    assert "BackendRejected" in box.error_traceback
    step = operation.steps.get(position=2)
    assert (step.state, step.attempts, step.error) == ("failed", 1, "no valid host [compute, req-1]")
    (attempt,) = step.attempt_rows.all()
    assert (attempt.outcome, attempt.error_class) == ("failed", "BackendRejected")
    assert "step.failed" in transcript(operation)
    assert transcript(operation)[-1] == "operation.failed"
    assert_ended_cleanly()


def test_success_blanks_the_error_of_before() -> None:
    box = Box.objects.create(name="b", state="erred", error_message="old", error_traceback="old")
    settle(update(box))
    box.refresh_from_db()
    assert (box.state, box.error_message, box.error_traceback) == ("ok", "", "")


def test_no_secret_gets_into_the_journal() -> None:
    ToyCloud.behaviour = {"touch": ValueError("login failed: password='hunter2'")}
    operation = settle(update(make_box()))
    stored = [operation.error, operation.error_traceback, Box.objects.get().error_message]
    stored += [step.error for step in operation.steps.all()] + [event.text for event in operation.events.all()]
    stored += [attempt.traceback for step in operation.steps.all() for attempt in step.attempt_rows.all()]
    assert all("hunter2" not in text for text in stored)
    assert "password=***" in operation.error


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("k"), AssertionError(), BackendNotFound("gone")])
def test_an_error_that_no_retry_can_mend_fails_at_once(error: Exception) -> None:
    ToyCloud.behaviour = {"touch": error}
    operation = settle(update(make_box()))
    assert operation.state == "failed"
    assert operation.error
    assert calls("touch") == 1
    assert_ended_cleanly()


def test_a_failure_path_that_fails_leaves_both_errors_on_an_erred_resource() -> None:
    box = make_box("creation_scheduled")
    operation = settle(
        CanvasExecutor.execute(
            box, build=lambda ref: fail.si("first"), failure=lambda ref: chain(mark.si("tried"), fail.si("second"))
        )
    )
    assert operation.state == "failed"
    box.refresh_from_db()
    assert box.state == "erred"
    for text in (operation.error, box.error_message):
        assert "RuntimeError: first" in text
        assert "then the failure path failed at fail: RuntimeError: second" in text
    assert marks() == ["tried"]
    assert_ended_cleanly()


def test_without_a_failure_path_the_engine_makes_the_resource_erred() -> None:
    box = make_box("creation_scheduled")
    settle(CanvasExecutor.execute(box, build=lambda ref: fail.si("boom")))
    box.refresh_from_db()
    assert (box.state, box.error_message) == ("erred", "RuntimeError: boom")


def test_an_operation_that_fails_without_having_moved_its_resource_leaves_it_alone() -> None:
    box = make_box("ok")
    settle(CanvasExecutor.execute(box, build=lambda ref: fail.si("boom")))
    box.refresh_from_db()
    assert (box.state, box.error_message) == ("ok", "")


def test_a_failing_success_path_is_a_failure() -> None:
    box = make_box("creation_scheduled")
    operation = settle(
        CanvasExecutor.execute(box, build=lambda ref: mark.si("done"), success=lambda ref: fail.si("too late"))
    )
    assert (operation.state, operation.error) == ("failed", "RuntimeError: too late")
    box.refresh_from_db()
    assert box.state == "erred"
    assert_ended_cleanly()


def test_the_failure_path_is_given_the_failed_steps_task_id() -> None:
    seen: list[str] = []

    def remember(instance: Any) -> None:
        seen.append(current_step().idempotency_key)

    ToyCloud.behaviour = {"touch": remember}
    operation = settle(
        CanvasExecutor.execute(
            make_box(),
            build=lambda ref: chain(mark.si("a"), fail.si()),
            failure=lambda ref: chain(collect.s("first"), tasks.ErrorMessageTask().si("x", ref), collect.s("second")),
        )
    )
    assert operation.state == "failed"
    first, second = marks()[1:]
    assert first.startswith("first<'")
    assert len(first) > 36
    assert second == "second<'x'>" or second == "second<'x'"


def test_a_deletion_by_force_deletes_the_row_although_the_cloud_refused() -> None:
    ToyCloud.behaviour = {"delete_box": BackendRejected("in use")}
    kept, gone = make_box(name="kept"), make_box(name="gone")
    assert settle(BoxDeleteExecutor.execute(kept)).state == "failed"
    assert settle(BoxDeleteExecutor.execute(gone, force=True)).state == "failed"
    assert [(box.name, box.state, box.error_message) for box in Box.objects.all()] == [("kept", "erred", "in use")]
    assert_ended_cleanly()


def test_a_row_that_was_deleted_by_hand_fails_the_operation_with_a_reason_that_says_so() -> None:
    ToyCloud.behaviour = {"pull_runtime_state": script("BUILD")}
    operation = BoxCreateExecutor.execute(make_box("creation_scheduled"))
    drive_due(operation)
    Box.objects.all().delete()
    operation = settle(operation)
    assert operation.state == "failed"
    assert "was the row deleted by hand?" in operation.error
    assert_ended_cleanly()


def test_a_row_that_was_edited_by_hand_fails_the_operation_with_the_state_that_was_found() -> None:
    box = make_box()
    operation = update(box)
    Box.objects.update(state="ok")
    operation = settle(operation)
    assert operation.state == "failed"
    assert "'begin_updating' is not allowed in state 'ok'" in operation.error
    assert calls("touch") == 0
    box.refresh_from_db()
    assert box.state == "erred"


# -- parts ----------------------------------------------------------------------------------------------------------


def test_a_failed_branch_fails_the_operation_and_the_others_finish() -> None:
    box = make_box("creation_scheduled")
    operation = settle(
        CanvasExecutor.execute(
            box,
            build=lambda ref: chain(
                group(mark.si("a"), chain(fail.si("boom"), mark.si("never")), chain(mark.si("b"), mark.si("c"))),
                mark.si("not reached"),
            ),
        )
    )
    assert operation.state == "failed"
    assert "RuntimeError: boom" in operation.error
    assert sorted(marks()) == ["a", "b", "c"]
    states = dict(Operation.objects.filter(parent=operation).values_list("branch", "state"))
    assert states == {0: "succeeded", 1: "failed", 2: "succeeded"}
    box.refresh_from_db()
    assert box.state == "erred"
    assert_ended_cleanly()


def test_a_failed_nested_operation_fails_its_parent_and_the_others_keep_their_truth() -> None:
    outer, good, bad = (make_box("creation_scheduled", name) for name in ("outer", "good", "bad"))
    ToyCloud.behaviour = {
        "pull_box": lambda box: (_ for _ in ()).throw(BackendRejected(f"no {box.name}")) if box.name == "bad" else None
    }
    operation = settle(
        CanvasExecutor.execute(
            outer,
            build=lambda ref: group(BoxCreateExecutor.as_signature(good), BoxCreateExecutor.as_signature(bad)),
        )
    )
    assert operation.state == "failed"
    assert "Box create bad: no bad" in operation.error
    found = {box.name: (box.state, box.error_message) for box in Box.objects.all()}
    assert found["good"] == ("ok", "")
    assert found["bad"] == ("erred", "no bad")
    assert found["outer"][0] == "erred"
    assert_ended_cleanly()


def test_parts_that_were_never_reached_are_erred_and_say_that_they_did_not_start() -> None:
    outer, direct, grouped, deep, mine = (
        make_box("creation_scheduled", name) for name in ("outer", "direct", "grouped", "deep", "mine")
    )
    steady = make_box("ok", "steady")

    def build(ref: str) -> Any:
        return chain(
            fail.si("boom"),
            BoxCreateExecutor.as_signature(direct),
            group(
                BoxCreateExecutor.as_signature(grouped),
                CanvasExecutor.as_signature(mine, build=lambda ref: BoxCreateExecutor.as_signature(deep)),
            ),
            BoxUpdateExecutor.as_signature(steady, updated_fields=[]),
        )

    settle(CanvasExecutor.execute(outer, build=build))
    for name in ("direct", "grouped", "deep", "mine"):
        box = Box.objects.get(name=name)
        assert box.state == "erred", name
        assert box.error_message.startswith("not started, because Canvas outer failed: RuntimeError: boom"), name
    assert Box.objects.get(name="steady").state == "ok"
    assert calls("create_box") == 0
    assert_ended_cleanly()


def test_a_nested_operation_whose_resource_does_not_allow_it_fails_its_parent() -> None:
    outer, inner = make_box("creation_scheduled", "outer"), make_box("ok", "inner")
    operation = CanvasExecutor.execute(
        outer, build=lambda ref: chain(mark.si("a"), BoxUpdateExecutor.as_signature(inner, updated_fields=[]))
    )
    Box.objects.filter(pk=inner.pk).update(state="updating")
    operation = settle(operation)
    assert operation.state == "failed"
    assert "'schedule_updating' is not allowed in state 'updating'" in operation.error
    assert_no_part_left(operation)


def assert_no_part_left(operation: Operation) -> None:
    assert not Operation.objects.filter(parent=operation).exists()
    assert not Claim.objects.exists()


# -- retries --------------------------------------------------------------------------------------------------------


def test_a_backend_that_is_away_is_asked_again_with_growing_patience() -> None:
    away = BackendUnavailable("503")
    ToyCloud.behaviour = {"touch": script(away, away, away, None)}
    operation = update(make_box())
    waits = []
    for retry in (1, 2, 3):
        drive_due(operation)
        row = Operation.objects.get()
        assert (row.state, row.wait_kind, row.lease_owner) == ("waiting", "backoff", "")
        assert row.wait_reason == f"retry {retry} after: 503"
        assert row.why().startswith("retry")
        assert row.due_at is not None
        waits.append((row.due_at - clock.read()).total_seconds())
        assert Box.objects.get().state == "updating"
        skip_wait(row)
    drive_due(operation)
    assert Operation.objects.get().state == "succeeded"
    assert 0.3 <= waits[0] <= 1 <= waits[1] + 0.2
    assert waits[1] <= 2.01
    assert 1.8 <= waits[2] <= 4.01
    step = operation.steps.get(position=0)
    assert (step.attempts, step.retries) == (4, 3)
    assert list(step.attempt_rows.values_list("number", "outcome")) == [(1, "retried"), (2, "retried"), (3, "retried")]


@pytest.mark.parametrize(("failures", "state"), [(1, "succeeded"), (2, "succeeded"), (3, "failed")])
def test_retries_are_counted_to_the_last(failures: int, state: str) -> None:
    ToyCloud.behaviour = {"touch": script(*[BackendUnavailable("503")] * failures, None)}
    operation = settle(
        CanvasExecutor.execute(
            make_box(), build=lambda ref: tasks.BackendMethodTask().si(ref, "touch").set(max_retries=2)
        )
    )
    assert operation.state == state
    assert calls("touch") == min(failures + 1, 3)


def test_a_throttled_backend_is_left_in_peace_as_long_as_it_asks_for() -> None:
    ToyCloud.behaviour = {"touch": script(BackendThrottled("slow down", retry_after=45), None)}
    operation = update(make_box())
    drive_due(operation)
    row = Operation.objects.get()
    assert row.due_at is not None
    assert 44 < (row.due_at - clock.read()).total_seconds() <= 45
    clock.advance(44)
    assert not drive(operation.pk)
    clock.advance(1.1)
    assert drive(operation.pk)
    assert Operation.objects.get().state == "succeeded"


def test_a_task_may_ask_to_be_tried_again() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: chain(flaky.si(2), collect.s("got"))))
    assert operation.state == "succeeded"
    assert marks() == ["flaky 0", "flaky 1", "flaky 2", "got<2"]


def test_a_task_that_asks_too_often_fails_with_its_own_error() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: flaky.si(9)))
    assert (operation.state, operation.error) == ("failed", "ValueError: not yet")
    assert marks() == ["flaky 0", "flaky 1", "flaky 2", "flaky 3"]


@pytest.mark.parametrize(("times", "state", "ran"), [(2, "succeeded", 3), (3, "failed", 3)])
def test_autoretry_for_is_celerys_own(times: int, state: str, ran: int) -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: picky.si(times)))
    assert operation.state == state
    assert marks() == ["picky"] * ran


@shared_task(bind=True, default_retry_delay=0)
def counts_down(self: Any, left: int) -> str:
    """Ask to be tried again with other arguments."""
    Mark.objects.create(what=f"left {left}")
    if left:
        raise self.retry(args=(left - 1,), countdown=30)
    return "done"


def test_a_task_may_ask_to_be_tried_again_with_other_arguments() -> None:
    operation = CanvasExecutor.execute(make_box(), build=lambda ref: counts_down.si(2))
    drive_due(operation)
    row = Operation.objects.get()
    assert row.due_at is not None
    assert 29 < (row.due_at - clock.read()).total_seconds() <= 30
    assert settle(operation).result == "done"
    assert marks() == ["left 2", "left 1", "left 0"]


@shared_task
def ignores() -> None:
    """A task that wants no result recorded."""
    raise Ignore


@shared_task
def rejects() -> None:
    """A task that refuses its message."""
    raise Reject("not mine")


def test_a_task_that_wants_to_be_ignored_is_done_without_a_result() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: chain(ignores.si(), collect.s("after"))))
    assert operation.state == "succeeded"
    assert marks() == ["after<None"]


def test_a_task_that_rejects_its_message_fails() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: rejects.si()))
    assert operation.state == "failed"
    assert "not mine" in operation.error


@shared_task
def returns_an_object() -> object:
    """A result that JSON does not have."""
    return object()


@shared_task
def returns_a_row() -> Box:
    """A result that has a reference."""
    return Box.objects.get()


def test_a_result_that_is_not_json_is_dropped_where_nobody_takes_it() -> None:
    operation = settle(
        CanvasExecutor.execute(make_box(), build=lambda ref: chain(returns_an_object.si(), mark.si("a")))
    )
    assert operation.state == "succeeded"
    assert operation.steps.get(position=0).result is None


@pytest.mark.parametrize("follower", [collect.s("next"), group(mark.s(), mark.si("x"))])
def test_a_result_that_is_not_json_fails_where_the_next_step_takes_it(follower: Any) -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: chain(returns_an_object.si(), follower)))
    assert operation.state == "failed"
    assert "the result of returns_an_object is a object, which is not JSON" in operation.error
    assert marks() == []


def test_a_row_as_a_result_becomes_its_reference() -> None:
    box = make_box()
    operation = settle(CanvasExecutor.execute(box, build=lambda ref: chain(returns_a_row.si(), collect.s("got"))))
    assert operation.result == ["got", f"testapp.box:{box.pk}"]


def test_wrong_arguments_fail_the_step() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: collect.si()))
    assert operation.state == "failed"
    assert "TypeError" in operation.error


# -- waiting too long -----------------------------------------------------------------------------------------------


class ImpatientPollTask(tasks.PollRuntimeStateTask):
    deadline = 60


def test_a_wait_that_takes_too_long_fails_with_the_last_state_that_was_seen() -> None:
    ToyCloud.behaviour = {"pull_runtime_state": script("QUEUED", "BUILD")}
    box = make_box("creation_scheduled")
    operation = CanvasExecutor.execute(
        box, build=lambda ref: ImpatientPollTask().si(ref, "pull_runtime_state", success_state="ACTIVE")
    )
    start = clock.read()
    operation = settle(operation)
    assert operation.state == "failed"
    assert operation.error.startswith("DeadlineExceeded: gave up after 60 s of waiting for box b to become ACTIVE")
    assert "(now BUILD)" in operation.error
    assert 60 <= (clock.read() - start).total_seconds() < 95
    assert 5 < calls("pull_runtime_state") < 40


@shared_task
def waits_for_ever() -> None:
    """Never ready."""
    raise StepWaiting("the end of the world", after=10, deadline=25)


def test_a_plain_task_may_wait_too() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: waits_for_ever.si()))
    assert operation.error == "DeadlineExceeded: gave up after 25 s of waiting for the end of the world"
    assert operation.steps.get().attempts == 4


def test_an_object_that_goes_into_error_fails_the_wait_at_once() -> None:
    ToyCloud.behaviour = {"pull_runtime_state": script("BUILD", "ERROR")}
    operation = settle(BoxCreateExecutor.execute(make_box("creation_scheduled")))
    assert operation.error == "b is ERROR: the cloud gives no reason"
    assert calls("pull_runtime_state") == 2


# -- outcomes that nobody knows -------------------------------------------------------------------------------------


def remember_unknown(seen: list[bool], *outcomes: Any) -> Callable[..., Any]:
    behave = script(*outcomes)

    def remember(instance: Any, *args: Any) -> Any:
        seen.append(current_step().outcome_unknown)
        return behave(instance, *args)

    return remember


def test_after_a_lost_answer_the_next_attempt_looks_first() -> None:
    seen: list[bool] = []
    ToyCloud.behaviour = {"touch": remember_unknown(seen, OutcomeUnknown("connection reset"), None)}
    operation = update(make_box())
    drive_due(operation)
    assert operation.steps.get(position=0).state == "uncertain"
    assert settle(operation).state == "succeeded"
    assert seen == [False, True]


def test_what_nobody_knows_stays_unknown_until_an_attempt_ends_well() -> None:
    seen: list[bool] = []
    away = BackendUnavailable("503")
    ToyCloud.behaviour = {"touch": remember_unknown(seen, OutcomeUnknown("reset"), away, away, None)}
    assert settle(update(make_box())).state == "succeeded"
    assert seen == [False, True, True, True]


def test_after_a_worker_died_in_a_call_the_next_attempt_looks_first() -> None:
    seen: list[bool] = []
    ToyCloud.behaviour = {"touch": remember_unknown(seen, None)}
    operation = update(make_box())
    die(operation, "after step")
    assert settle(operation).state == "succeeded"
    assert seen == [False, True]
    step = operation.steps.get(position=0)
    assert list(step.attempt_rows.values_list("number", "outcome")) == [(1, "taken over")]
    assert "operation.taken_over" in transcript(operation)


def test_what_cannot_be_found_out_is_left_to_a_person() -> None:
    box = make_box()
    ToyCloud.behaviour = {"touch": OutcomeUnknown("reset", findable=False)}
    operation = settle(update(box))
    assert operation.state == "quarantined"
    assert "needs a human: reset" in operation.error
    assert operation.steps.get(position=0).state == "uncertain"
    box.refresh_from_db()
    assert (box.state, box.error_message) == ("erred", "needs a human: reset")
    assert calls("touch") == 1
    assert_ended_cleanly()


def test_what_is_still_unknown_after_all_looks_is_left_to_a_person() -> None:
    ToyCloud.behaviour = {"touch": OutcomeUnknown("reset")}
    operation = settle(
        CanvasExecutor.execute(
            make_box(), build=lambda ref: tasks.BackendMethodTask().si(ref, "touch").set(max_retries=2)
        )
    )
    assert operation.state == "quarantined"
    assert "still unknown after 2 looks: reset" in operation.error
    assert calls("touch") == 3


@shared_task(repeatable=False)
def pays() -> str:
    """Must not run twice."""
    Mark.objects.create(what="paid")
    return "paid"


def test_a_task_that_may_not_run_twice_does_not_run_twice() -> None:
    operation = CanvasExecutor.execute(make_box(), build=lambda ref: pays.si())
    die(operation, "after step")
    operation = settle(operation)
    assert operation.state == "quarantined"
    assert "nobody knows whether pays had an effect" in operation.error
    assert marks() == ["paid"]


def test_a_backend_method_that_may_not_run_twice_does_not_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyCloud, "touch", tasks.not_repeatable(lambda self, box: self._behave("touch", box)))
    operation = update(make_box())
    die(operation, "after step")
    operation = settle(operation)
    assert operation.state == "quarantined"
    assert "nobody knows whether touch had an effect, and it may not run twice" in operation.error
    assert calls("touch") == 1
    assert_ended_cleanly()


# -- dead workers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "state"), [(-1, "succeeded"), (0, "succeeded"), (1, "quarantined")])
def test_an_operation_that_kills_its_workers_is_set_aside(more: int, state: str) -> None:
    box = make_box()
    operation = update(box)
    die(operation, "before step", times=settings.MAX_TAKEOVERS + more)
    operation = settle(operation)
    assert operation.state == state
    box.refresh_from_db()
    if state == "quarantined":
        assert "taken over 6 times without finishing a step" in operation.error
        assert (box.state, calls("touch")) == ("erred", 0)
    assert_ended_cleanly()


def test_a_finished_step_starts_the_count_of_takeovers_anew() -> None:
    operation = CanvasExecutor.execute(make_box(), build=lambda ref: chain(*[mark.si(n) for n in range(4)]))
    for _ in range(4):
        die(operation, "before step", times=settings.MAX_TAKEOVERS - 1)
        turns = iter([False, True])
        drive(operation.pk, draining=lambda turns=turns: next(turns))  # type: ignore[misc]
    assert settle(operation).state == "succeeded"
    assert marks() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("point", ["after claim", "before commit", "inside commit", "after commit"])
def test_a_worker_may_die_anywhere_around_a_row_only_step(point: str) -> None:
    box = make_box("creation_scheduled")
    operation = CanvasExecutor.execute(
        box, build=lambda ref: tasks.StateTransitionTask().si(ref, state_transition="begin_creating")
    )
    die(operation, point)
    assert settle(operation).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"
    assert_ended_cleanly()


# -- undoing --------------------------------------------------------------------------------------------------------


def step(name: str) -> Any:
    return mark.si(name).set(compensate=mark.si(f"undo {name}"))


def test_finished_steps_are_undone_in_reverse_order() -> None:
    box = make_box("creation_scheduled")
    operation = settle(
        CompensatingExecutor.execute(
            box,
            build=lambda ref: chain(step("a"), mark.si("no undo"), step("b"), fail.si("boom"), step("never")),
            failure=lambda ref: mark.si("failure path"),
        )
    )
    assert operation.state == "compensated"
    assert operation.error == "RuntimeError: boom"
    assert marks() == ["a", "no undo", "b", "undo b", "undo a", "failure path"]
    box.refresh_from_db()
    assert box.state == "erred"
    assert "operation.compensating" in transcript(operation)
    assert_ended_cleanly()


def test_a_step_that_failed_half_way_is_undone_too() -> None:
    settle(
        CompensatingExecutor.execute(
            make_box(), build=lambda ref: chain(step("a"), fail.si("boom").set(compensate=mark.si("undo fail")))
        )
    )
    assert marks() == ["a", "undo fail", "undo a"]


def test_what_branches_did_is_undone_too() -> None:
    operation = settle(
        CompensatingExecutor.execute(
            make_box(),
            build=lambda ref: chain(
                step("a"), group(chain(step("b"), step("c")), group(step("d"), step("e"))), fail.si("boom")
            ),
        )
    )
    assert operation.state == "compensated"
    undone = marks()[5:]
    assert sorted(undone) == ["undo a", "undo b", "undo c", "undo d", "undo e"]
    assert undone[-1] == "undo a"
    assert undone.index("undo c") < undone.index("undo b")


def test_without_being_asked_nothing_is_undone() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: chain(step("a"), fail.si("boom"))))
    assert (operation.state, marks()) == ("failed", ["a"])


def test_undoing_that_fails_says_so() -> None:
    box = make_box("creation_scheduled")
    operation = settle(
        CompensatingExecutor.execute(
            box,
            build=lambda ref: chain(
                step("a"), mark.si("b").set(compensate=fail.si("cannot undo")), step("c"), fail.si("boom")
            ),
            failure=lambda ref: mark.si("failure path"),
        )
    )
    assert operation.state == "compensation_failed"
    assert marks() == ["a", "b", "c", "undo c", "failure path"]
    box.refresh_from_db()
    assert box.state == "erred"
    for text in (operation.error, box.error_message):
        assert "RuntimeError: boom" in text
        assert "cannot undo" in text
    assert_ended_cleanly()


def test_undoing_survives_a_dead_worker() -> None:
    operation = CompensatingExecutor.execute(
        make_box(), build=lambda ref: chain(step("a"), step("b"), step("c"), fail.si("boom"))
    )
    while Operation.objects.get().phase != "compensation":
        turns = iter([False, True])
        drive(operation.pk, draining=lambda turns=turns: next(turns))  # type: ignore[misc]
    die(operation, "before step")
    assert settle(operation).state == "compensated"
    assert marks() == ["a", "b", "c", "undo c", "undo b", "undo a"]


def test_a_throttled_step_whose_row_was_deleted_by_hand_fails_its_operation():
    box = Box.objects.create(name="gone")
    operation = CanvasExecutor.execute(
        box, build=lambda ref: tasks.ThrottleProvisionStateTask().si(ref, state_transition="begin_creating")
    )
    Box.objects.all().delete()
    ended = settle(operation)
    assert ended.state == "failed"
    assert "deleted by hand" in ended.error
