"""Finds rows that contradict each other: resources, operations, steps, claims and slots.

What is checked holds at every commit, so an alarm is never a matter of timing: each rule is one SELECT, and one SELECT sees
one moment on PostgreSQL, MariaDB and SQLite, whatever the isolation level. Nothing is locked, nothing is repaired.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    IntegerField,
    Max,
    Min,
    Model,
    OuterRef,
    Q,
    QuerySet,
    UUIDField,
    Value,
    When,
)
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Concat, Substr

from . import clock, registry
from .conf import settings
from .models import Claim, Operation, Slot, Step
from .references import is_registered
from .states import (
    INTEGER_STATES,
    OPEN_OPERATION_STATES,
    RESOURCE_TRANSITIONS,
    OperationState,
    StepPhase,
    StepState,
    WaitKind,
    is_scheduled,
    is_transitional,
    resource_state,
)

__all__ = ["RULES", "Violation", "check_consistency"]

RULES = {
    "C1": "a resource whose state promises work is held by an open operation",
    "C2": "a resource is not scheduled any more once the step that begins has run",
    "C3": "a claim belongs to an open operation",
    "C4": "an open exclusive operation holds the claim on its resource",
    "C5": "an operation that ended or is paused has neither lease nor timer",
    "C6": "an open operation has a timer, or waits for a person or for the operation that opened it",
    "C7": "a part is not open when the whole has ended",
    "C8": "an operation whose parts have all ended goes on",
    "C9": "a place under a throttle belongs to an open operation",
    "C10": "no more slots are held than the limit",
    "C11": "one resource has one open exclusive operation",
    "C12": "a running step is the current one of an operation that has begun and not ended",
    "C13": "an operation stands at one of its steps, and those before it are done",
    "C14": "an operation that succeeded has done all its steps",
    "C15": "what is due is taken up (a warning only)",
}
"""What holds, by the id of the rule that finds the opposite."""

_MOST = 100
_OVERDUE_SECONDS = 60.0
_DONE = (StepState.SUCCEEDED, StepState.SKIPPED)
_OPEN = Q(state__in=OPEN_OPERATION_STATES)


@dataclass(frozen=True)
class Violation:
    """One contradiction.

    Attributes:
        rule: Key of `RULES`.
        text: What is wrong, and what to do.
        operation_id: The operation it is about, None when there is none.
        resource: Reference of the resource, ``"app_label.model:pk"``, empty when there is none.
        is_warning: The rows are sound, but nobody works on them.
    """

    rule: str
    text: str
    operation_id: uuid.UUID | None = None
    resource: str = ""
    is_warning: bool = False


def check_consistency(using: str | None = None) -> list[Violation]:
    """Look for contradictions, while workers go on.

    Args:
        using: Alias of the database with the journal and the resources.

    Returns:
        What was found, at most 100 for each rule; empty when all is well. The number of queries does not depend on the number
        of rows: one for each rule, and two for each registered resource model that has states.
    """
    alias = using or DEFAULT_DB_ALIAS
    return [violation for rule in _rules for violation in rule(alias)]


_rules: list[Callable[[str], Iterable[Violation]]] = []


def _rule(function: Callable[[str], Iterable[Violation]]) -> Callable[[str], Iterable[Violation]]:
    _rules.append(function)
    return function


# -- resources --------------------------------------------------------------------------------------------------------


def _stateful_models(alias: str) -> list[type[Model]]:
    """Return the registered models that have a column ``state`` of their own, in this database."""
    found = []
    for model in apps.get_models():
        if model._meta.proxy or not is_registered(model) or not router.allow_migrate_model(alias, model):
            continue
        try:
            field = model._meta.get_field("state")
        except FieldDoesNotExist:
            continue
        if getattr(field, "concrete", False) and field.model is model:
            found.append(model)
    return found


def _labels(model: type[Model]) -> list[str]:
    """Return the labels under which a row of this model may be referred to: also as its proxy, its child or its parent."""
    return [
        other._meta.label_lower
        for other in apps.get_models()
        if is_registered(other) and (issubclass(other, model) or issubclass(model, other))
    ]


def _raw_states(model: type[Model], wanted: Callable[[object], bool]) -> list[Any]:
    """Return the values of the column ``state`` that mean one of the wanted states: words, or the classic numbers."""
    if isinstance(model._meta.get_field("state"), IntegerField):
        return [number for number in INTEGER_STATES if wanted(number)]
    return [str(word) for word in INTEGER_STATES.values() if wanted(word)]


def _pk_text(model: type[Model], alias: str) -> Combinable:
    """Return an expression for the primary key as it stands in a reference."""
    field: Any = model._meta.pk
    while field.remote_field is not None:
        field = field.target_field
    if isinstance(field, UUIDField) and not connections[alias].features.has_native_uuid_field:
        # Stored as 32 digits; a reference has it with hyphens.
        text = Cast("pk", CharField())
        parts = [Substr(text, at, length) for at, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
        return Concat(parts[0], *(piece for part in parts[1:] for piece in (Value("-"), part)))
    return Cast("pk", CharField())


@_rule
def _promises_without_work(alias: str) -> Iterator[Violation]:
    for model in _stateful_models(alias):
        holding = Operation.objects.filter(_OPEN, pk=OuterRef("operation_id"))
        rows = model._base_manager.using(alias).filter(state__in=_raw_states(model, is_transitional))
        rows = rows.annotate(_text=_pk_text(model, alias))
        for label in _labels(model):
            claims = Claim.objects.filter(Exists(holding), resource=Concat(Value(f"{label}:"), OuterRef("_text")))
            rows = rows.exclude(Exists(claims))
        for pk, state in rows.order_by().values_list("pk", "state")[:_MOST]:
            yield Violation(
                "C1",
                f"is {_word(state)}, but no open operation holds it: nobody works on it. "
                "Was it changed by hand, or saved without execute()? Execute an operation on it, or set the true state",
                resource=f"{model._meta.label_lower}:{pk}",
            )


@_rule
def _scheduled_and_begun(alias: str) -> Iterator[Violation]:
    for model in _stateful_models(alias):
        label = model._meta.label_lower
        begins = [
            When(state__in=_raw_states(model, lambda state, old=old: resource_state(state) == old), then=Value(name))  # type: ignore[misc]
            for name, moves in RESOURCE_TRANSITIONS.items()
            for old, _ in moves
            if name.startswith("begin_")
        ]
        rows = model._base_manager.using(alias).filter(state__in=_raw_states(model, is_scheduled))
        rows = rows.annotate(_text=_pk_text(model, alias), _begin=Case(*begins, output_field=CharField()))
        on_it = {"resource_type__app_label": model._meta.app_label, "resource_type__model": model._meta.model_name}
        # A nested one on the same resource has scheduled it again.
        newer = Operation.objects.filter(
            _OPEN,
            resource_pk=OuterRef("operation__resource_pk"),
            created_at__gt=OuterRef("operation__created_at"),
            **on_it,
        )
        steps: Any = Step.objects.annotate(
            _transition=Cast(KeyTextTransform("state_transition", "kwargs"), CharField()),
            _target=Cast(KeyTextTransform("0", "args"), CharField()),
        )
        begun = steps.filter(
            Q(state__in=_DONE) | Q(state__in=(StepState.RUNNING, StepState.WAITING), began=True),
            ~Exists(newer),
            operation__state__in=OPEN_OPERATION_STATES,
            operation__resource_pk=OuterRef("_text"),
            _transition=OuterRef("_begin"),
            _target=Concat(Value(f"{label}:"), OuterRef("_text")),
            **{f"operation__{column}": value for column, value in on_it.items()},
        )
        for pk, state in rows.filter(Exists(begun)).order_by().values_list("pk", "state")[:_MOST]:
            yield Violation(
                "C2",
                f"is still {_word(state)}, although the step that begins has run. Was it changed by hand? "
                "Set the state back, or cancel the operation",
                resource=f"{label}:{pk}",
            )


def _word(state: object) -> str:
    known = resource_state(state)
    return known.label if known is not None else str(state)


# -- claims -----------------------------------------------------------------------------------------------------------


@_rule
def _claims_of_nobody(alias: str) -> Iterator[Violation]:
    holder = Operation.objects.filter(_OPEN, pk=OuterRef("operation_id"), root_id=OuterRef("operation_id"))
    # One with an end is a background task's: no operation, and it frees itself.
    claims = Claim.objects.using(alias).filter(~Exists(holder), expires_at=None)
    for resource, operation_id in claims.order_by().values_list("resource", "operation_id")[:_MOST]:
        yield Violation(
            "C3",
            f"is held by operation {operation_id}, which is not open: every new operation on it is refused. "
            "Delete this row of the claims",
            operation_id,
            resource,
        )


def _reference(prefix: str = "") -> Concat:
    """Return an expression for the reference of an operation's resource."""
    return Concat(
        f"{prefix}resource_type__app_label",
        Value("."),
        f"{prefix}resource_type__model",
        Value(":"),
        f"{prefix}resource_pk",
    )


