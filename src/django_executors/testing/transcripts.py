"""What happened to an operation, as a few stable lines that a test can compare."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from ..models import Operation, Step
from ..states import StepState

__all__ = ["assert_transcript", "transcript"]

_WORDS = {"taken over": "lease expired"}


def transcript(operation: Operation, *, step: str | int | None = None) -> list[str]:
    """Return what happened, in order.

    Without ``step``: one line for each step that was reached, parts indented below theirs, then the state of the operation::

        ["create_volume: running, lease expired, running, succeeded",
         "pull_runtime_state: waited, succeeded",
         "succeeded"]

    With ``step``, by its name or position: what happened to it, one word an entry::

        ["running", "lease expired", "running", "succeeded"]

    "waited" stands for any number of looks in a row that found it not ready. What depends on timing alone is left out, so
    the lines are the same each time.

    Raises:
        LookupError: The operation has no such step, or several of that name.
    """
    if step is None:
        return [*_lines(operation, ""), str(Operation.objects.get(pk=operation.pk).state)]
    steps = [each for each in operation.steps.order_by("position") if step in (each.name, each.position)]
    if len(steps) != 1:
        names = ", ".join(f"{each.position}: {each.name}" for each in operation.steps.order_by("position"))
        raise LookupError(f"{operation} has {len(steps)} steps {step!r}; there are {names}")
    return _words(steps[0])


def _lines(operation: Operation, indent: str) -> Iterator[str]:
    for step in operation.steps.order_by("position"):
        words = _words(step)
        if words:
            yield f"{indent}{step.name}: {', '.join(words)}"
        for part in operation.children.filter(parent_step=step).order_by("branch"):
            yield f"{indent}  {part.title}: {part.state}"
            yield from _lines(part, f"{indent}    ")


def _words(step: Step) -> list[str]:
    words: list[str] = []
    for word in _attempts(step):
        if word != "waited":
            words += ["running", word]
        elif words[-1:] != ["waited"]:
            words.append("waited")
    if step.state == StepState.PENDING:
        return words
    if step.state == StepState.SUCCEEDED:
        looked = words[-1:] == ["waited"] or step.kind != Step.Kind.TASK
        words += ["succeeded"] if looked else ["running", "succeeded"]
    elif not words or words[-1] != step.state:
        words.append(str(step.state))
    return words


def _attempts(step: Step) -> list[str]:
    """Return what came of each attempt that did not succeed, in order: those that are not kept were looks."""
    outcomes: dict[int, list[str]] = {}
    for row in step.attempt_rows.order_by("id"):
        outcomes.setdefault(row.number, []).append(_WORDS.get(row.outcome, row.outcome))
    last_is_open = step.state in (StepState.SUCCEEDED, StepState.RUNNING)
    looks = [number for number in range(1, step.attempts + (not last_is_open)) if number not in outcomes]
    # A retry from an earlier step forgets the looks of before, and an earlier success is none.
    for number in looks[len(looks) - min(len(looks), step.polls) :]:
        outcomes[number] = ["waited"]
    return [word for number in sorted(outcomes) for word in outcomes[number]]


def assert_transcript(operation: Operation, expected: Sequence[str], *, step: str | int | None = None) -> None:
    """Assert that `transcript` is as expected.

    Raises:
        AssertionError: With the difference, line by line.
    """
    found = transcript(operation, step=step)
    if found != list(expected):
        difference = "\n".join(difflib.ndiff(list(expected), found))
        raise AssertionError(f"the transcript of {operation} is another one (- expected, + found):\n{difference}")
