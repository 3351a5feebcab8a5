"""The consistency check: each rule finds its contradiction, and none finds anything while operations run as they should."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from django_executors import clock, executors, faults, tasks
from django_executors.conf import settings
from django_executors.consistency import RULES, check_consistency
from django_executors.engine import actions
from django_executors.engine.drive import drive
from django_executors.exceptions import BackendRejected, BackendUnavailable, CommandNotAllowed, OutcomeUnknown
from django_executors.models import Claim, Operation, Slot, Step, Throttle
from django_executors.references import serialize
from django_executors.states import ResourceState
from tests.integration.driving import Died, die, drive_due, make_box, row, script, settle, update
from tests.testapp.executors import (
    BoxCreateExecutor,
    BoxDeleteExecutor,
    BoxThrottledCreateExecutor,
    BoxUpdateExecutor,
    CanvasExecutor,
    CompensatingExecutor,
)
from tests.testapp.models import Box, Legacy, Note, ToyCloud
from tests.testapp.tasks import collect, fail, flaky, mark

pytestmark = pytest.mark.django_db(transaction=True)


def found() -> list[tuple[str, Any, str]]:
    """Return what the check finds, without the warning that nobody works: these tests jump over hours."""
    return [(each.rule, each.operation_id, each.resource) for each in check_consistency() if each.rule != "C15"]


class LegacyUpdateExecutor(executors.UpdateExecutor):
    """Update a resource with integer states."""

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return tasks.StateTransitionTask().si(serialized_instance, state_transition="begin_updating")


def half_way() -> Operation:
    """Return an operation on a box that has done its first step and waits before the second."""
    operation = CanvasExecutor.execute(make_box(), build=lambda _: chain(mark.si("a"), mark.si("b").set(countdown=60)))
    drive_due(operation)
    assert row(operation).state == "waiting"
    return operation


def with_parts() -> Operation:
    """Return an operation that waits for an open part."""
    operation = CanvasExecutor.execute(make_box(), build=lambda _: group(mark.si("a").set(countdown=60), mark.si("b")))
    drive_due(operation)
    assert row(operation).wait_kind == "parts"
    return operation


def ended() -> Operation:
    return settle(CanvasExecutor.execute(make_box(), build=lambda _: mark.si("a")))


def change(operation: Operation, **columns: Any) -> Operation:
    """Break an operation's row by hand."""
    Operation.objects.filter(pk=operation.pk).update(**columns)
    return row(operation)


def ref(operation: Operation) -> str:
    return serialize(operation.resource)


# -- nothing is found where nothing is wrong ----------------------------------------------------------------------------


class Watch:
    """Checks at every commit of the engine, and kills the worker there now and then."""

    def __init__(self) -> None:
        self.checks = 0
        self.deaths = 0
        self.chance: random.Random | None = None

    def __call__(self, point: str) -> None:
        if point not in ("after commit", "after claim"):
            return
        self.checks += 1
        assert found() == []
        if self.chance is not None and self.chance.random() < 0.05:
            self.deaths += 1
            raise Died


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    faults.install(watch)
    return watch


def legacy_update() -> Operation:
    return LegacyUpdateExecutor.execute(Legacy.objects.create(name="old", state=3), updated_fields=["name"])


def nested() -> Operation:
    parts = [make_box(name=f"part {number}") for number in range(2)]
    return CanvasExecutor.execute(
        make_box(),
        build=lambda _: chain(
            group(BoxUpdateExecutor.as_signature(parts[0], updated_fields=["name"]), mark.si("beside")),
            BoxDeleteExecutor.as_signature(parts[1]),
            mark.si("behind"),
        ),
    )


def nested_failure() -> Operation:
    parts = [make_box(name=f"part {number}") for number in range(2)]
    return CanvasExecutor.execute(
        make_box(),
        build=lambda _: chain(
            CanvasExecutor.as_signature(parts[0], build=lambda _: fail.si("boom")),
            BoxUpdateExecutor.as_signature(parts[1], updated_fields=["name"]),
        ),
    )


def undone() -> Operation:
    return CompensatingExecutor.execute(
        make_box(), build=lambda _: chain(mark.si("a").set(compensate=mark.si("undo a")), fail.si("boom"))
    )


def refused() -> Operation:
    ToyCloud.behaviour["create_box"] = BackendRejected("quota")
    return BoxCreateExecutor.execute(Box.objects.create(name="b"))


def uncertain() -> Operation:
    ToyCloud.behaviour["touch"] = OutcomeUnknown("lost", findable=False)
    return update(make_box())


def retried() -> Operation:
    ToyCloud.behaviour["touch"] = script(BackendUnavailable("503"), None)
    return update(make_box())


