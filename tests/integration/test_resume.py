"""Resuming an operation that failed before all its nested operations were reached."""

from __future__ import annotations

import pytest
from celery import chain

from django_executors import tasks
from django_executors.engine import actions
from django_executors.exceptions import BackendRejected
from tests.integration.driving import script, settle
from tests.testapp.executors import BoxCreateExecutor, CanvasExecutor
from tests.testapp.models import Box, ToyCloud

pytestmark = pytest.mark.django_db(transaction=True)


def test_parts_that_were_never_reached_are_put_back_and_created_by_a_resume():
    first, second = Box.objects.create(name="first"), Box.objects.create(name="second")
    outer = Box.objects.create(name="outer", state="ok")
    ToyCloud.behaviour = {"create_box": BackendRejected("quota exceeded")}
    operation = CanvasExecutor.execute(
        outer, build=lambda _: chain(BoxCreateExecutor.as_signature(first), BoxCreateExecutor.as_signature(second))
    )
    failed = settle(operation)
    second.refresh_from_db()
    assert (failed.state, second.state) == ("failed", "erred")
    assert second.error_message.startswith("not started")

    ToyCloud.behaviour = {}
    ended = settle(actions.resume(operation, actor="ann"))

    for box in (first, second):
        box.refresh_from_db()
        assert (box.state, box.error_message) == ("ok", "")
    assert ended.state == "succeeded"
    assert ended.settled == {}


def test_a_retry_from_a_transition_that_was_made_does_not_make_it_again() -> None:
    box = Box.objects.create(name="b")
    ToyCloud.behaviour["create_box"] = script(BackendRejected("no room"), None)
    operation = CanvasExecutor.execute(
        box,
        build=lambda ref: chain(
            tasks.StateTransitionTask().si(ref, state_transition="begin_creating"),
            tasks.BackendMethodTask().si(ref, "create_box"),
        ),
    )
    assert settle(operation).state == "failed"
    actions.retry_from(operation, 0)
    assert settle(operation).state == "succeeded"
    box.refresh_from_db()
    assert box.state == "ok"
