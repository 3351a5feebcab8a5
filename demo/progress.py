"""Reads an operation and its parts from the journal as lines to show; knows nothing of the terminal.

Everything here is plain queries on `Operation`, `Step` and `Attempt`: a page of your own could show the same.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Model

from django_executors import clock
from django_executors.conf import settings
from django_executors.models import Attempt, Event, Operation, Step
from django_executors.states import OperationState, StepPhase, StepState

__all__ = ["Line", "Look", "Takeover", "looks"]

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Line:
    """One operation, step or failed attempt."""

    key: str
    depth: int
    state: str
    """The word for people: ``"pending"``, ``"running"``, ``"waiting"``, ``"done"``, ``"failed"``, ..."""
    title: str
    seconds: float | None = None
    note: str = ""
    """Who does it or why it does not move, what it made, or what went wrong."""
    has_parts: bool = False

    @property
    def is_going_on(self) -> bool:
        """Whether it has begun and not ended."""
        return self.state in ("running", "waiting", "uncertain", "undoing", "cancelling", "paused", "needs a human")


@dataclass(frozen=True)
class Takeover:
    """A worker went on with what another one had held."""

    event: int
    title: str
    owner: str


@dataclass
class Look:
    """What the journal says at one moment."""

    operation: Operation
    now: datetime
    lines: list[Line] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)

    @property
    def steps(self) -> tuple[int, int]:
        """How many steps of the operation itself are done, and how many there are."""
        own = [line for line in self.lines if line.depth == 0 and not line.key.startswith("attempt")]
        return sum(line.state in ("done", "skipped") for line in own), len(own)

    @property
    def reason(self) -> str:
        """Why it does not move: the reason of the innermost part that is going on."""
        going_on = [line for line in self.lines if line.is_going_on and line.note]
        innermost = max(going_on, key=lambda line: line.depth, default=None)
        return f"{innermost.title}: {innermost.note}" if innermost else self.operation.why()


def looks(operation: Operation, timeout: float) -> Iterator[Look]:
    """Look at an operation again and again, until it has ended.

    Raises:
        TimeoutError: It has not ended within ``timeout`` seconds; the text is the reason.
    """
    deadline = time.monotonic() + timeout
    while True:
        look = _look(operation)
        yield look
        if not look.operation.is_open:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s: {look.operation.why()}")
        time.sleep(LOOK_SECONDS)


def _look(operation: Operation) -> Look:
    tree = {found.pk: found for found in Operation.objects.filter(root_id=operation.pk)}
    look = Look(tree[operation.pk], clock.read())
    reader = _Reader(look, tree)
    look.lines = list(reader.steps_of(look.operation, 0))
    look.takeovers = [
        Takeover(event.pk, str(tree[event.operation_id]), event.text.removeprefix("by "))
        for event in Event.objects.filter(operation__in=list(tree), kind="operation.taken_over")
        if event.operation_id in tree
    ]
    return look


class _Reader:
    """Walks from the outermost operation to its parts."""

    def __init__(self, look: Look, tree: dict[Any, Operation]) -> None:
        self.look = look
        self.steps: dict[Any, list[Step]] = defaultdict(list)
        for step in Step.objects.filter(operation__root_id=look.operation.pk).order_by("position"):
            self.steps[step.operation_id].append(step)
        self.parts: dict[int | None, list[Operation]] = defaultdict(list)
        for part in sorted(tree.values(), key=lambda part: part.branch):
            self.parts[part.parent_step_id].append(part)
        self.attempts: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in Attempt.objects.filter(step__operation__root_id=look.operation.pk).order_by("number", "id"):
            self.attempts[attempt.step_id].append(attempt)

    def steps_of(self, operation: Operation, depth: int) -> Iterator[Line]:
        """The steps of an operation, and below each what it consists of."""
        for step in self.steps[operation.pk]:
            if step.phase != StepPhase.MAIN and step.state == StepState.PENDING:
                continue  # the path that is not taken
            if step.kind == Step.Kind.OPERATION:
                yield from self.nested(step, depth)
                continue
            yield self.step(operation, step, depth)
            yield from self.failed_attempts(step, depth + 1)
            if step.kind == Step.Kind.PARALLEL:
                yield from self.branches(step, depth + 1)

    def step(self, operation: Operation, step: Step, depth: int) -> Line:
        note = ""
        if step.kind == Step.Kind.PARALLEL:
            ended = sum(not part.is_open for part in self.parts[step.pk])
            note = f"{ended} of {len(step.plan or [])} have ended" if step.state == StepState.WAITING else ""
        elif operation.is_open and operation.position == step.position and step.finished_at is None:
            note = self.why(operation)
        elif step.state == StepState.FAILED:
            note = step.error
        elif step.state == StepState.SUCCEEDED and step.name.startswith("create_"):
            note = _external_id(operation.resource)
        is_next = operation.state == OperationState.SCHEDULED and operation.position == step.position
        return Line(
            f"step {step.pk}",
            depth,
            "queued" if is_next else _word(step),
            _title(step),
            self.seconds(step.started_at, step.finished_at),
            note,
            has_parts=step.kind == Step.Kind.PARALLEL,
        )

    def failed_attempts(self, step: Step, depth: int) -> Iterator[Line]:
        for attempt in self.attempts[step.pk]:
            if attempt.outcome == "failed" and step.state == StepState.FAILED:
                continue  # the step's own line says it
            took = self.seconds(attempt.started_at, attempt.finished_at)
            yield Line(
                f"attempt {attempt.pk}", depth, attempt.outcome, f"attempt {attempt.number}", took, attempt.error
            )

    def branches(self, step: Step, depth: int) -> Iterator[Line]:
        opened = self.parts[step.pk]
        for number, planned in enumerate(step.plan or []):
            if number < len(opened):
                yield from self.steps_of(opened[number], depth)
            else:
                for node in planned:
                    title = node["operation"]["title"] if node["kind"] == "operation" else node.get("task", "")
                    yield Line(f"plan {step.pk}.{number}", depth, "pending", title)

    def nested(self, step: Step, depth: int) -> Iterator[Line]:
        """A nested operation as one line: calm to look at, and its own step of the moment is in the note."""
        found = self.parts[step.pk]
        if not found:
            yield Line(f"step {step.pk}", depth, _word(step), step.name)
            return
        part = found[0]
        current = next((own for own in self.steps[part.pk] if own.position == part.position), None)
        if not part.is_open:
            note = _external_id(part.resource) if part.state == OperationState.SUCCEEDED else part.error
        else:
            note = self.why(part)
            if current and part.lease_owner and note.startswith("worker") and "silent" not in note:
                note = f"{_title(current)}, {note}"
        state = _word(current) if part.is_open and current and current.state != StepState.PENDING else _end(part)
        if part.is_open and state in ("done", "pending"):
            state = "running" if part.lease_owner else "waiting"
        yield Line(f"step {step.pk}", depth, state, str(part), self.seconds(part.started_at, part.finished_at), note)
        for own in self.steps[part.pk]:
            yield from self.failed_attempts(own, depth + 1)

    def why(self, operation: Operation) -> str:
        """`Operation.why`; while a worker holds the lease, which one, and since when it has not been heard of."""
        left = (operation.due_at - self.look.now).total_seconds() if operation.due_at else 0.0
        if not operation.lease_owner or left <= 0:
            return operation.why()
        worker = worker_name(operation.lease_owner)
        silent = settings.LEASE_SECONDS - left
        if silent > 1.5 * settings.heartbeat_seconds:
            return f"{worker} has been silent for {silent:.0f} s, its lease ends in {left:.0f} s"
        return worker

    def seconds(self, started: datetime | None, finished: datetime | None) -> float | None:
        return max(0.0, ((finished or self.look.now) - started).total_seconds()) if started else None


def worker_name(owner: str) -> str:
    """A lease owner's name for people. It has host, process id and a random part."""
    return f"worker {owner.split(':')[1]}" if owner.count(":") == 2 else f"worker {owner}"


def _word(step: Step) -> str:
    return str(StepState(step.state).label)


def _end(operation: Operation) -> str:
    return "done" if operation.state == OperationState.SUCCEEDED else str(OperationState(operation.state).label)


def _title(step: Step) -> str:
    wanted = step.kwargs.get("success_state")
    if wanted is not None and step.args:
        model = apps.get_model(str(step.args[0]).partition(":")[0])
        return (
            f"wait until the {model._meta.verbose_name} is {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        )
    # The name of a backend method, of a transition, or of a task's class.
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", step.name.removesuffix("Task")).replace("_", " ")
    return words if step.kind == Step.Kind.PARALLEL else words.lower()


def _external_id(resource: Model | None) -> str:
    return str(getattr(resource, "backend_id", "") or "")