def _exclusive(alias: str) -> Any:
    """Return the open operations that keep others off their resource, as far as this code knows their executors."""
    open_ones = Operation.objects.using(alias).filter(_OPEN).exclude(resource_type=None).exclude(executor="")
    names = [
        name
        for name in open_ones.order_by().values_list("executor", flat=True).distinct()
        if getattr(registry.find_executor(name), "exclusive", False)
    ]
    return open_ones.filter(executor__in=names).annotate(_reference=_reference())


@_rule
def _exclusive_without_claim(alias: str) -> Iterator[Violation]:
    # Opened in one of its steps, an operation takes the claim over and waits until the opener has ended.
    follower = Operation.objects.filter(
        _OPEN, pk=OuterRef("operation_id"), parent_step=None, parent__root_id=OuterRef(OuterRef("root_id"))
    )
    claims = Claim.objects.filter(
        Q(operation_id=OuterRef("root_id")) | Exists(follower), resource=OuterRef("_reference")
    )
    rows = _exclusive(alias).filter(~Exists(claims))
    for pk, reference in rows.order_by().values_list("pk", "_reference")[:_MOST]:
        yield Violation(
            "C4",
            "the operation works on a resource that it does not hold, so another may be opened beside it. Cancel one of them",
            pk,
            reference,
        )


