"""Recovery of the recovery: long downtimes, cut connections, clocks that jump, and steps that behave as badly as they can."""

from __future__ import annotations

import ast
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group, shared_task
from django.db import InterfaceError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

import django_executors
from django_executors import clock, faults, tasks
from django_executors.conf import settings
from django_executors.consistency import check_consistency
from django_executors.context import current_step
from django_executors.engine import actions, lease
from django_executors.engine.connections import check_connections
from django_executors.engine.dispatcher import DispatcherThread, dispatch_once
from django_executors.engine.drive import drive
from django_executors.exceptions import BackendUnavailable
from django_executors.models import Claim, Event, Operation, Step
from django_executors.statements import fetch, update_and_fetch
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
    transcript,
    update,
)
from tests.testapp.executors import BoxCreateExecutor, BoxDeleteExecutor, BoxUpdateExecutor, CanvasExecutor
from tests.testapp.models import Box, Call, Mark, ToyCloud
from tests.testapp.tasks import collect, mark

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fit_connection(transactional_db: None) -> Iterator[None]:
    """Leave no broken connection to whoever clears the tables."""
    yield
    connection.close()


def contradictions() -> list[Any]:
    return [each for each in check_consistency() if not each.is_warning]


# -- a day of downtime --------------------------------------------------------------------------------------------------


class Post:
    """Takes the messages that a dispatcher sends."""

    def __init__(self) -> None:
        self.sent: list[uuid.UUID] = []

    def __call__(self, operation_id: uuid.UUID, *args: Any, **options: Any) -> bool:
        self.sent.append(operation_id)
        return True


def sleeping_since_yesterday(count: int) -> None:
    """Write operations whose timers were due at some time of a day in which nothing ran."""
    now = clock.read()
    rows = []
    for number in range(count):
        due = now - timedelta(days=1) + timedelta(seconds=86000 * number / count)
        pk = uuid.uuid4()
        rows.append(
            Operation(
                pk=pk,
                root_id=pk,
                executor="x",
                state="waiting",
                wait_kind="poll",
                queue="tasks",
                due_at=due,
                nudge_at=due,
                created_at=due,
            )
        )
    Operation.objects.bulk_create(rows, batch_size=1000)


def test_after_a_day_of_downtime_each_round_is_bounded_in_messages_and_in_queries() -> None:
    sleeping_since_yesterday(10_000)
    post = Post()
    counts, queries = [], set()
    while True:
        with CaptureQueriesContext(connection) as captured:
            counts.append(dispatch_once(post))
        if not counts[-1]:
            break
        queries.add(len(captured))
    assert counts == [settings.DISPATCH_BATCH] * 50 + [0]
    assert max(queries) <= 4, "BEGIN, a SELECT, an UPDATE, COMMIT"
    assert len(set(post.sent)) == len(post.sent) == 10_000
    due = dict(Operation.objects.values_list("pk", "due_at"))
    assert [due[pk] for pk in post.sent] == sorted(due.values()), "the longest due come first"


@pytest.mark.parametrize("dispatchers", [2, 4])
def test_many_dispatchers_together_send_each_message_once_per_renudge_time(dispatchers: int) -> None:
    sleeping_since_yesterday(2_000)

    def rounds() -> list[uuid.UUID]:
        post = Post()
        while True:
            try:
                if not dispatch_once(post):
                    return post.sent
            except OperationalError:
                assert connection.vendor == "sqlite"  # it gives up on a lock at once in a deferred transaction

    def all_rounds() -> Counter[uuid.UUID]:
        outcomes = all_at_once(*[rounds] * dispatchers)
        assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
        return Counter(pk for outcome in outcomes for pk in outcome)

    first = all_rounds()
    assert (len(first), set(first.values())) == (2_000, {1})
    clock.advance(4)
    assert all_rounds() == {}, "nobody answered, but the time for another message has not come"
    clock.advance(6)
    second = all_rounds()
    assert (len(second), set(second.values())) == (2_000, {1})
    clock.advance(5)
    assert all_rounds() == {}, "the time has doubled"


