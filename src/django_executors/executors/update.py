"""Operations that bring changed fields of a row to the cloud."""

from __future__ import annotations

from typing import Any

from ..exceptions import PlanError
from .base import BaseExecutor, ErrorExecutorMixin, SuccessExecutorMixin, transition

__all__ = ["UpdateExecutor"]


class UpdateExecutor(SuccessExecutorMixin, ErrorExecutorMixin, BaseExecutor):
    """Updates a resource: scheduled when opened, OK on success, erred on failure. ``updated_fields`` is required."""

    @classmethod
    def check_arguments(cls, instance: Any, /, **kwargs: Any) -> None:
        fields = kwargs.get("updated_fields")
        if fields is None or isinstance(fields, str) or not hasattr(fields, "__iter__"):
            raise PlanError(
                f"{cls.__name__}.execute() needs updated_fields=[...], the names of the fields that changed"
            )

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        transition(instance, "schedule_updating")
