"""One object for one row, though the method that makes it runs again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from django_executors.context import StepContext, step_context
from django_executors.exceptions import BackendRejected
from django_executors_openstack.backend.adoption import adopt_or_create, marked, unmarked


@dataclass
class Shelf:
    """A cloud of one kind of object."""

    objects: list[Any] = field(default_factory=list)
    looks: int = 0
    refuses: bool = False

    def put(self, name: str, key: str, created_at: str) -> Any:
        made = SimpleNamespace(id=name, key=key, created_at=created_at)
        self.objects.append(made)
        return made

    def find(self, key: str) -> Iterator[Any]:
        self.looks += 1
        return iter([one for one in self.objects if one.key == key])

    def create(self, key: str) -> Any:
        if self.refuses:
            raise BackendRejected("no")
        return self.put(f"made-{len(self.objects)}", key, "2026-01-02")

    def run(self, row: Any, **step: Any) -> None:
        with step_context(StepContext(idempotency_key="ex-1", **step)):
            adopt_or_create(
                row,
                find=self.find,
                create=self.create,
                delete=self.objects.remove,
                save=lambda made: setattr(row, "backend_id", made.id),
            )


def row(backend_id: str = "") -> Any:
    return SimpleNamespace(backend_id=backend_id)


def test_a_first_attempt_makes_it_without_a_look() -> None:
    shelf, one = Shelf(), row()
    shelf.run(one)
    assert (one.backend_id, shelf.looks) == ("made-0", 0)


@pytest.mark.parametrize("step", [{"attempt": 2}, {"outcome_unknown": True}])
def test_a_later_attempt_adopts_what_it_finds(step: dict[str, Any]) -> None:
    shelf, one = Shelf(), row()
    shelf.put("theirs", "ex-0", "2026-01-01")
    shelf.put("ours", "ex-1", "2026-01-01")
    shelf.run(one, **step)
    assert one.backend_id == "ours"
    assert [thing.id for thing in shelf.objects] == ["theirs", "ours"]


def test_a_later_attempt_makes_it_when_there_is_none() -> None:
    shelf, one = Shelf(), row()
    shelf.run(one, attempt=2)
    assert one.backend_id == "made-0"


def test_of_two_the_older_stays_and_the_row_follows_it() -> None:
    shelf, one = Shelf(), row("younger")
    shelf.put("younger", "ex-1", "2026-01-03")
    shelf.put("older", "ex-1", "2026-01-01")
    shelf.run(one, attempt=3)
    assert one.backend_id == "older"
    assert [thing.id for thing in shelf.objects] == ["older"]


def test_of_two_of_the_same_second_the_one_in_the_row_stays() -> None:
    shelf, one = Shelf(), row("b")
    shelf.put("a", "ex-1", "2026-01-01")
    shelf.put("b", "ex-1", "2026-01-01")
    shelf.run(one, attempt=2)
    assert one.backend_id == "b"
    assert [thing.id for thing in shelf.objects] == ["b"]


def test_an_earlier_request_that_arrives_during_the_create_wins() -> None:
    shelf, one = Shelf(), row()
    create = shelf.create

    def slow(key: str) -> Any:
        shelf.put("late", key, "2026-01-01")
        return create(key)

    shelf.create = slow  # type: ignore[method-assign]
    shelf.run(one, attempt=2)
    assert one.backend_id == "late"
    assert [thing.id for thing in shelf.objects] == ["late"]


def test_a_refusal_because_of_the_earlier_request_is_no_failure() -> None:
    shelf, one = Shelf(), row()

    def taken(key: str) -> Any:
        shelf.put("late", key, "2026-01-01")
        raise BackendRejected("the port is in use")

    shelf.create = taken  # type: ignore[method-assign]
    shelf.run(one, attempt=2)
    assert one.backend_id == "late"


def test_a_refusal_is_a_failure_otherwise() -> None:
    shelf, one = Shelf(refuses=True), row()
    with pytest.raises(BackendRejected):
        shelf.run(one, attempt=2)
    assert one.backend_id == ""


def test_what_is_made_and_saved_is_not_made_again() -> None:
    shelf, one = Shelf(refuses=True), row("known")
    shelf.run(one)
    shelf.run(one, attempt=2)
    assert one.backend_id == "known"


@pytest.mark.parametrize("text", ["", "for the shop", "with [brackets]", "x" * 300])
def test_a_mark_comes_off_again(text: str) -> None:
    carried = marked(text, "ex-0123456789abcdef0123456789abcdef")
    assert len(carried) <= 255
    assert carried.endswith("[ex-0123456789abcdef0123456789abcdef]")
    assert text.startswith(unmarked(carried))
    assert unmarked(text) == text