@_rule
def _two_on_one(alias: str) -> Iterator[Violation]:
    rows = _exclusive(alias)
    other = (
        rows.filter(resource_type=OuterRef("resource_type"), resource_pk=OuterRef("resource_pk"), pk__lt=OuterRef("pk"))
        .exclude(root_id=OuterRef("root_id"))
        # One that was opened in a step of the other waits for its end.
        .exclude(root_id=Coalesce(OuterRef("parent__root_id"), OuterRef("pk")))
        .exclude(Q(parent__isnull=False) & Q(parent__root_id=OuterRef("root_id")))
    )
    found = rows.filter(Exists(other))
    for pk, reference in found.order_by().values_list("pk", "_reference")[:_MOST]:
        yield Violation("C11", "an older open operation works on the same resource. Cancel one of them", pk, reference)


# -- operations -------------------------------------------------------------------------------------------------------


def _each(rule: str, rows: QuerySet[Operation], text: str) -> Iterator[Violation]:
    columns = ("pk", "state", "resource_type", "_label")
    for pk, state, resource_type, reference in (
        rows.annotate(_label=_reference()).order_by().values_list(*columns)[:_MOST]
    ):
        label = OperationState(state).label if state in OperationState.values else state
        yield Violation(rule, text.format(state=label), pk, reference if resource_type else "")


@_rule
def _still_held(alias: str) -> Iterator[Violation]:
    idle = ~_OPEN | Q(state=OperationState.PAUSED)
    rows = Operation.objects.using(alias).filter(
        idle, ~Q(lease_owner="") | Q(due_at__isnull=False) | Q(nudge_at__isnull=False)
    )
    return _each(
        "C5",
        rows,
        "the operation is {state}, but has a lease or a timer. Empty lease_owner, due_at and nudge_at of its row",
    )


@_rule
def _never_moves(alias: str) -> Iterator[Violation]:
    opener = Operation.objects.filter(_OPEN, pk=OuterRef("parent_id"))
    rows = (
        Operation.objects.using(alias)
        .filter(_OPEN, Q(due_at=None) | Q(nudge_at=None))
        .exclude(state=OperationState.PAUSED)
        .exclude(Exists(opener), wait_kind=WaitKind.OPERATION, parent_step=None)
        .exclude(wait_kind=WaitKind.PARTS)
    )
    return _each("C6", rows, "the operation is {state} and has no timer: it would never move. Wake it, or cancel it")


@_rule
def _open_part_of_ended(alias: str) -> Iterator[Violation]:
    root = Operation.objects.filter(_OPEN, pk=OuterRef("root_id"))
    whole = Operation.objects.filter(_OPEN, pk=OuterRef("parent_id"))
    rows = (
        Operation.objects.using(alias)
        .filter(_OPEN)
        .exclude(root_id=F("pk"))
        .filter(~Exists(root) | (Q(parent_step__isnull=False) & ~Exists(whole)))
    )
    return _each("C7", rows, "the part is {state}, but the operation that it is part of has ended. Cancel it")


