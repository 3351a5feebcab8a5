"""Executors describe logical operations; see `BaseExecutor`."""

from .action import ActionExecutor, RecoverExecutor
from .base import BaseExecutor, DeleteExecutorMixin, EmptyExecutor, ErrorExecutorMixin, SuccessExecutorMixin
from .cleanup import BaseCleanupExecutor
from .create import CreateExecutor
from .delete import DeleteExecutor
from .update import UpdateExecutor

__all__ = [
    "ActionExecutor",
    "BaseCleanupExecutor",
    "BaseExecutor",
    "CreateExecutor",
    "DeleteExecutor",
    "DeleteExecutorMixin",
    "EmptyExecutor",
    "ErrorExecutorMixin",
    "RecoverExecutor",
    "SuccessExecutorMixin",
    "UpdateExecutor",
]
