"""How the engine moves: many steps a message, hops between queues, leases, the dispatcher, throttles."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group, shared_task
from django.db import connection, transaction

from django_executors import clock, journal, registry, tasks, throttling
from django_executors.conf import settings
from django_executors.engine import actions, lease
from django_executors.engine.dispatcher import dispatch_once
from django_executors.engine.drive import drive
from django_executors.exceptions import BackendRejected, BackendUnavailable, LeaseLost
from django_executors.executors import ActionExecutor, CreateExecutor, DeleteExecutor, UpdateExecutor
from django_executors.models import Operation, Slot, Step, Throttle
from tests.integration.driving import (
    Died,
    all_at_once,
    die,
    drive_due,
    make_box,
    marks,
    row,
    script,
    settle,
    skip_wait,
    transcript,
    update,
)
from tests.testapp.executors import (
    BoxCreateExecutor,
    BoxThrottledCreateExecutor,
    BoxUpdateExecutor,
    CanvasExecutor,
)
from tests.testapp.models import Box, Call, Legacy, Mark, Note, ToyCloud
from tests.testapp.tasks import KeywordTask, PlainTask, heavy_mark, mark

pytestmark = pytest.mark.django_db(transaction=True)

Messages = Callable[[], list[dict[str, Any]]]


def canvas(build: Callable[[str], Any], **options: Any) -> Operation:
    return CanvasExecutor.execute(make_box(), build=build, **options)


def deliver(message: dict[str, Any], **options: Any) -> bool:
    """Do what a worker does with a message."""
    return drive(
        message["operation"],
        queue=message["queue"],
        limits=(message["time_limit"], message["soft_time_limit"]),
        **options,
    )


def work_off(messages: Messages) -> list[tuple[str, list[str]]]:
    """Deliver messages until there are no more; return each one's queue and the marks it made."""
    done = []
    while found := messages():
        for message in found:
            before = len(marks())
            if deliver(message):
                done.append((message["queue"], marks()[before:]))
    return done


# -- messages and queues --------------------------------------------------------------------------------------------


def test_one_message_drives_many_steps(messages: Messages) -> None:
    operation = canvas(lambda ref: chain(*[mark.si(n) for n in range(20)]))
    assert work_off(messages) == [("tasks", [str(n) for n in range(20)])]
    assert row(operation).state == "succeeded"


def test_a_message_that_comes_twice_or_too_late_does_nothing(messages: Messages) -> None:
    canvas(lambda ref: mark.si("once"))
    (message,) = messages()
    assert deliver(message)
    assert not deliver(message)
    assert not drive("00000000-0000-0000-0000-000000000000", queue="tasks")
    assert marks() == ["once"]


def test_heavy_steps_run_in_the_heavy_queue_and_the_others_do_not(messages: Messages) -> None:
    operation = canvas(
        lambda ref: chain(mark.si("a"), mark.si("b"), heavy_mark.si("c"), heavy_mark.si("d"), mark.si("e"))
    )
    assert work_off(messages) == [("tasks", ["a", "b"]), ("heavy", ["c", "d"]), ("tasks", ["e"])]
    assert row(operation).state == "succeeded"


def test_a_worker_of_another_queue_does_not_take_it(messages: Messages) -> None:
    operation = canvas(lambda ref: heavy_mark.si("a"))
    (message,) = messages()
    deliver(message)
    waiting = row(operation)
    assert (waiting.queue, waiting.wait_kind) == ("heavy", "queue")
    assert "for a worker of queue heavy" in waiting.why()
    assert not drive(operation.pk, queue="tasks")
    assert marks() == []
    assert drive(operation.pk, queue="heavy")
    assert marks() == ["a"]


def test_a_heavy_operation_is_heavy_to_its_end_with_all_its_parts(messages: Messages) -> None:
    inner = make_box("creation_scheduled", "inner")
    canvas(
        lambda ref: chain(
            mark.si("a"),
            group(mark.si("b"), chain(mark.si("c"), mark.si("d"))),
            CanvasExecutor.as_signature(inner, build=lambda ref: group(mark.si("e"), mark.si("f"))),
        ),
        success=lambda ref: mark.si("g"),
        is_heavy_task=True,
    )
    done = work_off(messages)
    assert {queue for queue, _ in done} == {"heavy"}
    assert sorted(marks()) == list("abcdefg")
    assert set(Operation.objects.values_list("state", "queue")) == {("succeeded", "heavy")}


