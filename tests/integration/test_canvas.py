"""Any canvas runs every step exactly once, in Celery's order, with Celery's results."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from celery import chain, chord, group, shared_task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_executors.engine.drive import drive
from django_executors.models import Claim, Operation
from tests.integration.driving import due
from tests.testapp.executors import CanvasExecutor
from tests.testapp.models import Box, Mark

pytestmark = pytest.mark.django_db(transaction=True)


def digest(args: Any) -> str:
    return hashlib.sha256(json.dumps(args).encode()).hexdigest()[:12]


@shared_task
def leaf(*args: Any) -> str:
    """Leave a mark that tells all arguments; return it."""
    what = f"{args[-1]} {digest(list(args))}"
    Mark.objects.create(what=what)
    return what


# A canvas as plain data: ("leaf", takes_result) | ("chain", parts) | ("group", parts) | ("chord", parts, body)
# | ("operation", parts). A group has two members at least: Celery's own ``|`` turns a group of one into that one.
LEAF = st.tuples(st.just("leaf"), st.booleans())
CANVAS = st.recursive(
    LEAF,
    lambda part: st.one_of(
        st.tuples(st.just("chain"), st.lists(part, min_size=1, max_size=4)),
        st.tuples(st.just("group"), st.lists(part, min_size=2, max_size=3)),
        st.tuples(st.just("chord"), st.lists(part, min_size=1, max_size=3), part),
        st.tuples(st.just("operation"), st.lists(part, min_size=1, max_size=3)),
    ),
    max_leaves=10,
)


def members(canvas: Any) -> list[Any]:
    """A group's members; to Celery a group within a group is no level of its own, and a chain of one is that one."""
    found = []
    for part in canvas[1]:
        while part[0] == "chain" and len(part[1]) == 1:
            part = part[1][0]
        found += members(part) if part[0] == "group" else [part]
    return found


class Expected:
    """What a canvas ought to do, by an interpreter that knows nothing of plans, steps and databases."""

    def __init__(self) -> None:
        self.marks: list[str] = []
        self.before: list[tuple[str, str]] = []
        self.numbers = count()

    def run(self, canvas: Any, previous: list[Any]) -> tuple[Any, list[str]]:
        """Return the result of a part and the marks it leaves; ``previous`` holds the result before it, if there is one."""
        kind = canvas[0]
        if kind == "leaf":
            args = [*(previous if canvas[1] else []), f"s{next(self.numbers)}"]
            mark = f"{args[-1]} {digest(args)}"
            self.marks.append(mark)
            return mark, [mark]
        if kind == "group":
            ran = [self.run(part, previous) for part in members(canvas)]
            return [result for result, _ in ran], [mark for _, marks in ran for mark in marks]
        if kind == "operation":
            return self.run(("chain", canvas[1]), [])
        parts = [("group", canvas[1]), canvas[2]] if kind == "chord" else canvas[1]
        result: Any = None
        done: list[str] = []
        for part in parts:
            result, marks = self.run(part, previous)
            self.before += [(first, then) for first in done for then in marks]
            previous, done = [result], [*done, *marks]
        return result, done


def build(canvas: Any, numbers: Iterator[int]) -> Any:
    """Make the same canvas of Celery's own parts."""
    kind = canvas[0]
    if kind == "leaf":
        label = f"s{next(numbers)}"
        return leaf.s(label) if canvas[1] else leaf.si(label)
    parts = [build(part, numbers) for part in canvas[1]]
    if kind == "group":
        return group(parts)
    if kind == "chord":
        return chord(parts, build(canvas[2], numbers))
    if kind == "operation":
        box = Box.objects.create(name="nested")
        return CanvasExecutor.as_signature(box, build=lambda reference: chain(*parts))
    return chain(*parts)


def check(operation: Operation, canvas: Any) -> None:
    """Compare what happened with what ought to have happened."""
    expected = Expected()
    result, _ = expected.run(canvas, [])
    marks = list(Mark.objects.order_by("id").values_list("what", flat=True))
    tree = Operation.objects.filter(root_id=operation.root_id)
    assert [(row.title, row.state, row.error) for row in tree if row.state != "succeeded"] == []
    assert sorted(marks) == sorted(expected.marks), "not every step ran exactly once with the right arguments"
    place = {mark: position for position, mark in enumerate(marks)}
    wrong = [(first, then) for first, then in expected.before if place[first] > place[then]]
    assert wrong == [], "a step ran before one that ought to come first"
    assert Operation.objects.get(pk=operation.pk).result == result
    assert not Claim.objects.exists()
    assert not Box.objects.exclude(state="ok").exists()


@pytest.fixture
def _clean() -> Iterator[None]:
    yield
    clean()


def clean() -> None:
    Operation.objects.all().delete()
    Claim.objects.all().delete()
    Box.objects.all().delete()
    Mark.objects.all().delete()


FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FEW
@given(canvas=CANVAS)
@pytest.mark.usefixtures("_clean")
def test_any_canvas_runs_as_celery_would_run_it_here_and_now(canvas: Any) -> None:
    clean()
    box = Box.objects.create(name="outer")
    operation = CanvasExecutor.execute(box, is_async=False, build=lambda reference: build(canvas, count()))
    check(operation, canvas)


@FEW
@given(canvas=CANVAS, seed=st.integers(0, 2**32))
@pytest.mark.usefixtures("_clean")
def test_any_canvas_runs_as_celery_would_run_it_whichever_worker_comes_first(canvas: Any, seed: int) -> None:
    clean()
    chance = random.Random(seed)
    box = Box.objects.create(name="outer")
    operation = CanvasExecutor.execute(box, build=lambda reference: build(canvas, count()))
    for _ in range(3000):
        found = due(operation)
        if not found:
            break
        # Half of the times the worker hands the operation back at the next step boundary.
        drive(chance.choice(found).pk, draining=lambda: chance.random() < 0.5)
    # Nothing is due although no timer was waited for: every part's end has woken its parent.
    check(operation, canvas)
