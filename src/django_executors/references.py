"""Serialized references: ``"app_label.model:pk"`` and back to a row.

Only registered models can be resolved, so a message or a journal row can never make the engine load anything else.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model

from .exceptions import ReferenceNotAllowed, ResourceGone
from .models import ResourceBase
from .statements import fetch

__all__ = ["deserialize", "is_registered", "register", "serialize"]

_registered: set[type[Model]] = set()
_M = TypeVar("_M", bound=type[Model])


def register(model: _M) -> _M:
    """Allow references to a model that uses none of our mixins. Usable as a class decorator."""
    _registered.add(model)
    return model


def is_registered(model: type[Model]) -> bool:
    """Say whether references to this model may be resolved."""
    return issubclass(model, ResourceBase) or model in _registered


def serialize(instance: Model) -> str:
    """Return the reference of a saved row.

    Raises:
        ReferenceNotAllowed: The model is not registered, or the row has no primary key yet.
    """
    model = type(instance)
    if model._meta.proxy and model._meta.concrete_model is not None and not is_registered(model):
        model = model._meta.concrete_model
    if not is_registered(model):
        raise ReferenceNotAllowed(
            f"{model._meta.label} is not a resource model: use one of the mixins of django_executors.models, "
            "or decorate it with @django_executors.references.register"
        )
    if instance.pk is None:
        raise ReferenceNotAllowed(f"{model._meta.label} must be saved before it can be referred to")
    return f"{model._meta.label_lower}:{instance.pk}"


def resolve_model(reference: str) -> tuple[type[Model], str]:
    """Split a reference into its model and primary key, without a query.

    Raises:
        ReferenceNotAllowed: It is malformed, or its model is unknown or not registered.
    """
    label, colon, pk = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if not colon or not pk or label.count(".") != 1:
        raise ReferenceNotAllowed(f'{reference!r} is not a reference; its form is "app_label.model:pk"')
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as exc:
        raise ReferenceNotAllowed(f"{reference!r} names a model that is not installed") from exc
    if not is_registered(model):
        raise ReferenceNotAllowed(f"{reference!r} names a model that is not registered as a resource")
    return model, pk


def deserialize(reference: str) -> Any:
    """Load the row of a reference.

    Raises:
        ReferenceNotAllowed: As `resolve_model`.
        ResourceGone: The row is not there.
    """
    model, pk = resolve_model(reference)
    try:
        instance = next(fetch(model, **{model._meta.pk.name: pk}), None)
    except (ValueError, ValidationError) as exc:
        raise ReferenceNotAllowed(f"{reference!r} has a primary key that its model cannot have") from exc
    if instance is None:
        raise ResourceGone(f"{reference} is no longer in the database; was the row deleted by hand?")
    return instance