def test_a_step_may_name_a_queue_of_its_own(messages: Messages) -> None:
    canvas(lambda ref: chain(mark.si("a"), mark.si("b").set(queue="background"), mark.si("c")))
    assert work_off(messages) == [("tasks", ["a"]), ("background", ["b"]), ("tasks", ["c"])]


def test_a_step_with_a_time_limit_gets_a_message_with_that_limit(messages: Messages) -> None:
    canvas(
        lambda ref: chain(
            mark.si("a"),
            mark.si("b").set(time_limit=60, soft_time_limit=50),
            mark.si("c").set(time_limit=60),
            mark.si("d"),
        )
    )
    seen = []
    while found := messages():
        for message in found:
            before = marks()
            if deliver(message):
                seen.append((message["time_limit"], message["soft_time_limit"], marks()[len(before) :]))
    assert seen == [(None, None, ["a"]), (60, 50, ["b"]), (60, None, ["c"]), (None, None, ["d"])]


def test_a_message_has_the_priority_of_its_operation(messages: Messages) -> None:
    canvas(lambda ref: mark.si("a"), priority=7)
    assert [message["priority"] for message in messages()] == [7]


def test_a_worker_that_shuts_down_hands_over_at_a_step_boundary(messages: Messages) -> None:
    operation = canvas(lambda ref: chain(mark.si("a"), mark.si("b"), mark.si("c")))
    (message,) = messages()
    turns = iter([False, False, True])
    deliver(message, draining=lambda: next(turns))
    assert (row(operation).state, row(operation).lease_owner, marks()) == ("waiting", "", ["a", "b"])
    assert work_off(messages) == [("tasks", ["c"])]


# -- leases ---------------------------------------------------------------------------------------------------------


def other_owner(monkeypatch: pytest.MonkeyPatch, name: str = "another") -> None:
    monkeypatch.setattr(lease, "_owner", (lease._owner[0] or lease.os.getpid(), name))


def test_of_many_workers_that_claim_at_once_one_wins() -> None:
    operation = update(make_box())
    outcomes = all_at_once(*[lambda: lease.claim(operation.pk, "tasks")] * 5)
    claimed = [outcome for outcome in outcomes if outcome is not None]
    assert len(claimed) == 1, outcomes
    assert row(operation).lease_token == 1


def test_of_many_workers_that_drive_at_once_each_step_runs_once() -> None:
    operation = canvas(lambda ref: chain(*[mark.si(n) for n in range(5)]))
    outcomes = all_at_once(*[lambda: drive(operation.pk, queue="tasks")] * 4)
    assert outcomes.count(True) == 1
    assert outcomes.count(False) == 3
    assert marks() == list("01234")


def test_a_worker_whose_lease_was_taken_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    box = make_box()
    operation = update(box)
    first = lease.claim(operation.pk, None)
    assert first is not None
    fence, taken_over = first
    assert not taken_over
    clock.advance(settings.LEASE_SECONDS + 1)
    other_owner(monkeypatch)
    second = lease.claim(operation.pk, None)
    assert second is not None
    assert second[1]
    step = operation.steps.get(position=0)
    before = (
        list(Operation.objects.values()),
        list(Step.objects.values()),
        list(Box.objects.values()),
        transcript(operation),
    )

    def write() -> None:
        journal.update_step(step, state="running")
        journal.add_event(operation, "stale")
        Box.objects.update(name="stale")

    with pytest.raises(LeaseLost):
        fence.commit(write, position=1)
    after = (
        list(Operation.objects.values()),
        list(Step.objects.values()),
        list(Box.objects.values()),
        transcript(operation),
    )
    assert after == before
    second[0].commit(write, position=1)
    assert Box.objects.get().name == "stale"


def test_a_worker_that_slept_through_its_lease_records_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = update(make_box())
    other = []

    def sleep_through(box: Box) -> None:
        if not other:
            other.append(True)
            clock.advance(settings.LEASE_SECONDS + 1)
            with monkeypatch.context() as context:
                other_owner(context)
                assert drive(operation.pk)

    ToyCloud.behaviour = {"touch": sleep_through}
    assert drive(operation.pk)
    assert row(operation).state == "succeeded"
    assert Call.objects.count() == 2
    assert operation.steps.get(position=0).attempts == 2
    assert transcript(operation).count("operation.succeeded") == 1
    assert transcript(operation).count("operation.taken_over") == 1


