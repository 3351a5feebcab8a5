"""The steps of operations, as Celery tasks. Combine them in executors; do not schedule them from views."""

from .backend import BackendMethodTask, IndependentBackendMethodTask, RetryUntilAvailableTask, not_repeatable
from .background import BackgroundListPullTask, BackgroundPullTask, BackgroundTask
from .base import EmptyTask, ExtensionTaskMixin, Task
from .errors import ErrorMessageTask, ErrorStateTransitionTask
from .polling import PollBackendCheckTask, PollRuntimeStateTask, PollStateTask
from .states import DeletionTask, RecoverTask, RuntimeStateChangeTask, StateTransitionTask
from .throttling import ThrottleProvisionStateTask, ThrottleProvisionTask

__all__ = [
    "BackendMethodTask",
    "BackgroundListPullTask",
    "BackgroundPullTask",
    "BackgroundTask",
    "DeletionTask",
    "EmptyTask",
    "ErrorMessageTask",
    "ErrorStateTransitionTask",
    "ExtensionTaskMixin",
    "IndependentBackendMethodTask",
    "PollBackendCheckTask",
    "PollRuntimeStateTask",
    "PollStateTask",
    "RecoverTask",
    "RetryUntilAvailableTask",
    "RuntimeStateChangeTask",
    "StateTransitionTask",
    "Task",
    "ThrottleProvisionStateTask",
    "ThrottleProvisionTask",
    "not_repeatable",
]
