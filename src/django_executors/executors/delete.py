"""Operations that delete a resource, in the cloud and then its row."""

from __future__ import annotations

from typing import Any

from .base import BaseExecutor, DeleteExecutorMixin, transition

__all__ = ["DeleteExecutor"]


class DeleteExecutor(DeleteExecutorMixin, BaseExecutor):
    """Deletes a resource: the row goes on success. On failure it stays, erred; with ``force=True`` it goes all the same."""

    @classmethod
    def pre_apply(cls, instance: Any, /, **kwargs: Any) -> None:
        transition(instance, "schedule_deleting")