def test_a_lease_is_kept_alive_while_its_worker_works(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EXECUTORS = {"LEASE_SECONDS": 1.0, "HEARTBEAT_SECONDS": 0.1}
    monkeypatch.setattr(lease, "_heartbeat", lease._Heartbeat())  # this process's own may sleep a longer beat
    operation = update(make_box())
    renewed = threading.Event()

    def work(box: Box) -> None:
        first = row(operation).due_at
        for _ in range(100):
            if row(operation).due_at != first:
                renewed.set()
                return
            threading.Event().wait(0.05)

    ToyCloud.behaviour = {"touch": work}
    drive(operation.pk)
    assert renewed.is_set()
    assert row(operation).state == "succeeded"


def test_a_signal_between_a_look_and_the_commit_is_not_lost() -> None:
    """Cancelled inside of a poll: the rest sees the signal and does not sleep on it."""
    operation = BoxCreateExecutor.execute(make_box("creation_scheduled"))

    def cancel_meanwhile(box: Box) -> str:
        actions.cancel(operation)
        return "BUILD"

    ToyCloud.behaviour = {"pull_runtime_state": cancel_meanwhile}
    drive_due(operation)
    assert row(operation).state == "cancelled"


def test_a_wake_between_a_look_and_the_commit_makes_it_look_again() -> None:
    operation = BoxCreateExecutor.execute(make_box("creation_scheduled"))

    def wake_meanwhile() -> str:
        actions.wake(operation)
        return "BUILD"

    ToyCloud.behaviour = {"pull_runtime_state": script(wake_meanwhile, "ACTIVE")}
    drive_due(operation)
    assert row(operation).state == "succeeded"


def test_a_transition_at_the_start_of_a_step_is_not_repeated() -> None:
    box = make_box()
    ToyCloud.behaviour = {"touch": script(BackendUnavailable("503"), None)}
    operation = update(box)
    drive_due(operation)
    box.refresh_from_db()
    assert box.state == "updating"
    die(operation, "before step") if row(operation).due_at is None else skip_wait(operation)
    die(operation, "before step")
    assert settle(operation).state == "succeeded"
    assert operation.steps.get(position=0).attempts == 3


def test_the_start_of_a_step_and_its_transition_are_one_commit() -> None:
    box = make_box()
    operation = update(box)
    die(operation, "inside commit")
    box.refresh_from_db()
    assert (box.state, operation.steps.get(position=0).attempts) == ("update_scheduled", 0)
    die(operation, "before step")
    box.refresh_from_db()
    assert (box.state, operation.steps.get(position=0).attempts) == ("updating", 1)
    assert settle(operation).state == "succeeded"


def test_a_row_only_step_and_its_record_are_one_commit() -> None:
    box = make_box("creation_scheduled")
    operation = CanvasExecutor.execute(
        box, build=lambda ref: tasks.StateTransitionTask().si(ref, state_transition="begin_creating")
    )
    commits = iter(["claimed", "first"])

    from django_executors import faults

    def handler(point: str) -> None:
        if point == "inside commit" and next(commits, None):
            raise Died

    faults.install(handler)
    with pytest.raises(Died):
        drive(operation.pk)
    faults.install(None)
    box.refresh_from_db()
    assert (box.state, operation.steps.get(position=0).state) == ("creation_scheduled", "pending")


# -- the dispatcher -------------------------------------------------------------------------------------------------


class Post:
    """Where a dispatcher's messages arrive."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, operation_id: Any, queue: str, **options: Any) -> bool:
        self.sent.append(operation_id)
        return True


def test_the_dispatcher_finds_an_operation_whose_message_was_lost(messages: Messages) -> None:
    operation = update(make_box())
    messages()
    post = Post()
    assert dispatch_once(post) == 0
    clock.advance(settings.NUDGE_GRACE_SECONDS + 0.1)
    assert dispatch_once(post) == 1
    assert post.sent == [operation.pk]
    assert dispatch_once(post) == 0, "it was offered just now"
    clock.advance(15)
    assert dispatch_once(post) == 1, "the second message was lost too"


def test_the_dispatcher_finds_timers_when_they_are_due() -> None:
    operation = BoxUpdateExecutor.execute(make_box(), updated_fields=[], countdown=60)
    post = Post()
    clock.advance(59)
    assert dispatch_once(post) == 0
    clock.advance(2 + settings.NUDGE_GRACE_SECONDS)
    assert dispatch_once(post) == 1
    assert post.sent == [operation.pk]


def test_the_dispatcher_finds_operations_whose_worker_fell_silent() -> None:
    operation = update(make_box())
    lease.claim(operation.pk, None)
    post = Post()
    clock.advance(settings.LEASE_SECONDS - 1)
    assert dispatch_once(post) == 0
    clock.advance(1.1)
    assert dispatch_once(post) == 1
    assert drive(operation.pk)
    assert row(operation).state == "succeeded"


def test_what_could_not_be_sent_is_sent_by_the_next_round_and_does_not_count() -> None:
    operations = [update(make_box(name=name)) for name in "ab"]
    clock.advance(settings.NUDGE_GRACE_SECONDS + 0.1)
    tried: list[Any] = []

    def broken(pk: Any, queue: str, **options: Any) -> bool:
        tried.append(pk)
        return False

    for _ in range(3):
        assert dispatch_once(broken) == 0
        clock.advance(settings.DISPATCH_SECONDS + 0.1)
    assert len(tried) == 3, "one try a round: each further one would wait for the broker as long"
    post = Post()
    assert dispatch_once(post) == 2
    assert set(post.sent) == {operation.pk for operation in operations}
    assert {row(operation).nudges for operation in operations} == {1}


def test_a_message_about_a_silent_workers_operation_is_repeated_sooner_than_others() -> None:
    idle, held = update(make_box()), update(make_box(name="held"))
    lease.claim(held.pk, None)
    clock.advance(settings.LEASE_SECONDS + 0.1)
    post = Post()
    assert dispatch_once(post) == 2
    clock.advance(settings.DISPATCH_SECONDS + 0.1)
    assert dispatch_once(post) == 1
    assert post.sent[2:] == [held.pk]
    clock.advance(10)
    assert dispatch_once(post) == 2
    assert idle.pk in post.sent[3:]


def test_the_dispatchers_messages_are_as_good_as_any(messages: Messages) -> None:
    operation = canvas(lambda ref: mark.si("a").set(queue="heavy", time_limit=9), priority=3)
    deliver(messages()[0])
    messages()
    clock.advance(5)
    assert dispatch_once() == 1
    (message,) = messages()
    assert message == {
        "operation": str(operation.pk),
        "queue": "heavy",
        "priority": 3,
        "time_limit": 9,
        "soft_time_limit": None,
    }
    assert deliver(message)
    assert marks() == ["a"]


def test_the_dispatcher_leaves_what_waits_for_nothing_alone() -> None:
    paused, ended = update(make_box()), update(make_box())
    actions.pause(paused)
    settle(ended)
    clock.advance(10**6)
    assert dispatch_once(Post()) == 0


@pytest.mark.parametrize("due", [2, 3, 4])
def test_a_dispatcher_sends_no_more_than_a_batch_at_a_time(due: int, settings: Any) -> None:
    settings.EXECUTORS = {"DISPATCH_BATCH": 3}
    opened = [update(make_box()).pk for _ in range(due)]
    clock.advance(10)
    post = Post()
    assert dispatch_once(post) == min(due, 3)
    assert dispatch_once(post) == max(0, due - 3)
    assert post.sent == opened


def test_many_dispatchers_at_once_send_each_message_once() -> None:
    opened = {update(make_box()).pk for _ in range(20)}
    clock.advance(10)
    posts = [Post() for _ in range(4)]
    outcomes = all_at_once(*[lambda post=post: dispatch_once(post) for post in posts])  # type: ignore[misc]
    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    # One that found the rows locked leaves them to the other, or to its next look.
    dispatch_once(posts[0])
    sent = [pk for post in posts for pk in post.sent]
    assert sorted(sent) == sorted(opened)


# -- code that changes ----------------------------------------------------------------------------------------------


def test_a_task_that_the_code_does_not_know_waits_for_a_deploy() -> None:
    operation = canvas(lambda ref: chain(mark.si("a"), mark.si("b")))
    Step.objects.filter(operation=operation, position=1).update(task="app.tasks.renamed")
    drive_due(operation)
    waiting = row(operation)
    assert (waiting.state, waiting.wait_kind, marks()) == ("waiting", "unknown_task", ["a"])
    assert "this code has no task 'app.tasks.renamed': deploy code that has it, or declare an alias" in waiting.why()
    skip_wait(waiting)
    drive_due(operation)
    assert row(operation).wait_kind == "unknown_task"
    registry.add_task_alias("app.tasks.renamed", mark.name)
    assert settle(operation).state == "succeeded"
    assert marks() == ["a", "b"]


def test_an_executor_that_the_code_does_not_know_waits_for_a_deploy() -> None:
    inner = make_box("creation_scheduled", "inner")
    operation = canvas(lambda ref: CanvasExecutor.as_signature(inner, build=lambda ref: mark.si("a")))
    step = operation.steps.get(position=0)
    assert step.plan is not None
    step.plan["executor"] = "app.OldExecutor"
    step.save()
    drive_due(operation)
    assert "this code has no executor 'app.OldExecutor'" in row(operation).why()
    registry.add_executor("app.OldExecutor", CanvasExecutor)
    assert settle(operation).state == "succeeded"


def test_an_operation_whose_executor_is_gone_still_ends() -> None:
    box = make_box("creation_scheduled")
    operation = CanvasExecutor.execute(box, build=lambda ref: mark.si("a"))
    Operation.objects.update(executor="app.GoneExecutor")
    assert settle(operation).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"


# -- tasks ----------------------------------------------------------------------------------------------------------


def test_a_plain_task_class_is_a_step() -> None:
    canvas_operation = canvas(lambda ref: PlainTask().si("plain"))
    assert settle(canvas_operation).state == "succeeded"
    assert marks() == ["plain"]


def test_a_task_object_used_by_several_threads_keeps_arguments_apart() -> None:
    words = [f"word{n}" for n in range(8)]
    boxes = [make_box("creation_scheduled", word) for word in words]
    operations = [
        CanvasExecutor.execute(
            box, build=lambda ref, word=box.name: KeywordTask().si(ref, word=word, state_transition="begin_creating")
        )
        for box in boxes
    ]
    outcomes = all_at_once(*[lambda pk=operation.pk: drive(pk) for operation in operations])  # type: ignore[misc]
    assert outcomes == [True] * 8
    assert sorted(marks()) == sorted(f"{word}!" for word in words)
    for operation, word in zip(operations, words, strict=True):
        assert row(operation).result == f"{word}!"
    assert set(Box.objects.values_list("state", flat=True)) == {"ok"}


def test_runtime_states_and_actions_are_written_around_the_work() -> None:
    seen = []

    def look(box: Box) -> None:
        fresh = Box.objects.get(pk=box.pk)
        seen.append((fresh.state, fresh.runtime_state, fresh.action, fresh.action_details))

    class Resize(ActionExecutor):
        action = "Resize"

        @classmethod
        def get_action_details(cls, instance: Any, **kwargs: Any) -> dict[str, Any]:
            return {"size": kwargs["size"]}

        @classmethod
        def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
            return tasks.BackendMethodTask().si(
                serialized_instance,
                "touch",
                state_transition="begin_updating",
                runtime_state="RESIZING",
                success_runtime_state="ACTIVE",
            )

    ToyCloud.behaviour = {"touch": look}
    box = make_box()
    assert settle(Resize.execute(box, size=3)).state == "succeeded"
    assert seen == [("updating", "RESIZING", "Resize", {"size": 3})]
    box.refresh_from_db()
    assert (box.state, box.runtime_state) == ("ok", "ACTIVE")


# -- projects with models of their own ------------------------------------------------------------------------------


@shared_task
def note_state(reference: str) -> None:
    """Leave the resource's raw state as a mark."""
    from django_executors.references import deserialize

    Mark.objects.create(what=str(getattr(deserialize(reference), "state", "none")))


def transitions(name: str) -> Callable[[Any, str], Any]:
    return lambda instance, ref: chain(tasks.StateTransitionTask().si(ref, state_transition=name), note_state.si(ref))


class OwnCreate(CreateExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return transitions("begin_creating")(instance, serialized_instance)


class OwnUpdate(UpdateExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return transitions("begin_updating")(instance, serialized_instance)


class OwnDelete(DeleteExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return transitions("begin_deleting")(instance, serialized_instance)


class OwnFailing(UpdateExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return chain(transitions("begin_updating")(instance, serialized_instance), tasks.BackendMethodTask().si())


def test_a_model_with_integer_states_lives_the_same_life() -> None:
    legacy = Legacy.objects.create(name="l")
    assert settle(OwnCreate.execute(legacy)).state == "succeeded"
    legacy = Legacy.objects.get()
    assert legacy.state == 3
    assert settle(OwnUpdate.execute(legacy, updated_fields=["name"])).state == "succeeded"
    legacy = Legacy.objects.get()
    assert legacy.state == 3
    operation = settle(OwnDelete.execute(legacy))
    assert (operation.state, operation.error) == ("succeeded", "")
    assert not Legacy.objects.exists()
    assert marks() == ["6", "2", "8"]


def test_a_model_with_integer_states_becomes_erred_and_mends() -> None:
    legacy = Legacy.objects.create(name="l", state=3)
    operation = OwnUpdate.execute(legacy, updated_fields=[])
    Step.objects.filter(operation=operation, position=1).update(task="tests.testapp.tasks.fail", args=["boom"])
    assert settle(operation).state == "failed"
    assert Legacy.objects.get().state == 4
    actions.retry_from(operation, 1)
    assert Legacy.objects.get().state == 2
    Step.objects.filter(operation=operation, position=1).update(
        task=note_state.name, args=[f"testapp.legacy:{legacy.pk}"]
    )
    assert settle(operation).state == "succeeded"
    assert (Legacy.objects.get().state, marks()) == (3, ["2"])


def test_a_model_with_integer_states_is_put_back_by_a_cancellation() -> None:
    legacy = Legacy.objects.create(name="l", state=3)
    operation = OwnUpdate.execute(legacy, updated_fields=[])
    assert Legacy.objects.get().state == 1
    actions.cancel(operation)
    assert settle(operation).state == "cancelled"
    assert Legacy.objects.get().state == 3


def test_a_model_with_states_of_its_own_is_refused_in_the_wrong_state() -> None:
    from django_executors.exceptions import TransitionNotAllowed

    legacy = Legacy.objects.create(name="l", state=2)
    with pytest.raises(TransitionNotAllowed):
        OwnUpdate.execute(legacy, updated_fields=[])
    with pytest.raises(TransitionNotAllowed):
        OwnCreate.execute(legacy)
    assert not Operation.objects.exists()


def test_a_model_without_states_is_a_resource_too() -> None:
    note = Note.objects.create(text="n")
    assert settle(OwnCreate.execute(note)).state == "succeeded"
    assert settle(OwnUpdate.execute(note, updated_fields=[])).state == "succeeded"
    operation = OwnUpdate.execute(note, updated_fields=[])
    Step.objects.filter(operation=operation, position=1).update(task="tests.testapp.tasks.fail", args=["boom"])
    assert settle(operation).error == "RuntimeError: boom"
    assert settle(OwnDelete.execute(note)).state == "succeeded"
    assert not Note.objects.exists()
    assert marks() == ["none", "none", "none"]


# -- throttling -----------------------------------------------------------------------------------------------------

KEY = "default/testapp.box"


def held() -> int:
    return Slot.objects.filter(held=True).count()


@pytest.mark.parametrize("contenders", [2, 3, 4, 6])
def test_three_slots_are_never_held_by_four(contenders: int) -> None:
    throttling.ensure(KEY)
    operations = [canvas(lambda ref: mark.si("a")) for _ in range(contenders)]

    def acquire(operation: Operation) -> bool:
        with transaction.atomic():
            got = throttling.acquire(KEY, f"testapp.box:{operation.resource_pk}", operation, limit=3)
            assert held() <= 3
            return got

    outcomes = all_at_once(*[lambda op=operation: acquire(op) for operation in operations])  # type: ignore[misc]
    assert outcomes.count(True) == min(contenders, 3), outcomes
    assert outcomes.count(False) == max(0, contenders - 3)
    assert (held(), Slot.objects.count()) == (min(contenders, 3), contenders)


def test_a_throttle_is_never_exceeded_while_many_workers_work() -> None:
    Throttle.objects.create(key=KEY, limit=2)
    inside, most, lock = 0, 0, threading.Lock()
    two_at_once = threading.Event()

    def create(box: Box) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                two_at_once.set()
        # The first one stays until a second one is let in beside it, so that the limit is certainly reached.
        assert two_at_once.wait(timeout=20)
        with lock:
            inside -= 1

    ToyCloud.behaviour = {"create_box": create}
    operations = [BoxThrottledCreateExecutor.execute(make_box("creation_scheduled")) for _ in range(8)]

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while Operation.objects.filter(finished_at=None).exists():
            drive(chance.choice(operations).pk)

    outcomes = all_at_once(*[lambda seed=seed: work(seed) for seed in range(4)])  # type: ignore[misc]
    assert outcomes == [None] * 4
    assert most == 2
    assert set(Operation.objects.values_list("state", flat=True)) == {"succeeded"}
    assert Call.objects.filter(method="create_box").count() == 8
    assert not Slot.objects.exists()


def stuck(box: Box) -> None:
    if box.name.startswith("stuck"):
        raise BackendUnavailable("503")
    if box.name.startswith("bad"):
        raise BackendRejected("no")


def throttled(name: str) -> Operation:
    operation = BoxThrottledCreateExecutor.execute(make_box("creation_scheduled", name))
    drive_due(operation)
    return operation


def test_whoever_came_first_is_served_first(messages: Messages) -> None:
    Throttle.objects.create(key=KEY, limit=1)
    ToyCloud.behaviour = {"create_box": stuck}
    first = throttled("stuck")
    line = [throttled(name) for name in ("b", "c", "d")]
    assert [row(operation).wait_kind for operation in line] == ["throttle"] * 3
    ToyCloud.behaviour = {}
    messages()
    skip_wait(first)
    drive(first.pk)
    assert row(first).state == "succeeded"
    served = []
    while found := messages():
        served += [message["operation"] for message in found if deliver(message)]
    assert served == [str(operation.pk) for operation in line], (
        "each end woke the next in line, and no timer was needed"
    )


@pytest.mark.parametrize("end", ["success", "failure", "cancellation", "quarantine", "erred by hand"])
def test_however_it_ends_its_slot_is_given_to_the_next(end: str) -> None:
    Throttle.objects.create(key=KEY, limit=1)
    ToyCloud.behaviour = {"create_box": stuck}
    first = throttled("stuck")
    second = throttled("next")
    assert row(second).wait_kind == "throttle"
    if end == "success":
        ToyCloud.behaviour = {}
    elif end == "failure":
        ToyCloud.behaviour = {"create_box": script(BackendRejected("no"), None)}
    elif end == "cancellation":
        actions.cancel(first)
    elif end == "quarantine":
        Operation.objects.filter(pk=first.pk).update(takeovers=99)
    else:
        Box.objects.filter(name="stuck").delete()
    skip_wait(first)
    drive(first.pk)
    assert not row(first).is_open
    drive_due(second)
    assert row(second).state == "succeeded"
    assert not Slot.objects.exists()


def test_one_in_line_that_is_cancelled_leaves_the_line() -> None:
    Throttle.objects.create(key=KEY, limit=1)
    ToyCloud.behaviour = {"create_box": stuck}
    first, second, third = throttled("stuck"), throttled("b"), throttled("c")
    actions.cancel(second)
    drive_due(second)
    assert row(second).state == "cancelled"
    ToyCloud.behaviour = {}
    settle(first)
    drive_due(third)
    assert row(third).state == "succeeded"
    assert not Slot.objects.exists()


def test_a_worker_that_dies_with_a_slot_does_not_leak_it() -> None:
    Throttle.objects.create(key=KEY, limit=1)
    first = BoxThrottledCreateExecutor.execute(make_box("creation_scheduled", "a"))
    die(first, "before step")
    second = throttled("b")
    assert (held(), row(second).wait_kind) == (1, "throttle")
    assert settle(first).state == "succeeded"
    drive_due(second)
    assert row(second).state == "succeeded"


def test_a_limit_set_by_a_person_wins_and_a_wider_one_is_used_at_once() -> None:
    throttling.ensure(KEY)
    ToyCloud.behaviour = {"create_box": stuck}
    operations = [throttled(f"stuck {n}") for n in range(settings.PROVISION_LIMIT + 1)]
    assert held() == settings.PROVISION_LIMIT
    assert row(operations[-1]).wait_kind == "throttle"
    Throttle.objects.update(limit=settings.PROVISION_LIMIT + 1)
    skip_wait(operations[-1])
    clock.advance(settings.WAIT_FLOOR_SECONDS)
    drive_due(operations[-1])
    assert held() == settings.PROVISION_LIMIT + 1


def test_a_limit_below_one_is_refused() -> None:
    operation = update(make_box())
    throttling.ensure(KEY)
    with pytest.raises(ValueError, match="must be at least 1, not 0"), transaction.atomic():
        throttling.acquire(KEY, "testapp.box:1", operation, limit=0)
    assert connection.in_atomic_block is False
