"""Which queue a step goes to."""

from __future__ import annotations

from typing import Any

import pytest
from celery import shared_task
from django.test import override_settings

from django_executors import tasks
from django_executors.routing import queue_for, route_task
from tests.testapp.tasks import heavy_mark, mark


class Pull(tasks.BackgroundPullTask):
    """A background task."""


@shared_task(is_heavy_task=True, is_background_task=True)
def heavy_background() -> None:
    """Both."""


@pytest.mark.parametrize(
    ("task", "options", "is_heavy", "queue"),
    [
        (mark, {}, False, "tasks"),
        (None, {}, False, "tasks"),
        (heavy_mark, {}, False, "heavy"),
        (mark, {}, True, "heavy"),
        (None, {}, True, "heavy"),
        (Pull, {}, False, "background"),
        (Pull, {}, True, "heavy"),
        (heavy_background, {}, False, "heavy"),
        (mark, {"queue": "mine"}, False, "mine"),
        (mark, {"queue": "mine"}, True, "mine"),
        (heavy_mark, {"queue": "mine"}, False, "mine"),
        (mark, {"queue": ""}, False, "tasks"),
    ],
)
def test_a_step_goes_to_its_queue(task: Any, options: dict[str, Any], is_heavy: bool, queue: str) -> None:
    assert queue_for(task, options, is_heavy=is_heavy) == queue


@pytest.mark.parametrize(("task", "queue"), [(mark, "tasks"), (heavy_mark, "heavy"), (Pull, "background")])
def test_a_task_that_is_published_directly_goes_to_the_same_queue(task: Any, queue: str) -> None:
    assert route_task(task.name, (), {}, {}, task=task) == {"queue": queue}
    assert route_task(task.name, (), {}, {}) == {"queue": queue}


def test_a_queue_that_was_named_is_left_alone() -> None:
    assert route_task(mark.name, (), {}, {"queue": "mine"}, task=mark) is None


def test_a_task_that_nobody_knows_goes_to_the_regular_queue() -> None:
    assert route_task("nobody.knows", (), {}, {}) == {"queue": "tasks"}


def test_queues_have_the_names_a_project_gives_them() -> None:
    with override_settings(EXECUTORS={"QUEUES": {"heavy": "big"}}):
        assert queue_for(heavy_mark, {}, is_heavy=False) == "big"
        assert queue_for(mark, {}, is_heavy=False) == "tasks"