def opened_in_a_step() -> Operation:
    box = make_box()
    ToyCloud.behaviour["touch"] = lambda instance: BoxDeleteExecutor.execute(make_box(name="other")).pk and None
    return update(box)


MIX: dict[str, Callable[[], Operation]] = {
    "create": lambda: BoxCreateExecutor.execute(Box.objects.create(name="b")),
    "throttled": lambda: BoxThrottledCreateExecutor.execute(Box.objects.create(name="b")),
    "update": lambda: update(make_box()),
    "delete": lambda: BoxDeleteExecutor.execute(make_box()),
    "legacy": legacy_update,
    "note": lambda: CanvasExecutor.execute(Note.objects.create(), build=lambda _: mark.si("a")),
    "parallel": lambda: CanvasExecutor.execute(
        make_box(), build=lambda _: chain(group(mark.si("a"), flaky.si(1)), collect.s("b"))
    ),
    "parallel failure": lambda: CanvasExecutor.execute(
        make_box(), build=lambda _: chain(group(mark.si("a"), fail.si("b")), mark.si("c"))
    ),
    "nested": nested,
    "nested failure": nested_failure,
    "undone": undone,
    "refused": refused,
    "uncertain": uncertain,
    "retried": retried,
    "opened in a step": opened_in_a_step,
    "countdown": lambda: BoxUpdateExecutor.execute(make_box(), updated_fields=["name"], countdown=5),
}


@pytest.mark.parametrize("kind", MIX)
def test_nothing_is_found_at_any_commit_of_an_operation(kind: str, watch: Watch):
    operation = MIX[kind]()
    assert found() == []
    settle(operation)
    for follower in Operation.objects.filter(parent=operation, parent_step=None):
        settle(follower)
    assert watch.checks >= 2
    assert check_consistency() == []
    assert not Claim.objects.exists()


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_found_while_workers_die_and_people_pause_and_cancel(seed: int, watch: Watch):
    watch.chance = chance = random.Random(seed)
    opened = [MIX[kind]() for kind in MIX if kind not in ("refused", "uncertain", "retried")]
    for _ in range(100):
        clock.advance(chance.choice([0, 0, 1, 5]))
        still_open = list(Operation.objects.filter(finished_at=None).order_by("id"))
        if not still_open:
            break
        chosen = chance.choice(still_open)
        act = chance.choice([drive_one] * 12 + [actions.pause, actions.unpause, actions.cancel, actions.wake])
        try:
            act(chosen)
        except Died:
            clock.advance(31)
        except CommandNotAllowed:
            pass
    assert found() == []
    assert sum(not row(operation).is_open for operation in opened) > len(opened) / 3
    assert watch.deaths >= 2


def drive_one(operation: Operation) -> None:
    drive(operation.pk)


# -- each rule finds its contradiction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in ResourceState if s not in ("ok", "erred")])
def test_a_resource_that_promises_work_which_nobody_does_is_found(state: str):
    box = make_box(state=state)
    assert found() == [("C1", None, f"testapp.box:{box.pk}")]


@pytest.mark.parametrize("number", [1, 2, 5, 6, 7, 8])
def test_a_resource_with_numbers_as_states_is_checked_too(number: int):
    Legacy.objects.create(name="sound", state=3)
    Legacy.objects.create(name="broken", state=4)
    lying = Legacy.objects.create(name="lying", state=number)
    assert found() == [("C1", None, f"testapp.legacy:{lying.pk}")]


def test_a_resource_that_is_held_by_an_operation_that_ended_promises_work_in_vain():
    operation = ended()
    Box.objects.update(state="updating")
    Claim.objects.create(resource=ref(operation), operation_id=operation.pk)
    assert sorted(found(), key=str) == [("C1", None, ref(operation)), ("C3", operation.pk, ref(operation))]


def test_a_resource_that_was_put_back_to_scheduled_behind_its_operation_is_found():
    operation = BoxCreateExecutor.execute(Box.objects.create(name="b"))
    ToyCloud.behaviour["pull_runtime_state"] = "BUILD"
    drive_due(operation)
    assert found() == []
    Box.objects.update(state="creation_scheduled")
    assert found() == [("C2", None, ref(operation))]


def test_a_number_that_was_put_back_to_scheduled_behind_its_operation_is_found():
    old = Legacy.objects.create(name="old", state=3)
    operation = LegacyUpdateExecutor.execute(old, updated_fields=["name"])
    Step.objects.filter(operation=operation, position=0).update(state="succeeded")
    assert found() == [("C2", None, f"testapp.legacy:{old.pk}")]