def test_the_time_until_another_message_doubles_up_to_ten_minutes_and_no_count_overflows() -> None:
    sleeping_since_yesterday(1)
    waited = []
    for _ in range(12):
        assert dispatch_once(Post()) == 1
        (operation,) = Operation.objects.all()
        waited.append((operation.nudge_at - clock.read()).total_seconds())
        clock.advance(waited[-1] + 0.5)
    for number, seconds in enumerate(waited):
        longest = min(600, 10 * 2**number)
        assert longest / 2 - 1 <= seconds <= longest + 1, waited
    Operation.objects.update(nudges=32767, nudge_at=clock.now())
    assert dispatch_once(Post()) == 1


def test_messages_that_a_dying_dispatcher_did_not_send_are_sent_by_the_next_one(messages: Any) -> None:
    operations = [update(make_box()) for _ in range(3)]
    messages()
    clock.advance(settings.NUDGE_GRACE_SECONDS + 1)

    class Dead(BaseException):
        pass

    def handler(point: str) -> None:
        if point == "after dispatch":
            raise Dead

    faults.install(handler)
    with pytest.raises(Dead):
        dispatch_once()
    faults.install(None)
    assert (messages(), dispatch_once()) == ([], 0)
    clock.advance(10.1)
    assert dispatch_once() == 3
    assert {message["operation"] for message in messages()} == {str(operation.pk) for operation in operations}


# -- steps that behave as badly as they can -----------------------------------------------------------------------------


@shared_task
def misbehave(how: str) -> Any:
    """Do what no step should do."""
    Mark.objects.create(what=how)
    return MISDEEDS[how]()


def _raise(error: BaseException) -> None:
    raise error


def _sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


def _break_a_transaction() -> None:
    connection.set_autocommit(False)
    with pytest.raises(Exception, match="nonsense"):
        _sql("SELECT nonsense")


MISDEEDS: dict[str, Callable[[], Any]] = {
    "closes the connection": lambda: connection.close(),
    "violates a constraint": lambda: Mark.objects.bulk_create([Mark(pk=Mark.objects.get(what="before").pk)]),
    "leaves autocommit off": lambda: connection.set_autocommit(False),
    "leaves a broken transaction": _break_a_transaction,
    "leaves an atomic block": lambda: transaction.atomic().__enter__(),
    "begins by hand": lambda: _sql("BEGIN"),
    "an object": object,
    "a set": lambda: {1},
    "not a number": lambda: float("nan"),
    "NUL": lambda: "a\0b",
    "half a character": lambda: "a\ud800b",
    "too deep": _deep,
    "NUL in an error": lambda: _raise(ValueError("a\0b")),
    "half a character in an error": lambda: _raise(ValueError("a\ud800b")),
    "SystemExit": lambda: _raise(SystemExit(3)),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
}


def bad(how: str) -> Operation:
    return CanvasExecutor.execute(
        make_box(), build=lambda _: chain(mark.si("before"), misbehave.si(how), mark.si("after"))
    )


def drive_by_several(operation: Operation, workers: int = 10) -> Operation:
    """Drive by one worker after the other, each on a connection of its own, until the operation ends; return its row."""
    for _ in range(workers):
        all_at_once(lambda: drive(operation.pk))
        (found,) = all_at_once(lambda: row(operation))
        if not found.is_open:
            return found
        clock.advance(settings.LEASE_SECONDS + 1)
    raise AssertionError(f"still open after {workers} workers: {found.why()}")


@pytest.mark.parametrize(
    "how",
    [
        "an object",
        "a set",
        "not a number",
        "NUL",
        "half a character",
        "too deep",
    ],
)
@pytest.mark.parametrize("wanted", [False, True])
def test_a_result_that_cannot_be_stored_is_dropped_or_fails_the_step_that_returned_it(how: str, wanted: bool) -> None:
    follower = collect.s("after") if wanted else mark.si("after")
    operation = drive_by_several(CanvasExecutor.execute(make_box(), build=lambda _: chain(misbehave.si(how), follower)))
    assert operation.steps.get(position=0).attempts == 1
    if wanted:
        assert operation.state == "failed"
        assert "the result of misbehave" in operation.error
    else:
        assert (operation.state, marks()) == ("succeeded", [how, "after"])
    assert contradictions() == []


@pytest.mark.parametrize(
    "how",
    [
        "violates a constraint",
        "NUL in an error",
        "half a character in an error",
    ],
)
def test_a_step_that_raises_fails_at_once_whatever_its_error_says(how: str) -> None:
    operation = drive_by_several(bad(how))
    assert (operation.state, marks()) == ("failed", ["before", how])
    assert operation.steps.get(position=1).error
    assert contradictions() == []


