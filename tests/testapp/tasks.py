"""Steps of the tests: plain Celery functions and a plain Celery class."""

from __future__ import annotations

from typing import Any

import celery
from celery import shared_task

from django_executors import tasks
from tests.testapp.models import Mark


@shared_task
def mark(*args: Any) -> Any:
    """Leave a mark with the last argument; return it."""
    Mark.objects.create(what=str(args[-1]))
    return args[-1]


@shared_task
def collect(previous: Any, name: str) -> Any:
    """Leave a mark that shows the previous result; return both."""
    Mark.objects.create(what=f"{name}<{previous!r}")
    return [name, previous]


@shared_task(bind=True, max_retries=3, default_retry_delay=0)
def flaky(self: Any, times: int) -> int:
    """Ask to be tried again until it was tried so many times."""
    Mark.objects.create(what=f"flaky {self.request.retries}")
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"))
    return int(self.request.retries)


@shared_task(autoretry_for=(ValueError,), max_retries=2, default_retry_delay=0)
def picky(times: int) -> str:
    """Fail until it was called so many times."""
    Mark.objects.create(what="picky")
    if Mark.objects.filter(what="picky").count() <= times:
        raise ValueError("not yet")
    return "picked"


@shared_task
def fail(text: str = "boom") -> None:
    """Fail for good."""
    raise RuntimeError(text)


@shared_task(is_heavy_task=True)
def heavy_mark(what: str) -> str:
    """A heavy step."""
    Mark.objects.create(what=what)
    return what


class PlainTask(celery.Task):  # type: ignore[type-arg]
    """A plain Celery task class, registered by hand as Celery wants it."""

    name = "tests.plain"

    def run(self, what: str) -> str:
        Mark.objects.create(what=what)
        return what


class KeywordTask(tasks.StateTransitionTask):
    """Writes ``self.kwargs`` in ``pre_execute``, as classic tasks do."""

    transactional = False

    def pre_execute(self, instance: Any) -> None:
        self.kwargs["word"] = self.kwargs.pop("word", "") + "!"
        super().pre_execute(instance)

    def execute(self, instance: Any, word: str) -> str:
        Mark.objects.create(what=word)
        return word