def test_a_claim_of_an_operation_that_is_missing_or_only_a_part_is_found():
    missing, part = uuid.uuid4(), Operation.objects.get(parent=with_parts(), branch=0)
    Claim.objects.create(resource="testapp.box:77", operation_id=missing)
    Claim.objects.create(resource="testapp.box:78", operation_id=part.pk)
    assert found() == [("C3", missing, "testapp.box:77"), ("C3", part.pk, "testapp.box:78")]


def test_the_claim_of_a_background_task_is_nobodys_business():
    Claim.objects.create(resource="background/pull/1", operation_id=uuid.uuid4(), expires_at="2020-01-01T00:00:00Z")
    assert found() == []


def test_an_exclusive_operation_without_its_claim_is_found():
    operation = half_way()
    Claim.objects.all().delete()
    assert found() == [("C4", operation.pk, ref(operation))]
    Claim.objects.create(resource=ref(operation), operation_id=half_way().pk)
    assert found() == [("C4", operation.pk, ref(operation))]


def test_a_nested_operation_whose_claim_is_gone_is_found():
    ToyCloud.behaviour["touch"] = BackendUnavailable("503")
    drive_due(nested())
    part = Operation.objects.get(executor__contains="BoxUpdate")
    Claim.objects.filter(resource=ref(part)).delete()
    assert found() == [("C1", None, ref(part)), ("C4", part.pk, ref(part))]


def test_an_operation_of_an_executor_that_is_not_exclusive_needs_no_claim(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CanvasExecutor, "exclusive", False)
    box = make_box()
    for _ in range(2):
        CanvasExecutor.execute(box, build=lambda _: mark.si("a"))
    assert found() == []


@pytest.mark.parametrize("columns", [{"lease_owner": "w1"}, {"due_at": Now()}, {"nudge_at": Now()}])
def test_an_operation_that_ended_or_is_paused_and_still_has_a_lease_or_a_timer_is_found(columns: dict[str, Any]):
    first, second = ended(), actions.pause(half_way())
    change(first, **columns)
    assert found() == [("C5", first.pk, ref(first))]
    change(second, **columns)
    assert len(found()) == 2


@pytest.mark.parametrize("columns", [{"due_at": None}, {"nudge_at": None}, {"due_at": None, "wait_kind": "operation"}])
def test_an_open_operation_that_nothing_would_move_is_found(columns: dict[str, Any]):
    operation = change(half_way(), **columns)
    assert found() == [("C6", operation.pk, ref(operation))]


def test_an_operation_that_was_opened_in_a_step_waits_for_the_end_of_that_operation_and_no_longer():
    operation = opened_in_a_step()
    die(operation, "after step")
    follower = Operation.objects.get(parent=operation)
    assert found() == []
    settle(operation)
    change(follower, due_at=None)
    assert found() == [("C6", follower.pk, ref(follower))]


def test_a_part_that_is_open_when_the_whole_has_ended_is_found():
    operation = with_parts()
    change(operation, state="failed", due_at=None, nudge_at=None)
    Claim.objects.all().delete()
    part = Operation.objects.get(parent=operation, finished_at=None)
    assert [each for each in found() if each[1] == part.pk] == [("C7", part.pk, ref(operation))]


def test_an_operation_that_sleeps_although_its_parts_have_ended_is_found():
    operation = with_parts()
    change(operation, due_at=None)
    assert found() == [("C6", operation.pk, ref(operation))]
    clock.advance(61)
    for part in Operation.objects.filter(parent=operation):
        drive(part.pk)
    change(operation, due_at=None)
    assert found() == [("C8", operation.pk, ref(operation))]


def test_a_slot_of_an_operation_that_ended_is_found():
    operation = ended()
    Slot.objects.create(
        throttle=Throttle.objects.create(key="k"), resource=ref(operation), operation=operation, limit=1, since=Now()
    )
    assert found() == [("C9", operation.pk, ref(operation))]


@pytest.mark.parametrize(("by_hand", "warning"), [(None, False), (2, True)])
def test_one_slot_above_the_limit_is_found_and_the_limit_itself_is_not(by_hand: int | None, warning: bool):
    throttle = Throttle.objects.create(key="k", limit=by_hand)
    for number in range(2):
        Slot.objects.create(
            throttle=throttle, resource=f"r{number}", operation=half_way(), limit=2, since=Now(), held=True
        )
    Slot.objects.create(throttle=throttle, resource="waits", operation=half_way(), limit=2, since=Now())
    assert found() == []
    Slot.objects.filter(resource="waits").update(held=True)
    (over,) = check_consistency()
    assert (over.rule, over.is_warning) == ("C10", warning)
    assert "3 slots of k are held, the limit is 2" in over.text