def test_a_step_that_closes_the_connection_does_no_harm() -> None:
    operation = drive_by_several(bad("closes the connection"))
    assert (operation.state, marks()) == ("succeeded", ["before", "closes the connection", "after"])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time: an open transaction stops everybody")
@pytest.mark.parametrize(
    "how",
    [
        "leaves autocommit off",
        "leaves a broken transaction",
        "leaves an atomic block",
        "begins by hand",
    ],
)
def test_a_step_that_leaves_a_transaction_open_fails_and_says_so(how: str) -> None:
    operation = bad(how)
    other = update(make_box(name="other"))

    def one_worker() -> bool:
        return drive(operation.pk) and drive(other.pk)

    assert all_at_once(one_worker) == [True]
    assert (row(operation).state, row(other).state) == ("failed", "succeeded")
    assert "left a transaction open" in row(operation).error
    assert contradictions() == []


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt"])
def test_a_step_that_ends_its_worker_is_tried_by_a_few_others_and_quarantined(how: str) -> None:
    operation = drive_by_several(bad(how))
    assert operation.state == "quarantined"
    assert f"taken over {settings.MAX_TAKEOVERS + 1} times" in operation.error
    assert "it may kill its workers" in operation.error
    assert marks() == ["before", *[how] * (settings.MAX_TAKEOVERS + 1)]
    step = operation.steps.get(position=1)
    assert list(step.attempt_rows.values_list("outcome", flat=True)) == [*["taken over"] * step.attempts, "uncertain"]
    assert Box.objects.get().state == "ok", "it promised nothing"
    assert not Claim.objects.exists()
    assert contradictions() == []


def test_a_quarantined_operation_is_resumed_when_its_step_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = drive_by_several(bad("SystemExit"))
    monkeypatch.setitem(MISDEEDS, "SystemExit", lambda: "mended")
    actions.resume(operation)
    assert settle(operation).state == "succeeded"
    assert marks()[-1] == "after"


@pytest.mark.parametrize("executor", [BoxUpdateExecutor, BoxCreateExecutor, BoxDeleteExecutor])
def test_a_step_that_deletes_its_own_resource_lets_the_operation_end_with_that_reason(executor: Any) -> None:
    box = make_box("creation_scheduled" if executor is BoxCreateExecutor else "ok")
    more = {"updated_fields": ["name"]} if executor is BoxUpdateExecutor else {}
    for method in ("touch", "create_box", "delete_box"):
        ToyCloud.behaviour[method] = lambda instance: Box.objects.filter(pk=instance.pk).delete() and None
    operation = settle(executor.execute(box, **more))
    assert operation.state == "failed"
    assert not Box.objects.exists()
    assert not Claim.objects.exists()
    assert contradictions() == []
    assert "no longer in the database" in operation.error or "did not affect any rows" in operation.error


def test_a_step_that_deletes_its_operation_stops_its_worker_and_nothing_else() -> None:
    operation, other = bad("before"), update(make_box(name="other"))
    faults.install(lambda point: Operation.objects.filter(pk=operation.pk).delete() if point == "after step" else None)
    assert drive(operation.pk)
    faults.install(None)
    assert not Operation.objects.filter(pk=operation.pk).exists()
    assert settle(other).state == "succeeded"
    # Its claim is left behind: found, and said what to do about.
    assert [each.rule for each in contradictions()] == ["C3"]


# -- the database goes away ---------------------------------------------------------------------------------------------

ON_A_SERVER = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connection that could be cut")


def sessions() -> list[int]:
    """Return the ids of the database's sessions of this test but for the caller's own."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
            )
        return [number for (number,) in cursor.fetchall()]


def cut(session: int) -> None:
    """End a session, as a restart of the server does."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s)", [session])
        else:
            cursor.execute(f"KILL CONNECTION {session:d}")