@_rule
def _parts_are_done(alias: str) -> Iterator[Violation]:
    open_parts = Operation.objects.filter(_OPEN, parent_id=OuterRef("pk"), parent_step__isnull=False)
    rows = Operation.objects.using(alias).filter(_OPEN, Q(due_at=None) | Q(nudge_at=None), wait_kind=WaitKind.PARTS)
    ended = rows.filter(~Exists(open_parts))
    yield from _each("C8", ended, "all parts have ended, and nothing wakes the operation. Wake it")
    # While parts are open, the timer is the floor under a lost wake.
    yield from _each("C6", rows.filter(Exists(open_parts)), "it waits for its parts without a timer. Wake it")


# -- steps ------------------------------------------------------------------------------------------------------------


@_rule
def _running_out_of_turn(alias: str) -> Iterator[Violation]:
    current = Operation.objects.filter(_OPEN, pk=OuterRef("operation_id"), position=OuterRef("position")).exclude(
        state=OperationState.SCHEDULED
    )
    steps = Step.objects.using(alias).filter(~Exists(current), state=StepState.RUNNING)
    for operation_id, position in steps.order_by().values_list("operation_id", "position")[:_MOST]:
        yield Violation(
            "C12",
            f"step {position + 1} is running, but the operation has ended, has not begun, or stands at another step. "
            "Find out what the step did, and set its state",
            operation_id,
        )


@_rule
def _stands_nowhere(alias: str) -> Iterator[Violation]:
    own = Step.objects.filter(operation_id=OuterRef("pk"))
    before = own.filter(position=OuterRef("position") - 1)
    undone = own.filter(phase=StepPhase.MAIN, position__lt=OuterRef("position")).exclude(state__in=_DONE)
    rows = Operation.objects.using(alias).filter(
        (Q(position__gt=0) & ~Exists(before)) | (Q(phase__in=(StepPhase.MAIN, StepPhase.SUCCESS)) & Exists(undone)),
        _OPEN,
    )
    return _each("C13", rows, "the operation stands behind its steps, or behind one that is not done. Cancel it")


@_rule
def _succeeded_without_doing(alias: str) -> Iterator[Violation]:
    steps = (
        Step.objects.using(alias)
        .filter(phase__in=(StepPhase.MAIN, StepPhase.SUCCESS), operation__state=OperationState.SUCCEEDED)
        .exclude(state__in=_DONE)
    )
    for operation_id, position, state in steps.order_by().values_list("operation_id", "position", "state")[:_MOST]:
        yield Violation(
            "C14",
            f"the operation succeeded, but its step {position + 1} is {state}. Find out whether it has happened",
            operation_id,
        )


# -- throttles --------------------------------------------------------------------------------------------------------


@_rule
def _slots_of_nobody(alias: str) -> Iterator[Violation]:
    rows = Slot.objects.using(alias).exclude(operation__state__in=OPEN_OPERATION_STATES)
    for operation_id, resource, key in rows.order_by().values_list("operation_id", "resource", "throttle_id")[:_MOST]:
        yield Violation(
            "C9",
            f"has a place under {key}, but its operation has ended: the place is lost to others. Delete this row of slots",
            operation_id,
            resource,
        )


@_rule
def _too_many_slots(alias: str) -> Iterator[Violation]:
    throttles = (
        Slot.objects.using(alias)
        .filter(held=True)
        .order_by()
        .values("throttle_id")
        .annotate(count=Count("pk"), row_limit=Max("throttle__limit"), limit=Coalesce("row_limit", Max("limit")))
        .filter(count__gt=F("limit"))
    )
    for row in throttles[:_MOST]:
        yield Violation(
            "C10",
            f"{row['count']} slots of {row['throttle_id']} are held, the limit is {row['limit']}. "
            "If a person has just lowered it, wait until some have ended; else report this",
            # A limit set by hand may have been higher when the slots were given.
            is_warning=row["row_limit"] is not None,
        )


# -- nobody works -----------------------------------------------------------------------------------------------------


@_rule
def _overdue(alias: str) -> Iterator[Violation]:
    patience = settings.LEASE_SECONDS + _OVERDUE_SECONDS
    rows = (
        Operation.objects.using(alias)
        .filter(_OPEN, due_at__lt=clock.from_now(-patience))
        .exclude(state=OperationState.PAUSED)
        .order_by()
        .values("queue")
        .annotate(count=Count("pk"), first=Min("due_at"))
    )
    for row in rows:
        yield Violation(
            "C15",
            f"{row['count']} operations of queue {row['queue']} have been due for more than {patience:.0f} s, the first "
            f"since {row['first']:%Y-%m-%d %H:%M:%S%z}. Does a worker of this queue run, and can it keep up?",
            is_warning=True,
        )