def test_two_exclusive_operations_on_one_resource_are_found():
    first = half_way()
    Claim.objects.all().delete()
    second = CanvasExecutor.execute(first.resource, build=lambda _: mark.si("a"))
    assert found() == [("C4", first.pk, ref(first)), ("C11", second.pk, ref(first))]


@pytest.mark.parametrize("columns", [{"state": "scheduled"}, {"position": 0}])
def test_a_running_step_of_an_operation_that_stands_elsewhere_is_found(columns: dict[str, Any]):
    operation = half_way()
    Step.objects.filter(operation=operation, position=1).update(state="running")
    assert found() == []
    change(operation, **columns)
    assert found() == [("C12", operation.pk, "")]


def test_a_running_step_of_an_operation_that_ended_is_found():
    operation = settle(CanvasExecutor.execute(make_box(), build=lambda _: chain(fail.si("boom"), mark.si("a"))))
    Step.objects.filter(operation=operation, position=1).update(state="running")
    assert found() == [("C12", operation.pk, "")]


def test_an_operation_that_stands_behind_its_steps_is_found():
    operation = half_way()
    change(operation, position=operation.steps.count())
    Step.objects.filter(operation=operation).update(state="succeeded")
    assert found() == []
    change(operation, position=operation.steps.count() + 1)
    assert found() == [("C13", operation.pk, ref(operation))]


def test_an_operation_that_has_left_out_a_step_is_found():
    operation = half_way()
    Step.objects.filter(operation=operation, position=0).update(state="pending")
    assert found() == [("C13", operation.pk, ref(operation))]


def test_an_operation_that_succeeded_without_doing_all_is_found():
    operation = ended()
    Step.objects.filter(operation=operation, position=0).update(state="pending")
    assert found() == [("C14", operation.pk, "")]


def test_work_that_nobody_takes_up_is_a_warning():
    update(make_box())
    clock.advance(settings.LEASE_SECONDS + 50)
    assert check_consistency() == []
    clock.advance(20)
    (warning,) = check_consistency()
    assert (warning.rule, warning.is_warning) == ("C15", True)
    assert "1 operations of queue tasks have been due for more than 90 s" in warning.text


def test_every_rule_is_tried_here():
    source = Path(__file__).read_text()
    assert [rule for rule in RULES if f'("{rule}"' not in source] == []


# -- what a check costs -------------------------------------------------------------------------------------------------


def test_a_check_makes_as_many_queries_for_many_rows_as_for_one():
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            check_consistency()
        return len(captured)

    half_way()
    few = queries()
    for _ in range(5):
        half_way()
    Box.objects.bulk_create([Box(name="b", state="creating") for _ in range(300)])
    assert queries() == few < 60
    assert len(check_consistency()) == 100, "the most that a rule reports"


# -- the command --------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("executors", "check-consistency", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_is_content_with_sound_rows_and_with_warnings():
    assert command() == "no contradictions\n"
    assert json.loads(command("--format", "json")) == []
    update(make_box())
    clock.advance(1000)
    assert command().startswith("C15 warning ")


def test_the_command_names_rule_resource_and_remedy_and_fails():
    box = make_box(state="updating")
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 contradictions") as error:
        call_command("executors", "check-consistency", stdout=out)
    assert error.value.returncode == 1
    assert out.getvalue().split()[:4] == ["C1", "violation", "-", f"testapp.box:{box.pk}"]
    assert "Execute an operation on it" in out.getvalue()


def test_the_command_prints_json_for_programs():
    operation = change(half_way(), due_at=None)
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("executors", "check-consistency", "--format", "json", stdout=out)
    (found_one,) = json.loads(out.getvalue())
    assert found_one.pop("text").startswith("the operation is waiting and has no timer")
    assert found_one == {"rule": "C6", "warning": False, "operation": str(operation.pk), "resource": ref(operation)}


def test_watching_reports_each_contradiction_once_and_ends_with_1(tmp_path: Path):
    make_box(state="updating")
    code = (
        "import os, django; django.setup()\n"
        "from django.conf import settings; settings.DATABASES['default']['NAME'] = os.environ['NAME']\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'executors', 'check-consistency', '--watch', '0.1', '--format', 'json'])"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "NAME": str(connection.settings_dict["NAME"]),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        other = Box.objects.create(name="other", state="deleting")
        second = json.loads(process.stdout.readline())
        process.terminate()
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert [first["rule"], second["rule"], second["resource"]] == ["C1", "C1", f"testapp.box:{other.pk}"]
    assert (rest, process.returncode) == ("", 1)
    assert "2 contradictions" in errors