def cut_own() -> None:
    """End the session of the calling thread, from another one, and wait until it is gone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT connection_id()")
        own = cursor.fetchone()[0]

    def from_elsewhere() -> None:
        cut(own)
        wait_until(lambda: own not in sessions())

    assert all_at_once(from_elsewhere) == [None]


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the condition's value once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come true")


def passed_points(operation: Operation) -> list[str]:
    passed: list[str] = []
    faults.install(passed.append)
    settle(operation)
    faults.install(None)
    return passed


def create() -> Operation:
    return BoxCreateExecutor.execute(Box.objects.create(name="b"))


def rows_only() -> Operation:
    return BoxUpdateExecutor.execute(make_box(), updated_fields=["name"])


def with_branches() -> Operation:
    return CanvasExecutor.execute(make_box(), build=lambda _: chain(group(mark.si("a"), mark.si("b")), mark.si("c")))


@ON_A_SERVER
@pytest.mark.parametrize("opened", [create, rows_only, with_branches])
def test_a_connection_that_is_cut_at_any_point_costs_time_and_nothing_else(opened: Callable[[], Operation]) -> None:
    points = passed_points(opened())
    assert {"after claim", "before commit", "inside commit", "after commit"} <= set(points)
    escaped = 0
    for at in range(0, len(points), 1 + len(points) // 20):
        for model in (Operation, Box, Call, Mark):
            model.objects.all().delete()
        operation = opened()
        seen = -1

        def cut_there(point: str, at: int = at) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                cut_own()

        faults.install(cut_there)
        for _ in range(20):
            try:
                drive_due(operation)
            except (OperationalError, InterfaceError):
                # A worker's message handler ends so; the next message finds a connection that is fit.
                escaped += 1
                check_connections()
            if not row(operation).is_open:
                break
            clock.advance(settings.LEASE_SECONDS + 1)
        faults.install(None)
        where = f"cut at point {at}: {points[at]}"
        assert seen >= at, where
        operation = row(operation)
        assert (operation.state, operation.resource.state) == ("succeeded", "ok"), (where, operation.error)
        assert list(operation.events.values_list("kind", flat=True)).count("operation.succeeded") == 1, where
        assert all(step.state == "succeeded" for step in operation.steps.exclude(phase="failure")), where
        assert set(Counter([call.method for call in Call.objects.all()] + marks()).values()) <= {1, 2}, where
        assert contradictions() == [], where
    assert escaped < min(len(points), 20) / 2, "most are tried again where they happen"


@ON_A_SERVER
def test_a_heartbeat_whose_connection_is_cut_goes_on(settings: Any) -> None:
    settings.EXECUTORS = {"LEASE_SECONDS": 3, "HEARTBEAT_SECONDS": 0.1}
    operation = update(make_box())
    ends = []

    def lease_end() -> Any:
        return Operation.objects.values_list("due_at", flat=True).get(pk=operation.pk)

    def touch(instance: Any) -> None:
        for _ in range(3):
            before = lease_end()
            wait_until(lambda before=before: lease_end() > before)
            # The heartbeat's is among them, maybe beside one that a thread of another test has left.
            found = wait_until(sessions)
            for session in found:
                cut(session)
            wait_until(lambda found=found: not set(found) & set(sessions()))
            ends.append(lease_end())
        wait_until(lambda: lease_end() > ends[-1])

    ToyCloud.behaviour["touch"] = touch
    assert drive(operation.pk)
    assert (row(operation).state, row(operation).takeovers, len(ends)) == ("succeeded", 0, 3)
    assert Call.objects.count() == 1


@ON_A_SERVER
def test_a_dispatcher_whose_connection_is_cut_goes_on(settings: Any, messages: Any) -> None:
    settings.EXECUTORS = {"DISPATCH_SECONDS": 0.05, "NUDGE_GRACE_SECONDS": 0}
    reached: list[str] = []
    faults.install(reached.append)
    others = set(sessions())
    dispatcher = DispatcherThread()
    try:
        dispatcher.start()
        for _ in range(3):
            before = len(reached)
            operation = update(make_box())
            wait_until(lambda before=before: len(reached) > before)
            assert str(operation.pk) in {message["operation"] for message in messages()}
            (session,) = wait_until(lambda: set(sessions()) - others)
            cut(session)
            wait_until(lambda session=session: session not in sessions())
    finally:
        faults.install(None)
        dispatcher.stop()
    assert not dispatcher.is_alive()
    assert reached == ["after dispatch"] * 3


@ON_A_SERVER
def test_a_dispatcher_whose_connection_is_cut_between_its_commit_and_its_messages_sends_them(messages: Any) -> None:
    operation = update(make_box())
    messages()
    clock.advance(settings.NUDGE_GRACE_SECONDS + 1)
    faults.install(lambda point: cut_own() if point == "after dispatch" else None)
    assert dispatch_once() == 1
    assert [message["operation"] for message in messages()] == [str(operation.pk)]


# -- clocks that jump ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_workers_own_clock_may_jump(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    jumps = 0

    def leap(point: str) -> None:
        nonlocal jumps
        jumps += 1
        ahead = jump * (jumps % 3)
        monkeypatch.setattr(time, "time", lambda: true_time() + ahead)
        monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + int(ahead * 1e9))

    faults.install(leap)
    operations = [create(), with_branches(), rows_only()]
    ToyCloud.behaviour["touch"] = script(BackendUnavailable("503"), None)
    for operation in operations:
        assert settle(operation).state == "succeeded"
        found = row(operation)
        assert abs((found.finished_at - clock.read()).total_seconds()) < 30, "the times are the database's"
    assert jumps > 20
    assert Counter(marks()) == {"a": 1, "b": 1, "c": 1}
    assert Event.objects.filter(kind="operation.taken_over").count() == 0
    assert contradictions() == []


def test_no_decision_is_made_by_the_clock_of_a_worker() -> None:
    # uuid7 orders ids by it, for people; an eta that a task asks for is in the task's own time.
    allowed = {("ids.py", "time_ns"), ("engine/outcomes.py", "now")}
    root = Path(django_executors.__file__).parent
    clocks = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"}
    read = set()
    for path in root.rglob("*.py"):
        if "management" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in clocks:
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if owner in ("time", "datetime", "date", "timezone"):
                    read.add((str(path.relative_to(root)), node.func.attr))
    assert read == allowed


def test_when_the_databases_clock_jumps_ahead_a_lease_ends_early_and_nothing_is_done_twice_unseen() -> None:
    operation = CanvasExecutor.execute(
        make_box(),
        build=lambda ref: chain(
            mark.si("a"), tasks.BackendMethodTask().si(ref, "touch", state_transition="begin_updating"), mark.si("b")
        ),
    )
    Box.objects.update(state="update_scheduled")
    unknown = []

    def touch(instance: Any) -> None:
        unknown.append(current_step().outcome_unknown)
        if len(unknown) == 1:
            clock.advance(3600)
            # Another worker believes that this one is silent, and is told that something may have happened.
            assert all_at_once(lambda: drive_elsewhere(operation)) == [True]

    ToyCloud.behaviour["touch"] = touch
    assert drive(operation.pk)
    found = row(operation)
    assert (found.state, found.takeovers, unknown, marks()) == ("succeeded", 0, [False, True], ["a", "b"])
    assert transcript(operation).count("operation.taken_over") == 1
    assert transcript(operation).count("operation.succeeded") == 1
    assert Box.objects.get().state == "ok"
    assert contradictions() == []


def drive_elsewhere(operation: Operation) -> bool:
    """Drive by a worker in another process, as far as the engine can tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "owner", lambda: "elsewhere:1:0")
        return drive(operation.pk)


