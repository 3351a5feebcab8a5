"""What can be done with a security group."""

from __future__ import annotations

from typing import Any

from celery import chain

from django_executors import executors, tasks

from ..models import SecurityGroup

__all__ = [
    "SecurityGroupCreateExecutor",
    "SecurityGroupDeleteExecutor",
    "SecurityGroupPullExecutor",
    "SecurityGroupPushRulesExecutor",
]


class SecurityGroupCreateExecutor(executors.CreateExecutor):
    """Create a security group with its rules."""

    @classmethod
    def get_task_signature(cls, security_group: SecurityGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.BackendMethodTask().si(serialized_group, "create_security_group", state_transition="begin_creating"),
            tasks.BackendMethodTask().si(serialized_group, "push_security_group_rules"),
        )


class SecurityGroupPushRulesExecutor(executors.ActionExecutor):
    """Make the rules in the cloud those of the rows."""

    action = "Push rules"

    @classmethod
    def get_task_signature(cls, security_group: SecurityGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(
            serialized_group, "push_security_group_rules", state_transition="begin_updating"
        )


class SecurityGroupPullExecutor(executors.ActionExecutor):
    """Read a security group and its rules from the cloud into their rows."""

    action = "Pull"

    @classmethod
    def get_task_signature(cls, security_group: SecurityGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_group, "pull_security_group", state_transition="begin_updating")


class SecurityGroupDeleteExecutor(executors.DeleteExecutor):
    """Delete a security group that no port uses any more."""

    @classmethod
    def get_task_signature(cls, security_group: SecurityGroup, serialized_group: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(
            serialized_group, "delete_security_group", state_transition="begin_deleting"
        )
