"""What is committed, as every other process would see it at this moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django_executors.states import OPEN_OPERATION_STATES

if TYPE_CHECKING:
    from .database import Database

__all__ = ["Operation", "Rows", "Step"]

_OPEN = frozenset(str(state) for state in OPEN_OPERATION_STATES)
_DONE = ("succeeded", "skipped")


@dataclass
class Operation:
    """What matters of an operation's row."""

    id: str
    root: str
    parent: str | None
    executor: str
    box: str
    state: str
    phase: str
    owner: str
    token: int
    due_at: str | None
    nudge_at: str | None
    wait_kind: str
    parent_step: int | None
    cancel_requested: bool
    steps: list[Step] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN


@dataclass
class Step:
    """What matters of a step's row."""

    id: int
    operation: str
    phase: str
    kind: str
    task: str
    kwargs: str
    state: str
    began: bool
    key: str

    @property
    def is_done(self) -> bool:
        return self.state in _DONE


class Rows:
    """Everything that is committed; ``key`` gives the idempotency key of an operation's step at a position."""

    def __init__(self, database: Database, key: Callable[[str, int], str]) -> None:
        read = database.committed
        self.operations = {
            row[0]: Operation(*row)
            for row in read(
                "SELECT id, root_id, parent_id, executor, resource_pk, state, phase, lease_owner, lease_token, due_at,"
                " nudge_at, wait_kind, parent_step_id, cancel_requested FROM django_executors_operation"
            )
        }
        for row in read(
            "SELECT id, operation_id, phase, kind, task, kwargs, state, began, position FROM django_executors_step"
            " ORDER BY operation_id, position"
        ):
            *values, position = row
            step = Step(*values, key(values[1], position))
            self.operations[step.operation].steps.append(step)
        self.boxes: dict[str, str] = {str(pk): state for pk, state in read("SELECT id, state FROM testapp_box")}
        self.claims: dict[str, str] = dict(read("SELECT resource, operation_id FROM django_executors_claim"))
        self.slots = read("SELECT throttle_id, operation_id, held FROM django_executors_slot")
        self.marks: Counter[str] = Counter(what for (what,) in read("SELECT what FROM testapp_mark"))

    @property
    def open(self) -> list[Operation]:
        return [operation for operation in self.operations.values() if operation.is_open]