def test_when_the_databases_clock_jumps_back_timers_and_takeovers_are_late_by_as_much_and_no_more() -> None:
    dead, waiting = update(make_box(name="dead")), half_way()
    with pytest.raises(Died):
        drive_and_die(dead, "after step")
    clock.advance(-3600)
    for operation in (dead, waiting):
        assert not drive(operation.pk), "its time is in the future now"
    # A worker that is alive renews its lease by the new clock, and new work starts at once.
    held = update(make_box(name="held"))
    ToyCloud.behaviour["touch"] = lambda instance: clock.advance(-3600)
    assert drive(held.pk)
    assert row(held).state == "succeeded"
    ToyCloud.behaviour.clear()
    # A wake does not wait for the clock, where no worker seems to hold the operation.
    actions.wake(waiting)
    assert drive(waiting.pk)
    actions.wake(dead)
    assert not drive(dead.pk)
    clock.advance(7200 + settings.LEASE_SECONDS)
    for operation in (dead, waiting):
        assert settle(operation).state == "succeeded"
    assert Call.objects.filter(resource=f"testapp.box:{dead.resource_pk}").count() == 2
    assert contradictions() == []


def half_way() -> Operation:
    operation = CanvasExecutor.execute(make_box(), build=lambda _: chain(mark.si("a"), mark.si("b").set(countdown=60)))
    drive_due(operation)
    return operation


def drive_and_die(operation: Operation, at: str) -> None:
    def handler(point: str) -> None:
        if point == at:
            raise Died

    faults.install(handler)
    try:
        drive(operation.pk)
    finally:
        faults.install(None)


