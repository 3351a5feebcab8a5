"""Mixins for the rows that mirror external things.

The engine itself needs only the protocol: an attribute ``state`` and methods with the names of the transitions. A
project with state machines of its own (integer states, django-fsm) can use it without these mixins, see
`django_executors.references.register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models.signals import post_save, pre_save

from ..exceptions import TransitionNotAllowed
from ..states import RESOURCE_TRANSITIONS, ResourceState, transition_target

__all__ = ["ActionMixin", "BackendMixin", "ErrorMessageMixin", "ResourceBase", "RuntimeStateMixin", "StateMixin"]


class ResourceBase(models.Model):
    """Marks a model as a resource: references to it may be resolved (`django_executors.references`)."""

    class Meta:
        abstract = True


def _transition(name: str) -> Callable[[Any], None]:
    allowed = tuple(old for old, _ in RESOURCE_TRANSITIONS[name])

    def transition(self: StateMixin) -> None:
        target = transition_target(name, self.state)
        if target is None:
            raise TransitionNotAllowed(str(self), self.state, name, allowed)
        self.state = target

    transition.__name__ = name
    transition.__qualname__ = f"StateMixin.{name}"
    transition.__doc__ = (
        f"Set the state in memory, from {', '.join(allowed)}; the caller saves.\n\n"
        "Raises:\n    TransitionNotAllowed: The state in memory is another one."
    )
    return transition


class StateMixin(ResourceBase):
    """The life of a resource in eight states; the moves between them are in `django_executors.states`."""

    States = ResourceState

    state = models.CharField(max_length=24, choices=ResourceState.choices, default=ResourceState.CREATION_SCHEDULED)

    class Meta:
        abstract = True

    begin_creating = _transition("begin_creating")
    schedule_updating = _transition("schedule_updating")
    begin_updating = _transition("begin_updating")
    schedule_deleting = _transition("schedule_deleting")
    begin_deleting = _transition("begin_deleting")
    set_ok = _transition("set_ok")
    set_erred = _transition("set_erred")
    recover = _transition("recover")


class ErrorMessageMixin(ResourceBase):
    """What went wrong last, in the cloud's own words; empty while all is well."""

    error_message = models.TextField(blank=True, default="")
    error_traceback = models.TextField(blank=True, default="")

    class Meta:
        abstract = True


class RuntimeStateMixin(ResourceBase):
    """The state in the cloud's own words, for example ``"ACTIVE"`` or ``"in-use"``."""

    runtime_state = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        abstract = True


class ActionMixin(ResourceBase):
    """What is being done to the resource right now, for people."""

    action = models.CharField(max_length=50, blank=True, default="")
    action_details = models.JSONField(default=dict, blank=True)

    class Meta:
        abstract = True


class BackendMixin(ResourceBase):
    """A resource that lives in a backend."""

    backend_id = models.CharField(max_length=255, blank=True, default="", db_index=True)

    class Meta:
        abstract = True

    def get_backend(self) -> Any:
        """Return the object whose methods talk to the cloud of this resource."""
        raise NotImplementedError(f"{type(self).__name__} must define get_backend()")

    def get_backend_key(self) -> str:
        """Return a short stable name of the account or cloud; throttles count per key and resource type."""
        return "default"

    def get_provision_limit(self) -> int | None:
        """Return how many resources of this type the backend may create at once, None for the default."""
        return None


def save_transition(instance: Any, transition: str, fields: tuple[str, ...] = ()) -> None:
    """Apply a transition and save it only if the row still has the state that was left.

    One guarded UPDATE: of two workers that move the same row from the same state, one wins. Signals ``pre_save`` and
    ``post_save`` are sent as by ``save(update_fields=…)``. Works for any model that has ``state`` and the transition
    method.

    Args:
        instance: The resource; its ``state`` changes in memory too, and is put back when the move is refused.
        transition: Name of the transition method, for example ``"begin_creating"``.
        fields: Further fields to save in the same UPDATE.

    Raises:
        TransitionNotAllowed: The move does not start from this state, or another writer was faster.
    """
    model = type(instance)
    old = instance.state
    try:
        getattr(instance, transition)()
    except Exception as exc:
        # A project with django-fsm brings an exception of its own for the same thing; the name is all they share.
        if type(exc).__name__ == "TransitionNotAllowed" and not isinstance(exc, TransitionNotAllowed):
            raise TransitionNotAllowed(str(instance), old, transition) from exc
        raise
    automatic = tuple(f.attname for f in model._meta.concrete_fields if getattr(f, "auto_now", False))
    names = tuple(dict.fromkeys(("state", *fields)))
    pre_save.send(sender=model, instance=instance, raw=False, using=instance._state.db, update_fields=frozenset(names))
    values: dict[str, Any] = {name: getattr(instance, name) for name in names}
    for name in automatic:
        values[name] = model._meta.get_field(name).pre_save(instance, False)
    rows = model._base_manager.filter(pk=instance.pk, state=old).update(**values)
    if rows == 0:
        found = model._base_manager.filter(pk=instance.pk).values_list("state", flat=True).first()
        instance.state = old
        raise TransitionNotAllowed(str(instance), "deleted" if found is None else found, transition)
    post_save.send(
        sender=model,
        instance=instance,
        created=False,
        raw=False,
        using=instance._state.db,
        update_fields=frozenset(names),
    )


def clear_error(instance: Any) -> tuple[str, ...]:
    """Blank the error texts of a resource in memory; return the names of the fields to save."""
    fields = tuple(name for name in ("error_message", "error_traceback") if hasattr(instance, name))
    for name in fields:
        setattr(instance, name, "")
    return fields
