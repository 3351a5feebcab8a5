"""Operations that create a resource."""

from __future__ import annotations

from typing import Any

from ..states import ResourceState
from .base import BaseExecutor, ErrorExecutorMixin, SuccessExecutorMixin, require_state

__all__ = ["CreateExecutor"]


class CreateExecutor(SuccessExecutorMixin, ErrorExecutorMixin, BaseExecutor):
    """Creates a resource whose row is "creation scheduled": OK on success, erred on failure."""

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        require_state(instance, "begin_creating", (ResourceState.CREATION_SCHEDULED, 5))
