"""``manage.py executors``: what a person sees and may do."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain
from django.core.management import CommandError, call_command

from django_executors.models import Event, Operation, Step
from tests.integration.driving import make_box, row, settle, update
from tests.testapp.executors import CanvasExecutor
from tests.testapp.tasks import fail, mark

pytestmark = pytest.mark.django_db(transaction=True)


def executors(*arguments: str) -> str:
    """Run the command and return what it printed."""
    out = io.StringIO()
    call_command("executors", *arguments, stdout=out)
    return out.getvalue()


def failed_operation() -> Operation:
    return settle(
        CanvasExecutor.execute(make_box(), build=lambda _: chain(mark.si("a"), fail.si("boom"), mark.si("c")))
    )


def test_list_shows_what_is_there_and_why_it_does_not_move():
    waiting, failed = update(make_box(name="waits")), failed_operation()
    shown = executors("list")
    assert f"{waiting.pk} scheduled" in shown
    assert "queued for a worker of queue tasks" in shown
    assert f"{failed.pk} failed" in shown
    assert "boom" in shown
    assert str(waiting.pk) not in executors("list", "--state", "failed")


def test_show_has_every_step_with_its_error():
    shown = executors("show", str(failed_operation().pk))
    assert " 1 succeeded  mark" in shown
    assert " 2 failed     fail RuntimeError: boom" in shown
    assert " 3 pending    mark" in shown


def test_pause_unpause_and_cancel_act_and_are_audited():
    operation = update(make_box())
    assert "paused by a person" in executors("pause", str(operation.pk), "--reason", "maintenance")
    assert row(operation).state == "paused"
    executors("unpause", str(operation.pk))
    executors("cancel", str(operation.pk))
    assert settle(operation).state == "cancelled"
    commands = Event.objects.filter(kind__startswith="command.").values_list("kind", "actor", "text")
    assert list(commands) == [
        ("command.pause", "command line", "maintenance"),
        ("command.unpause", "command line", ""),
        ("command.cancel", "command line", ""),
    ]


@pytest.mark.parametrize("arguments", [("skip", "--reason", "not needed"), ("retry", "--step", "1"), ("resume",)])
def test_a_failed_operation_can_be_taken_up_again(arguments: tuple[str, ...]):
    operation = failed_operation()
    executors(arguments[0], str(operation.pk), *arguments[1:])
    assert row(operation).state == "waiting"
    assert settle(operation).state == ("succeeded" if arguments[0] == "skip" else "failed")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (lambda: ("cancel", str(failed_operation().pk)), "cannot cancel an operation that is failed"),
        (lambda: ("show", "nonsense"), "there is no operation nonsense"),
        (lambda: ("resume", str(uuid.uuid4())), "there is no operation"),
        (lambda: ("retry", str(failed_operation().pk), "--step", "3"), "lies behind the step that failed"),
    ],
)
def test_a_command_that_does_not_fit_says_what_to_do(arguments: Callable[[], tuple[Any, ...]], told: str):
    with pytest.raises(CommandError, match=told):
        executors(*arguments())


def test_unknown_names_the_operations_that_this_code_cannot_continue():
    assert executors("unknown") == ""
    operation = CanvasExecutor.execute(make_box(), build=lambda _: mark.si("a"))
    Step.objects.filter(operation=operation).update(task="tests.gone")
    out = io.StringIO()
    with pytest.raises(CommandError, match="aliases"):
        call_command("executors", "unknown", stdout=out)
    assert f"{operation.pk}" in out.getvalue()
    assert "needs task tests.gone" in out.getvalue()


def test_dispatch_once_sends_what_is_due():
    operation = update(make_box())
    Operation.objects.filter(pk=operation.pk).update(nudge_at=operation.created_at)
    assert executors("dispatch", "--once") == "1 messages sent\n"
