"""Deletes everything that belongs to a scope, in the order of dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from celery import chain, group

from .base import BaseExecutor

__all__ = ["BaseCleanupExecutor"]


class BaseCleanupExecutor(BaseExecutor):
    """Deletes a scope's resources, type by type; resources of one type in parallel.

    Attributes:
        executors: Pairs of a model and its delete executor, in the order in which they have to go.
        scope_field: Name of the field of these models that points to the scope.
    """

    executors: ClassVar[tuple[tuple[Any, type[BaseExecutor]], ...]] = ()
    scope_field: ClassVar[str] = ""

    @classmethod
    def get_resources(cls, model: Any, scope: Any) -> Iterable[Any]:
        """Return the resources of one type to delete."""
        return model.objects.filter(**{cls.scope_field: scope})  # type: ignore[no-any-return]

    @classmethod
    def get_task_signature(cls, instance: Any, serialized_instance: str, /, **kwargs: Any) -> Any:
        groups = []
        for model, executor in cls.executors:
            parts = [executor.as_signature(resource, **kwargs) for resource in cls.get_resources(model, instance)]
            if parts:
                groups.append(group(parts))
        return chain(*groups) if groups else None
