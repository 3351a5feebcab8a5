"""Opening an operation is one transaction, the caller's: all of it is written, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group, shared_task
from django.db import connection, transaction

from django_executors import clock, tasks
from django_executors.engine.actions import cancel, retry_from
from django_executors.engine.drive import drive
from django_executors.exceptions import (
    ConfigurationError,
    OperationConflict,
    PlanError,
    ReferenceNotAllowed,
    TransitionNotAllowed,
)
from django_executors.executors import ActionExecutor, BaseExecutor, EmptyExecutor
from django_executors.models import Claim, Event, Operation, Step
from tests.integration.driving import all_at_once, drive_due, due, make_box, settle
from tests.testapp.executors import (
    BoxCreateExecutor,
    BoxDeleteExecutor,
    BoxPullExecutor,
    BoxUpdateExecutor,
    CanvasExecutor,
)
from tests.testapp.models import Box, Call, Mark, Stranger, ToyCloud
from tests.testapp.tasks import fail, mark

pytestmark = pytest.mark.django_db(transaction=True)

Messages = Callable[[], list[dict[str, Any]]]


def assert_nothing_written(box: Box, state: str) -> None:
    assert box.state == state, "the object in memory says something else than its row"
    box.refresh_from_db()
    assert box.state == state
    assert not Operation.objects.exists()
    assert not Step.objects.exists()
    assert not Claim.objects.exists()
    assert not Event.objects.exists()
    assert not Call.objects.exists()


class Unwanted(Exception):
    pass


# -- the caller's transaction ---------------------------------------------------------------------------------------


def test_rolling_back_leaves_nothing(messages: Messages) -> None:
    box = make_box()
    with pytest.raises(Unwanted), transaction.atomic():  # noqa: PT012 - the block is the claim
        operation = BoxUpdateExecutor.execute(box, updated_fields=["name"])
        assert Operation.objects.filter(pk=operation.pk).exists()
        raise Unwanted
    box.refresh_from_db()
    assert_nothing_written(box, "ok")
    assert messages() == []


def test_a_message_leaves_only_with_the_commit(messages: Messages) -> None:
    box = make_box()
    with transaction.atomic():
        operation = BoxUpdateExecutor.execute(box, updated_fields=["name"])
        assert messages() == []
    assert [(message["operation"], message["queue"]) for message in messages()] == [(str(operation.pk), "tasks")]


def test_an_open_operation_is_scheduled_and_holds_its_resource() -> None:
    box = make_box()
    operation = BoxUpdateExecutor.execute(box, updated_fields=["name"], actor="joe")
    box.refresh_from_db()
    assert (operation.state, box.state) == ("scheduled", "update_scheduled")
    assert list(Claim.objects.values_list("resource", "operation_id")) == [(f"testapp.box:{box.pk}", operation.pk)]
    assert list(operation.events.values_list("kind", "actor")) == [("operation.opened", "joe")]
    assert operation.title == "Box update b"
    assert operation.resource == box


def test_the_claim_goes_with_the_end() -> None:
    box = make_box()
    assert settle(BoxUpdateExecutor.execute(box, updated_fields=[])).state == "succeeded"
    assert not Claim.objects.exists()
    assert settle(BoxUpdateExecutor.execute(Box.objects.get(), updated_fields=[])).state == "succeeded"


def test_calling_an_instance_of_an_executor_is_the_same() -> None:
    box = make_box()
    assert BoxUpdateExecutor().execute(box, updated_fields=[]).executor == BoxUpdateExecutor.name


# -- what is refused leaves nothing ---------------------------------------------------------------------------------


class Typo(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_instance, "touch"),
            group(
                tasks.BackendMethodTask().si(serialized_instance, "tuoch"),
                tasks.BackendMethodTask().si(serialized_instance, backend_method="touch"),
            ),
        )


class BadFailurePath(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return tasks.EmptyTask()

    @classmethod
    def get_failure_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return group(mark.si("a"), mark.si("b"))


class ForgottenCall(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return chain  # not a signature


class Secretive(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return mark.si(password="x")


class Broken(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        raise Unwanted


class NeedsArguments(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return mark.si("a")


class Outer(ActionExecutor):
    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
        return NeedsArguments.as_signature(instance, password="hunter2")


@pytest.mark.parametrize(
    ("executor", "arguments", "error", "words"),
    [
        (BoxUpdateExecutor, {}, PlanError, "needs updated_fields="),
        (BoxUpdateExecutor, {"updated_fields": "name"}, PlanError, "needs updated_fields="),
        (BoxCreateExecutor, {}, TransitionNotAllowed, "not allowed in state 'ok'; allowed from: creation_scheduled"),
        (Typo, {}, ConfigurationError, "ToyCloud, the backend of .* has no method 'tuoch'"),
        (BadFailurePath, {}, PlanError, "BadFailurePath's failure path may not contain a group"),
        (ForgottenCall, {}, PlanError, r"did you forget \.si"),
        (Secretive, {}, PlanError, "looks like a secret"),
        (Broken, {}, Unwanted, None),
        (NeedsArguments, {"when": object()}, PlanError, "argument 'when' of NeedsArguments"),
        (Outer, {}, PlanError, "argument 'password' of NeedsArguments looks like a secret"),
    ],
)
def test_what_is_refused_leaves_nothing(
    executor: Any, arguments: dict[str, Any], error: type[Exception], words: str | None, messages: Messages
) -> None:
    box = make_box()
    with pytest.raises(error, match=words):
        executor.execute(box, **arguments)
    assert_nothing_written(box, "ok")
    assert messages() == []
    assert settle(BoxUpdateExecutor.execute(box, updated_fields=[])).state == "succeeded"


def test_a_model_that_is_no_resource_is_refused() -> None:
    with pytest.raises(ReferenceNotAllowed, match="is not a resource model: use one of the mixins"):
        EmptyExecutor.execute(Stranger.objects.create())
    with pytest.raises(ReferenceNotAllowed, match="must be saved"):
        EmptyExecutor.execute(Box(name="unsaved"))
    assert not Operation.objects.exists()


def test_a_stale_object_does_not_overrule_the_row() -> None:
    box = make_box()
    stale = Box.objects.get(pk=box.pk)
    Box.objects.filter(pk=box.pk).update(state="deleting")
    with pytest.raises(TransitionNotAllowed, match="'schedule_updating' is not allowed in state 'deleting'"):
        BoxUpdateExecutor.execute(stale, updated_fields=[])
    assert stale.state == "ok"
    assert not Operation.objects.exists()
    assert not Claim.objects.exists()


def test_an_executor_that_describes_no_steps_says_so() -> None:
    class Nothing(BaseExecutor):
        pass

    box = make_box()
    with pytest.raises(NotImplementedError, match="Nothing must define get_task_signature"):
        Nothing.execute(box)
    assert_nothing_written(box, "ok")


# -- one operation per resource -------------------------------------------------------------------------------------


def test_a_conflict_names_the_operation_that_is_open() -> None:
    box = make_box()
    first = BoxUpdateExecutor.execute(box, updated_fields=[])
    with pytest.raises(OperationConflict) as refused:
        BoxPullExecutor.execute(Box.objects.get())
    assert refused.value.operation_id == first.pk
    assert refused.value.resource == f"testapp.box:{box.pk}"
    assert str(first.pk) in str(refused.value)
    assert "Box update b, scheduled" in str(refused.value)
    assert Operation.objects.count() == 1


@pytest.mark.parametrize("contenders", [2, 3, 5])
def test_of_several_that_execute_at_once_one_wins_and_the_others_are_told_its_id(contenders: int) -> None:
    make_box()
    boxes = [Box.objects.get() for _ in range(contenders)]
    outcomes = all_at_once(
        *(lambda box=box: BoxUpdateExecutor.execute(box, updated_fields=["name"]) for box in boxes)  # type: ignore[misc]
    )
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Operation)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, OperationConflict)]
    assert len(losers) == contenders - 1, outcomes
    assert {loser.operation_id for loser in losers} == {winner.pk}
    assert list(Operation.objects.values_list("pk", flat=True)) == [winner.pk]
    assert sorted(box.state for box in boxes) == ["ok"] * (contenders - 1) + ["update_scheduled"]


def test_two_that_hold_several_resources_in_opposite_order_do_not_deadlock() -> None:
    a, b = make_box(name="a"), make_box(name="b")

    def open_both(outer: Box, inner: Box) -> Operation:
        return CanvasExecutor.execute(
            outer, build=lambda ref: CanvasExecutor.as_signature(inner, build=lambda ref: mark.si(1))
        )

    for _ in range(3):
        outcomes = all_at_once(lambda: open_both(a, b), lambda: open_both(b, a))
        winners = [outcome for outcome in outcomes if isinstance(outcome, Operation)]
        assert all(isinstance(outcome, Operation | OperationConflict) for outcome in outcomes), outcomes
        assert len(winners) == 1
        Operation.objects.all().delete()
        Claim.objects.all().delete()


def test_an_operation_that_changes_nothing_is_not_exclusive() -> None:
    class Look(CanvasExecutor):
        exclusive = False

    box = make_box()
    first = BoxUpdateExecutor.execute(box, updated_fields=[])
    look = Look.execute(box, build=lambda ref: mark.si("looked"))
    assert settle(look).state == "succeeded"
    assert settle(first).state == "succeeded"


def test_a_nested_resource_is_held_by_the_outer_operation_from_the_start() -> None:
    outer, inner = make_box(name="outer"), make_box(name="inner")
    operation = CanvasExecutor.execute(
        outer,
        build=lambda ref: chain(mark.si("first"), BoxUpdateExecutor.as_signature(inner, updated_fields=[])),
    )
    with pytest.raises(OperationConflict) as refused:
        BoxDeleteExecutor.execute(inner)
    assert refused.value.operation_id == operation.pk
    inner.refresh_from_db()
    assert inner.state == "ok", "pre_apply of a nested operation runs when its step is reached"
    assert settle(operation).state == "succeeded"
    assert settle(BoxDeleteExecutor.execute(inner)).state == "succeeded"


def test_a_resource_that_is_busy_keeps_an_outer_operation_from_opening() -> None:
    outer, inner = make_box(name="outer"), make_box(name="inner")
    busy = BoxUpdateExecutor.execute(inner, updated_fields=[])
    with pytest.raises(OperationConflict) as refused:
        CanvasExecutor.execute(outer, build=lambda ref: BoxDeleteExecutor.as_signature(inner))
    assert refused.value.operation_id == busy.pk
    assert list(Claim.objects.values_list("resource", flat=True)) == [f"testapp.box:{inner.pk}"]


# -- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_key_returns_the_same_operation_open_or_ended(messages: Messages) -> None:
    box = make_box()
    first = BoxUpdateExecutor.execute(box, updated_fields=[], idempotency_key="k")
    assert len(messages()) == 1
    assert BoxUpdateExecutor.execute(Box.objects.get(), updated_fields=[], idempotency_key="k").pk == first.pk
    assert messages() == []
    settle(first)
    again = BoxUpdateExecutor.execute(Box.objects.get(), updated_fields=[], idempotency_key="k")
    assert (again.pk, again.state) == (first.pk, "succeeded")
    assert Call.objects.filter(method="touch").count() == 1


class Shared(CanvasExecutor):
    exclusive = False


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_same_key_at_once_opens_one_operation(exclusive: bool) -> None:
    make_box()
    executor = CanvasExecutor if exclusive else Shared

    def open_it() -> Operation:
        return executor.execute(Box.objects.get(), build=lambda ref: mark.si("once"), idempotency_key="k")

    outcomes = all_at_once(*[open_it] * 4)
    assert {getattr(outcome, "pk", outcome) for outcome in outcomes} == set(
        Operation.objects.values_list("pk", flat=True)
    )
    assert Operation.objects.count() == 1


def test_other_keys_are_other_operations() -> None:
    box = make_box()
    first = Shared.execute(box, build=lambda ref: mark.si("a"), idempotency_key="k")
    assert Shared.execute(box, build=lambda ref: mark.si("a"), idempotency_key="l").pk != first.pk


# -- when and where it runs -----------------------------------------------------------------------------------------


def test_a_countdown_is_waited_for(messages: Messages) -> None:
    box = make_box()
    operation = BoxUpdateExecutor.execute(box, updated_fields=[], countdown=60)
    assert messages() == []
    assert not drive(operation.pk)
    clock.advance(58)
    assert due(operation) == []
    assert "in 1 s" in Operation.objects.get().why() or "in 2 s" in Operation.objects.get().why()
    clock.advance(3)
    assert drive_due(operation) == 1
    assert Operation.objects.get().state == "succeeded"


def test_live_objects_are_fine_as_keywords() -> None:
    seen: dict[str, Any] = {}

    class Attach(ActionExecutor):
        @classmethod
        def pre_apply(cls, instance: Any, **kwargs: Any) -> None:
            seen.update(kwargs)
            super().pre_apply(instance, **kwargs)

        @classmethod
        def get_task_signature(
            cls, instance: Any, serialized_instance: str, flavor: Any = None, user: Any = None, **kw: Any
        ) -> Any:
            return mark.si(flavor.name)

    box, flavor, user = make_box(), make_box(name="big"), Stranger.objects.create()
    operation = Attach.execute(box, flavor=flavor, user=user, fields={"name"})
    assert seen["flavor"] is flavor
    assert settle(operation).result == "big"


def test_live_objects_reach_pre_apply_of_a_nested_operation_again() -> None:
    seen: list[Any] = []

    class Inner(ActionExecutor):
        @classmethod
        def pre_apply(cls, instance: Any, **kwargs: Any) -> None:
            seen.append(kwargs)
            super().pre_apply(instance, **kwargs)

        @classmethod
        def get_task_signature(cls, instance: Any, serialized_instance: str, **kwargs: Any) -> Any:
            return mark.si("inner")

    outer, inner, flavor = make_box(name="outer"), make_box(name="inner"), make_box(name="big")
    settle(
        CanvasExecutor.execute(
            outer, build=lambda ref: Inner.as_signature(inner, flavor=flavor, sizes=[1, 2], user=Stranger())
        )
    )
    assert seen == [{"flavor": flavor, "sizes": [1, 2], "user": None}]


def test_here_and_now_needs_no_broker_and_returns_the_end(messages: Messages) -> None:
    box = make_box("creation_scheduled")
    operation = BoxCreateExecutor.execute(box, is_async=False)
    assert operation.state == "succeeded"
    assert messages() == []
    box.refresh_from_db()
    assert (box.state, box.runtime_state, box.backend_id) == ("ok", "ACTIVE", f"cloud-{box.pk}")


def test_here_and_now_returns_a_failure_too() -> None:
    box = make_box()
    operation = CanvasExecutor.execute(box, is_async=False, build=lambda ref: fail.si("boom"))
    assert (operation.state, operation.error) == ("failed", "RuntimeError: boom")


def test_here_and_now_works_inside_a_transaction() -> None:
    box = make_box()
    with transaction.atomic():
        assert BoxUpdateExecutor.execute(box, is_async=False, updated_fields=[]).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"


def test_an_operation_with_nothing_to_do_succeeds() -> None:
    box = make_box()
    assert EmptyExecutor.execute(box, is_async=False).state == "succeeded"
    assert CanvasExecutor.execute(box, is_async=False, build=lambda ref: None).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"


# -- an executor that is executed by a step -------------------------------------------------------------------------


@shared_task
def start_update(reference: str) -> str:
    """A step that starts another operation on the same resource."""
    operation = BoxUpdateExecutor.execute(Box.objects.get(pk=reference.rpartition(":")[2]), updated_fields=["name"])
    return str(operation.pk)


def test_an_operation_started_by_a_success_path_runs_after_the_first_has_ended(messages: Messages) -> None:
    box = make_box()
    order: list[str] = []

    def note(instance: Any) -> None:
        order.append(Operation.objects.get(pk=first.pk).state)

    first = CanvasExecutor.execute(box, build=lambda ref: mark.si("main"), success=lambda ref: start_update.si(ref))
    ToyCloud.behaviour = {"touch": note}
    messages()
    assert drive(first.pk)
    first.refresh_from_db()
    assert first.state == "succeeded"
    (second,) = Operation.objects.exclude(pk=first.pk)
    assert (second.parent_id, second.is_root) == (first.pk, True)
    assert str(second.pk) in [message["operation"] for message in messages()]
    assert settle(second).state == "succeeded"
    assert order == ["succeeded"]
    assert not Claim.objects.exists()


def test_a_follower_waits_while_its_opener_is_open() -> None:
    box = make_box()
    first = CanvasExecutor.execute(
        box, build=lambda ref: chain(start_update.si(ref), mark.si("later").set(countdown=60))
    )
    drive_due(first)
    (second,) = Operation.objects.exclude(pk=first.pk)
    assert second.why().startswith("waiting for the operation that opened it to end")
    assert not drive(second.pk)
    with pytest.raises(OperationConflict) as refused:
        BoxDeleteExecutor.execute(Box.objects.get())
    assert refused.value.operation_id == second.pk
    settle(first)
    assert settle(second).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"


def test_a_follower_that_is_cancelled_while_it_waits_gives_the_resource_back() -> None:
    box = make_box()
    first = CanvasExecutor.execute(
        box, build=lambda ref: chain(start_update.si(ref), mark.si("later").set(countdown=60))
    )
    drive_due(first)
    (second,) = Operation.objects.exclude(pk=first.pk)
    cancel(second)
    assert settle(second).state == "cancelled"
    settle(first)
    box.refresh_from_db()
    assert box.state == "ok"
    assert not Claim.objects.exists()
    assert not Call.objects.exists()


def test_a_step_that_runs_twice_starts_one_follower() -> None:
    box = make_box()
    first = CanvasExecutor.execute(box, build=lambda ref: chain(start_update.si(ref), fail.si()))
    assert settle(first).state == "failed"
    # Its follower holds the resource by now, and runs first.
    (second,) = Operation.objects.exclude(pk=first.pk)
    assert settle(second).state == "succeeded"
    retry_from(first, 0)
    settle(first)
    assert Operation.objects.count() == 2


def test_here_and_now_runs_followers_too() -> None:
    box = make_box()
    first = CanvasExecutor.execute(
        box, is_async=False, build=lambda ref: mark.si("main"), success=lambda ref: start_update.si(ref)
    )
    assert first.state == "succeeded"
    assert set(Operation.objects.values_list("state", flat=True)) == {"succeeded"}
    assert Operation.objects.count() == 2
    assert connection.in_atomic_block is False
    assert list(Mark.objects.values_list("what", flat=True)) == ["main"]


def test_the_reference_may_come_from_the_step_before():
    box, other = make_box(), make_box(name="other")
    operation = CanvasExecutor.execute(
        box, build=lambda _: chain(mark.si(f"testapp.box:{other.pk}"), tasks.BackendMethodTask().s("touch"))
    )
    assert settle(operation).state == "succeeded"
    assert Call.objects.get(method="touch").resource == f"testapp.box:{other.pk}"
