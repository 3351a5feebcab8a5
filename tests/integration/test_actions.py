"""What people may do to an operation, when, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group
from django.db import connection

from django_executors import clock, tasks
from django_executors.engine import actions
from django_executors.engine.drive import drive
from django_executors.exceptions import (
    BackendNotFound,
    BackendRejected,
    BackendUnavailable,
    CommandNotAllowed,
    ConfigurationError,
    OperationConflict,
    OutcomeUnknown,
    TransitionNotAllowed,
)
from django_executors.executors import RecoverExecutor
from django_executors.models import Claim, Operation, Throttle
from tests.integration.driving import die, drive_due, make_box, marks, row, script, settle, transcript, update
from tests.testapp.executors import (
    BoxCreateExecutor,
    BoxDeleteExecutor,
    BoxThrottledCreateExecutor,
    BoxUpdateExecutor,
    CanvasExecutor,
    CompensatingExecutor,
)
from tests.testapp.models import Box, Call, Note, ToyCloud
from tests.testapp.tasks import collect, fail, mark

pytestmark = pytest.mark.django_db(transaction=True)


def box_state(box: Box) -> str:
    return str(Box.objects.values_list("state", flat=True).get(pk=box.pk))


def waiting_create(box: Box | None = None) -> Operation:
    """A creation whose object is still being built."""
    ToyCloud.behaviour = {"pull_runtime_state": script("BUILD")}
    operation = BoxCreateExecutor.execute(box or make_box("creation_scheduled"))
    drive_due(operation)
    assert row(operation).wait_kind == "poll"
    return operation


class Meanwhile:
    """A worker that stands in the middle of a backend call while the test does something else."""

    def __init__(self, operation: Operation, method: str = "touch") -> None:
        self.operation, self.method = operation, method
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        def stand(*args: Any) -> None:
            self.inside.set()
            assert self.go_on.wait(30)

        ToyCloud.behaviour = {**ToyCloud.behaviour, self.method: stand}
        self.thread = threading.Thread(target=self._work)
        self.thread.start()
        assert self.inside.wait(30)

    def _work(self) -> None:
        try:
            drive(self.operation.pk)
        except BaseException as error:
            self.error = error
        finally:
            connection.close()

    def __exit__(self, *args: object) -> None:
        self.go_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.error is None, self.error


# -- cancel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "arguments", "before", "after"),
    [
        (BoxUpdateExecutor, {"updated_fields": []}, "ok", "ok"),
        (BoxUpdateExecutor, {"updated_fields": []}, "erred", "erred"),
        (BoxDeleteExecutor, {}, "ok", "ok"),
        (BoxDeleteExecutor, {}, "erred", "erred"),
        (BoxCreateExecutor, {}, "creation_scheduled", "erred"),
    ],
)
def test_cancelled_before_it_began_it_leaves_the_resource_as_it_was(
    executor: Any, arguments: dict[str, Any], before: str, after: str
) -> None:
    box = make_box(before)
    operation = executor.execute(box, **arguments)
    assert actions.cancel(operation, actor="joe", reason="not needed").state == "cancelling"
    operation = settle(operation)
    assert (operation.state, box_state(box)) == ("cancelled", after)
    assert not Call.objects.exists()
    assert not Claim.objects.exists()
    command = operation.events.get(kind="command.cancel")
    assert (command.actor, command.text) == ("joe", "not needed")
    assert operation.why() == "cancelled: cancelled before it began"


def test_a_wait_is_cut_short_by_a_cancellation() -> None:
    box = make_box("creation_scheduled")
    operation = waiting_create(box)
    actions.cancel(operation)
    before = clock.read()
    operation = settle(operation)
    assert (clock.read() - before).total_seconds() < 5
    assert (operation.state, box_state(box)) == ("cancelled", "erred")
    assert "cancelled by a person" in Box.objects.get().error_message
    assert [step.state for step in operation.steps.order_by("position")][:3] == ["succeeded", "cancelled", "pending"]
    assert Call.objects.filter(method="pull_box").count() == 0


def test_a_countdown_is_cut_short_by_a_cancellation() -> None:
    box = make_box()
    operation = BoxUpdateExecutor.execute(box, updated_fields=[], countdown=3600)
    actions.cancel(operation)
    drive_due(operation)
    assert (row(operation).state, box_state(box)) == ("cancelled", "ok")


def test_cancelled_while_a_step_runs_it_ends_behind_that_step() -> None:
    operation = CanvasExecutor.execute(
        make_box("creation_scheduled"),
        build=lambda ref: chain(tasks.BackendMethodTask().si(ref, "touch"), mark.si("not reached")),
        failure=lambda ref: mark.si("failure path"),
    )
    with Meanwhile(operation):
        assert actions.cancel(operation).state == "cancelling"
        assert "cancelling at step 1 (touch)" in row(operation).why()
    assert row(operation).state == "cancelled"
    assert operation.steps.get(position=0).state == "succeeded"
    assert marks() == ["failure path"]
    assert box_state(operation.resource) == "erred"


def test_cancelled_during_its_last_step_it_is_cancelled_all_the_same() -> None:
    box = make_box()
    operation = update(box)
    with Meanwhile(operation):
        actions.cancel(operation)
    assert (row(operation).state, box_state(box)) == ("cancelled", "erred")


def test_cancelling_reaches_the_parts() -> None:
    inner = make_box("creation_scheduled", "inner")
    outer = make_box("creation_scheduled", "outer")
    ToyCloud.behaviour = {"pull_runtime_state": script("BUILD")}
    operation = CanvasExecutor.execute(
        outer,
        build=lambda ref: group(
            BoxCreateExecutor.as_signature(inner), chain(mark.si("a"), mark.si("b").set(countdown=3600))
        ),
    )
    drive_due(operation)
    actions.cancel(operation, actor="joe")
    before = clock.read()
    operation = settle(operation)
    assert (clock.read() - before).total_seconds() < 60
    assert set(Operation.objects.values_list("state", flat=True)) == {"cancelled"}
    assert Operation.objects.count() == 4
    assert (box_state(inner), box_state(outer)) == ("erred", "erred")
    assert marks() == ["a"]
    assert not Claim.objects.exists()


def test_cancelling_undoes_what_was_done_where_the_executor_asks_for_it() -> None:
    box = make_box("creation_scheduled")
    operation = CompensatingExecutor.execute(
        box,
        build=lambda ref: chain(mark.si("a").set(compensate=mark.si("undo a")), mark.si("b").set(countdown=3600)),
    )
    drive_due(operation)
    actions.cancel(operation)
    operation = settle(operation)
    assert (operation.state, marks()) == ("cancelled", ["a", "undo a"])
    assert box_state(box) == "erred"


def test_cancelling_twice_is_cancelling_once() -> None:
    operation = update(make_box())
    actions.cancel(operation)
    assert actions.cancel(operation).state == "cancelling"
    assert transcript(operation).count("command.cancel") == 1


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(state: str) -> None:
    box = make_box()
    if state == "failed":
        ToyCloud.behaviour = {"touch": BackendRejected("no")}
    operation = update(box)
    if state == "cancelled":
        actions.cancel(operation)
    settle(operation)
    before = (box_state(box), transcript(operation))
    with pytest.raises(CommandNotAllowed, match=f"cannot cancel an operation that is {state}; allowed when it is: sch"):
        actions.cancel(operation)
    assert (row(operation).state, (box_state(box), transcript(operation))) == (state, before)


# -- pause ----------------------------------------------------------------------------------------------------------


def test_paused_while_it_waits_it_stands_still_until_it_is_unpaused() -> None:
    operation = waiting_create()
    paused = actions.pause(operation, actor="joe", reason="maintenance")
    assert (paused.state, paused.due_at) == ("paused", None)
    assert paused.why() == "paused by a person; unpause it to go on"
    clock.advance(3600)
    assert drive_due(operation) == 0
    assert not drive(operation.pk)
    assert actions.pause(operation).state == "paused"
    ToyCloud.behaviour = {}
    assert actions.unpause(operation, actor="ann").state == "waiting"
    assert settle(operation).state == "succeeded"
    assert list(operation.events.filter(kind__startswith="command").values_list("kind", "actor")) == [
        ("command.pause", "joe"),
        ("command.unpause", "ann"),
    ]


def test_paused_before_it_began_it_is_scheduled_again_when_unpaused() -> None:
    operation = update(make_box())
    assert actions.pause(operation).state == "paused"
    assert not drive(operation.pk)
    assert actions.unpause(operation).state == "scheduled"
    assert settle(operation).state == "succeeded"


def test_paused_while_a_step_runs_it_stops_behind_that_step() -> None:
    operation = CanvasExecutor.execute(
        make_box(), build=lambda ref: chain(tasks.BackendMethodTask().si(ref, "touch"), mark.si("later"))
    )
    with Meanwhile(operation):
        assert actions.pause(operation).state == "running"
    assert (row(operation).state, marks()) == ("paused", [])
    assert operation.steps.get(position=0).state == "succeeded"
    actions.unpause(operation)
    assert settle(operation).state == "succeeded"
    assert marks() == ["later"]
    assert Call.objects.count() == 1


def test_a_pause_that_has_not_taken_effect_can_be_taken_back() -> None:
    operation = update(make_box())
    with Meanwhile(operation):
        actions.pause(operation)
        actions.unpause(operation)
    assert row(operation).state == "succeeded"


def test_a_paused_operation_can_be_cancelled() -> None:
    box = make_box()
    operation = update(box)
    actions.pause(operation)
    actions.cancel(operation)
    assert settle(operation).state == "cancelled"
    assert box_state(box) == "ok"


def test_what_is_not_paused_cannot_be_unpaused() -> None:
    operation = update(make_box())
    with pytest.raises(CommandNotAllowed, match="cannot unpause an operation that is scheduled; allowed when it is: p"):
        actions.unpause(operation)
    settle(operation)
    with pytest.raises(CommandNotAllowed, match="cannot pause an operation that is succeeded"):
        actions.pause(operation)


def test_a_paused_part_holds_up_its_parent_and_no_more() -> None:
    operation = CanvasExecutor.execute(
        make_box(), build=lambda ref: group(mark.si("a"), mark.si("b").set(countdown=60))
    )
    drive_due(operation)
    part = Operation.objects.get(parent=operation, branch=1)
    actions.pause(part)
    clock.advance(3600)
    drive_due(operation)
    assert row(operation).state == "waiting"
    assert "1 of 2 parts ended" in row(operation).why()
    assert "paused by a person" in row(operation).why()
    actions.unpause(part)
    assert settle(operation).state == "succeeded"


def test_a_wait_can_be_ended_from_outside() -> None:
    operation = waiting_create()
    ToyCloud.behaviour = {}
    assert drive_due(operation) == 0
    actions.wake(operation)
    drive_due(operation)
    assert row(operation).state == "succeeded"
    actions.wake(operation)
    actions.wake(str(operation.pk))
    assert row(operation).state == "succeeded"


def test_there_is_nothing_to_do_with_an_operation_that_is_not_there() -> None:
    operation = update(make_box())
    Operation.objects.all().delete()
    with pytest.raises(LookupError, match=f"there is no operation {operation.pk}"):
        actions.cancel(operation.pk)


# -- resume, retry, skip --------------------------------------------------------------------------------------------


def failed_in_the_middle(box: Box) -> Operation:
    ToyCloud.behaviour = {"touch": BackendRejected("no")}
    operation = settle(
        CanvasExecutor.execute(
            box,
            build=lambda ref: chain(
                tasks.StateTransitionTask().si(ref, state_transition="begin_creating"),
                mark.si("a"),
                collect.s("b"),
                tasks.BackendMethodTask().si(ref, "touch"),
                mark.si("c"),
            ),
            success=lambda ref: tasks.StateTransitionTask().si(ref, state_transition="set_ok"),
            failure=lambda ref: chain(mark.si("failure path"), tasks.ErrorStateTransitionTask().si("id", ref)),
        )
    )
    assert (operation.state, operation.position >= 3, box_state(box)) == ("failed", True, "erred")
    ToyCloud.behaviour = {}
    return operation


def test_resumed_it_goes_on_from_the_step_that_failed() -> None:
    box = make_box("creation_scheduled")
    operation = failed_in_the_middle(box)
    resumed = actions.resume(operation, actor="joe", reason="quota raised")
    assert (resumed.state, resumed.error, box_state(box)) == ("waiting", "", "creating")
    assert Claim.objects.get().operation_id == operation.pk
    operation = settle(operation)
    assert (operation.state, box_state(box)) == ("succeeded", "ok")
    assert marks() == ["a", "b<'a'", "failure path", "c"]
    assert Call.objects.filter(method="touch").count() == 2
    event = operation.events.get(kind="command.resume")
    assert (event.actor, event.text, event.data) == ("joe", "quota raised", {"position": 3})


def test_a_resumed_operation_may_fail_and_be_resumed_again() -> None:
    box = make_box("creation_scheduled")
    operation = failed_in_the_middle(box)
    for _ in range(2):
        ToyCloud.behaviour = {"touch": BackendRejected("still no")}
        actions.resume(operation)
        operation = settle(operation)
        assert (operation.state, operation.error, box_state(box)) == ("failed", "still no", "erred")
    ToyCloud.behaviour = {}
    actions.resume(operation)
    assert settle(operation).state == "succeeded"
    assert marks() == ["a", "b<'a'", *["failure path"] * 3, "c"]


def test_retried_from_a_step_it_runs_that_step_again_and_none_before_it() -> None:
    operation = failed_in_the_middle(make_box("creation_scheduled"))
    actions.retry_from(operation, 2)
    assert settle(operation).state == "succeeded"
    assert marks() == ["a", "b<'a'", "failure path", "b<'a'", "c"]


def test_a_retry_with_the_steps_that_moved_the_resource_is_possible() -> None:
    operation = failed_in_the_middle(make_box("creation_scheduled"))
    actions.retry_from(operation, 1)
    assert settle(operation).state == "succeeded"
    assert marks() == ["a", "b<'a'", "failure path", "a", "b<'a'", "c"]


@pytest.mark.parametrize("position", [4, 5, 99, -1])
def test_a_step_behind_the_one_that_failed_cannot_be_chosen(position: int) -> None:
    operation = failed_in_the_middle(make_box("creation_scheduled"))
    with pytest.raises(CommandNotAllowed, match="lies behind the step that failed"):
        actions.retry_from(operation, position)
    assert row(operation).state == "failed"
    assert not Claim.objects.exists()


def test_skipping_leaves_out_the_step_that_failed() -> None:
    box = make_box("creation_scheduled")
    operation = failed_in_the_middle(box)
    actions.skip(operation, reason="done by hand", actor="joe")
    operation = settle(operation)
    assert (operation.state, box_state(box)) == ("succeeded", "ok")
    assert marks() == ["a", "b<'a'", "failure path", "c"]
    step = operation.steps.get(position=3)
    assert (step.state, step.error) == ("skipped", "skipped: done by hand")
    assert Call.objects.filter(method="touch").count() == 1
    assert operation.events.get(kind="command.skip").text == "done by hand"


@pytest.mark.parametrize("reason", ["", "  "])
def test_skipping_needs_a_reason(reason: str) -> None:
    operation = failed_in_the_middle(make_box("creation_scheduled"))
    with pytest.raises(ValueError, match="needs a reason"):
        actions.skip(operation, reason=reason)
    assert row(operation).state == "failed"


def test_a_skipped_step_gives_none_to_the_next() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: chain(fail.si(), collect.s("b"))))
    actions.skip(operation, reason="r")
    settle(operation)
    assert marks() == ["b<None"]


def test_a_quarantined_operation_is_resumed_with_its_doubt() -> None:
    seen: list[bool] = []

    def remember(box: Box) -> None:
        from django_executors.context import current_step

        seen.append(current_step().outcome_unknown)

    box = make_box()
    ToyCloud.behaviour = {"touch": OutcomeUnknown("reset", findable=False)}
    operation = settle(update(box))
    assert operation.state == "quarantined"
    ToyCloud.behaviour = {"touch": remember}
    actions.resume(operation, actor="joe", reason="looked: it is there")
    assert box_state(box) == "updating"
    assert settle(operation).state == "succeeded"
    assert (seen, box_state(box)) == ([True], "ok")


def test_a_quarantined_step_can_be_skipped() -> None:
    box = make_box()
    ToyCloud.behaviour = {"touch": OutcomeUnknown("reset", findable=False)}
    operation = settle(update(box))
    actions.skip(operation, reason="it is there")
    assert settle(operation).state == "succeeded"
    assert box_state(box) == "ok"


def test_an_operation_that_killed_its_workers_can_be_resumed() -> None:
    operation = update(make_box())
    die(operation, "before step", times=6)
    assert settle(operation).state == "quarantined"
    actions.resume(operation)
    assert settle(operation).state == "succeeded"


def test_a_cancelled_operation_can_be_resumed() -> None:
    box = make_box("creation_scheduled")
    operation = waiting_create(box)
    actions.cancel(operation)
    settle(operation)
    ToyCloud.behaviour = {}
    actions.resume(operation)
    assert settle(operation).state == "succeeded"
    assert box_state(box) == "ok"
    assert Call.objects.filter(method="create_box").count() == 1


def test_one_that_was_cancelled_before_it_began_can_be_resumed() -> None:
    box = make_box()
    operation = update(box)
    actions.cancel(operation)
    settle(operation)
    actions.resume(operation)
    operation = settle(operation)
    assert (operation.state, operation.error, box_state(box)) == ("succeeded", "", "ok")


def test_resuming_reaches_failed_parts_and_leaves_the_others_alone() -> None:
    outer, good, bad = (make_box("creation_scheduled", name) for name in ("outer", "good", "bad"))

    def refuse(box: Box) -> None:
        if box.name == "bad":
            raise BackendRejected("no")

    ToyCloud.behaviour = {"pull_box": refuse}
    operation = settle(
        CanvasExecutor.execute(
            outer,
            build=lambda ref: chain(
                group(BoxCreateExecutor.as_signature(good), BoxCreateExecutor.as_signature(bad), mark.si("a")),
                mark.si("end"),
            ),
        )
    )
    assert operation.state == "failed"
    assert [box_state(box) for box in (outer, good, bad)] == ["erred", "ok", "erred"]
    ToyCloud.behaviour = {}
    actions.resume(operation)
    assert settle(operation).state == "succeeded"
    assert [box_state(box) for box in (outer, good, bad)] == ["ok", "ok", "ok"]
    assert Call.objects.filter(method="create_box").count() == 2
    assert marks() == ["a", "end"]
    assert not Claim.objects.exists()


def test_a_part_that_was_undone_cannot_be_resumed_and_its_parent_says_so() -> None:
    outer, inner = make_box("creation_scheduled", "outer"), make_box("ok", "inner")
    operation = settle(
        CanvasExecutor.execute(
            outer,
            build=lambda ref: CompensatingExecutor.as_signature(
                inner, build=lambda ref: chain(mark.si("a").set(compensate=mark.si("undo a")), fail.si())
            ),
        )
    )
    assert operation.state == "failed"
    actions.resume(operation)
    operation = settle(operation)
    assert operation.state == "failed"
    assert "cannot resume an operation that is compensated" in operation.error
    assert box_state(outer) == "erred"
    assert not Claim.objects.exists()


def test_a_part_cannot_be_resumed_by_itself() -> None:
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda ref: group(fail.si(), mark.si("a"))))
    part = Operation.objects.get(parent=operation, state="failed")
    with pytest.raises(CommandNotAllowed, match=f"it is part of operation {operation.pk}: resume that one"):
        actions.resume(part)


@pytest.mark.parametrize("command", ["resume", "retry", "skip"])
@pytest.mark.parametrize("state", ["scheduled", "succeeded", "waiting", "compensated"])
def test_only_what_has_failed_can_be_started_again(command: str, state: str) -> None:
    box = make_box("creation_scheduled")
    if state == "waiting":
        operation = waiting_create(box)
    elif state == "compensated":
        operation = settle(
            CompensatingExecutor.execute(box, build=lambda ref: chain(mark.si(1).set(compensate=mark.si(2)), fail.si()))
        )
    else:
        operation = BoxCreateExecutor.execute(box)
        if state == "succeeded":
            settle(operation)
    calls: dict[str, Callable[[], Operation]] = {
        "resume": lambda: actions.resume(operation),
        "retry": lambda: actions.retry_from(operation, 0),
        "skip": lambda: actions.skip(operation, reason="r"),
    }
    with pytest.raises(CommandNotAllowed) as refused:
        calls[command]()
    assert str(refused.value).startswith(
        f"cannot {command} an operation that is {state}; allowed when it is: failed, cancelled, quarantined"
    )
    assert row(operation).state == state


def test_a_resource_that_is_held_by_another_operation_by_now_cannot_be_taken_back() -> None:
    box = make_box("creation_scheduled")
    operation = failed_in_the_middle(box)
    other = update(Box.objects.get())
    with pytest.raises(OperationConflict) as refused:
        actions.resume(operation)
    assert refused.value.operation_id == other.pk
    assert row(operation).state == "failed"
    assert transcript(operation)[-1] == "operation.failed"


def test_a_resource_that_is_gone_by_now_cannot_be_worked_on() -> None:
    operation = failed_in_the_middle(make_box("creation_scheduled"))
    Box.objects.all().delete()
    with pytest.raises(CommandNotAllowed, match="its resource is no longer in the database"):
        actions.resume(operation)
    assert (row(operation).state, Claim.objects.count()) == ("failed", 0)


# -- recover --------------------------------------------------------------------------------------------------------


def test_an_erred_resource_is_recovered_with_evidence() -> None:
    box = Box.objects.create(name="b", state="erred", error_message="old", error_traceback="old")
    operation = settle(RecoverExecutor.execute(box, actor="joe"))
    assert operation.state == "succeeded"
    box.refresh_from_db()
    assert (box.state, box.error_message, box.error_traceback) == ("ok", "", "")
    assert Call.objects.get().method == "pull_box"


@pytest.mark.parametrize("error", [BackendNotFound("gone"), BackendRejected("forbidden"), BackendUnavailable("503")])
def test_without_evidence_it_stays_erred(error: Exception) -> None:
    ToyCloud.behaviour = {"pull_box": error}
    box = make_box("erred")
    assert settle(RecoverExecutor.execute(box)).state == "failed"
    assert box_state(box) == "erred"
    assert not Claim.objects.exists()


def test_evidence_may_come_from_another_method() -> None:
    box = make_box("erred")
    settle(RecoverExecutor.execute(box, backend_pull_method="touch"))
    assert (box_state(box), Call.objects.get().method) == ("ok", "touch")


def test_only_an_erred_resource_can_be_recovered() -> None:
    with pytest.raises(TransitionNotAllowed, match="'recover' is not allowed in state 'ok'"):
        RecoverExecutor.execute(make_box("ok"))
    with pytest.raises(ConfigurationError, match="Note has no get_backend"):
        RecoverExecutor.execute(Note.objects.create())
    assert not Operation.objects.exists()


# -- why ------------------------------------------------------------------------------------------------------------


def test_why_it_has_not_begun() -> None:
    operation = update(make_box())
    assert operation.why() == "queued for a worker of queue tasks for 0 s, before step 1 (touch)"


def test_why_it_waits_for_the_cloud() -> None:
    operation = waiting_create()
    assert row(operation).why().startswith("waiting for box b to become ACTIVE (now BUILD), poll 1, next in ")


def test_why_it_tries_again() -> None:
    ToyCloud.behaviour = {"touch": BackendUnavailable("503")}
    operation = update(make_box())
    drive_due(operation)
    assert row(operation).why().startswith("retry 1 after: 503; step 1 (touch) in ")


def test_why_it_stands_in_line() -> None:
    Throttle.objects.create(key="default/testapp.box", limit=1)
    first, second, third = (make_box("creation_scheduled", name) for name in "abc")
    ToyCloud.behaviour = {"create_box": BackendUnavailable("503")}
    drive_due(BoxThrottledCreateExecutor.execute(first))
    drive_due(BoxThrottledCreateExecutor.execute(second))
    last = BoxThrottledCreateExecutor.execute(third)
    drive_due(last)
    assert row(last).why() == (
        f"throttled: 2nd of 2 in line for default/testapp.box (limit 1, held by testapp.box:{first.pk})"
    )


def test_why_its_worker_is_silent() -> None:
    operation = update(make_box())
    with Meanwhile(operation):
        assert row(operation).why().startswith("running step 1 (touch) on ")
        clock.advance(100)
        assert "let its lease end" in row(operation).why() or row(operation).why().startswith("running")


def test_why_it_is_stalled() -> None:
    operation = update(make_box())
    die(operation, "before step")
    assert row(operation).why().startswith("stalled at step 1 (touch): worker ")
    assert "let its lease end 1 s ago, it is offered to another worker" in row(operation).why()


def test_why_its_parts_keep_it() -> None:
    operation = CanvasExecutor.execute(
        make_box(), build=lambda ref: group(mark.si("a"), mark.si("b").set(countdown=60))
    )
    drive_due(operation)
    assert (
        row(operation).why().startswith("step 1 (2 in parallel): 1 of 2 parts ended; branch 2 of Canvas b is waiting")
    )
    assert "step mark has a countdown of 60 s" in row(operation).why()


def test_why_it_ended() -> None:
    operation = settle(update(make_box()))
    assert operation.why() == "succeeded"