# -- operations that depend on others -----------------------------------------------------------------------------------


def test_an_operation_whose_drivers_die_again_and_again_does_not_leave_its_parts_alone() -> None:
    operation = CanvasExecutor.execute(make_box(), build=lambda _: group(mark.si("a").set(countdown=600), mark.si("b")))
    drive_due(operation)
    clock.advance(settings.WAIT_FLOOR_SECONDS + 1)
    die(operation, "after claim", times=settings.MAX_TAKEOVERS + 1)
    drive_due(operation)
    assert row(operation).state == "quarantined"
    assert contradictions() == []


def follower_of(operation: Operation, box: Box) -> Operation:
    """Let the operation open another one on its own resource in its step, and stop before it ends."""
    ToyCloud.behaviour["touch"] = lambda instance: (
        CanvasExecutor.execute(box, build=lambda _: mark.si("follows")).pk and None
    )
    drive_due(operation)
    assert row(operation).is_open
    return Operation.objects.get(parent=operation, parent_step=None)


def opener() -> tuple[Operation, Box]:
    box = make_box()
    return CanvasExecutor.execute(
        box,
        build=lambda ref: chain(tasks.BackendMethodTask().si(ref, "touch"), mark.si("opener").set(countdown=60)),
    ), box


def test_an_operation_keeps_its_resource_when_one_that_it_opened_is_cancelled() -> None:
    operation, box = opener()
    actions.cancel(follower_of(operation, box))
    for each in Operation.objects.filter(parent=operation):
        drive_due(each)
    assert contradictions() == []
    assert settle(operation).state == "succeeded"


@pytest.mark.parametrize("act", [actions.wake, lambda each: actions.unpause(actions.pause(each))])
def test_an_operation_that_was_opened_in_a_step_does_not_begin_before_its_opener_has_ended(act: Any) -> None:
    operation, box = opener()
    follower = follower_of(operation, box)
    act(follower)
    drive_due(follower)
    assert row(follower).is_open
    settle(operation)
    assert settle(follower).state == "succeeded"
    assert marks() == ["opener", "follows"]


def test_an_operation_that_a_silent_worker_opens_after_its_own_has_ended_is_not_lost() -> None:
    operation, other = update(make_box()), make_box(name="other")
    calls = []

    def touch(instance: Any) -> None:
        calls.append(instance)
        if len(calls) == 1:
            clock.advance(settings.LEASE_SECONDS + 1)
            assert all_at_once(lambda: drive_elsewhere(operation)) == [True]
            assert row(operation).state == "succeeded"
            CanvasExecutor.execute(other, build=lambda _: mark.si("late"))

    ToyCloud.behaviour["touch"] = touch
    drive(operation.pk)
    assert contradictions() == []


def test_a_database_that_fails_between_two_steps_is_no_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = update(make_box())
    fetch_once = script(OperationalError("gone for a moment"), lambda: fetch(Step, operation=operation.pk))
    monkeypatch.setattr("django_executors.engine.drive.fetch", lambda *args, **kwargs: fetch_once(None))
    assert drive(operation.pk)
    found = row(operation)
    assert (found.state, found.lease_owner) == ("waiting", "")
    assert settle(operation).state == "succeeded"
    assert row(operation).events.filter(kind="operation.taken_over").count() == 0
    assert contradictions() == []


def test_a_database_that_fails_at_the_claim_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = update(make_box())
    claim = script(OperationalError("gone for a moment"), lambda: "through")
    monkeypatch.setattr(
        "django_executors.engine.lease.update_and_fetch",
        lambda *args: claim(None) and update_and_fetch(*args),
    )
    assert drive(operation.pk)
    assert row(operation).state == "succeeded"


@pytest.mark.parametrize("task", [tasks.StateTransitionTask, tasks.ThrottleProvisionStateTask])
def test_a_row_only_step_that_always_meets_a_database_error_ends_with_it(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise OperationalError("no such table: always")

    monkeypatch.setattr("django_executors.tasks.states.save_transition", broken)
    monkeypatch.setattr("django_executors.journal.time.sleep", lambda seconds: None)
    operation = CanvasExecutor.execute(
        make_box("creation_scheduled"), build=lambda ref: task().si(ref, state_transition="begin_creating")
    )
    assert settle(operation).state == "failed"
    assert "no such table: always" in row(operation).error
