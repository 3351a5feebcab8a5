"""Uses the public names the way a project does. Type-checked by ``make lint``, never run."""

from __future__ import annotations

from typing import Any, assert_type
from uuid import UUID

from celery import chain, group, shared_task
from celery.canvas import Signature
from django.db import models

from django_executors import executors, tasks
from django_executors.context import StepContext, current_step
from django_executors.engine import actions
from django_executors.exceptions import BackendRejected, BackendThrottled, OperationConflict, OutcomeUnknown
from django_executors.models import BackendMixin, ErrorMessageMixin, Operation, RuntimeStateMixin, StateMixin
from django_executors.references import deserialize, register, serialize
from django_executors.states import OperationState, ResourceState


class Backend:
    def create_disk(self, disk: Disk) -> None:
        step = current_step()
        assert_type(step, StepContext)
        assert_type(step.idempotency_key, str)
        assert_type(step.outcome_unknown, bool)
        step.ensure_lease()
        raise BackendThrottled("slow down", retry_after=5.0, service="block-storage")

    @tasks.not_repeatable
    def charge(self, disk: Disk, amount: int) -> str:
        raise OutcomeUnknown("no answer", findable=False)


class Disk(StateMixin, RuntimeStateMixin, ErrorMessageMixin, BackendMixin, models.Model):
    def get_backend(self) -> Backend:
        return Backend()

    class Meta:
        app_label = "typing"


@register
class Legacy(models.Model):
    state = models.IntegerField(default=5)

    class Meta:
        app_label = "typing"


class GrowTask(tasks.BackendMethodTask):
    max_retries = 3
    deadline = 600.0

    def pre_execute(self, instance: Any) -> None:
        self.kwargs["amount"] = 1
        super().pre_execute(instance)


@shared_task
def tell(word: str) -> str:
    return word


class DiskCreateExecutor(executors.CreateExecutor):
    on_failure = "compensate"

    @classmethod
    def get_task_signature(cls, instance: Disk, serialized_instance: str, /, **kwargs: Any) -> Any:
        return chain(
            tasks.ThrottleProvisionTask().si(serialized_instance, "create_disk", state_transition="begin_creating"),
            group(tell.si("a"), tell.si("b").set(queue="heavy", countdown=60)),
            GrowTask().si(serialized_instance, "charge"),
            DiskUpdateExecutor.as_signature(instance, updated_fields=["size"]),
        )


class DiskUpdateExecutor(executors.UpdateExecutor):
    @classmethod
    def get_task_signature(cls, instance: Disk, serialized_instance: str, /, **kwargs: Any) -> Any:
        return tasks.EmptyTask()


class DiskDeleteExecutor(executors.DeleteExecutor):
    @classmethod
    def get_task_signature(cls, instance: Disk, serialized_instance: str, /, **kwargs: Any) -> Any:
        return tasks.BackendMethodTask().si(serialized_instance, "create_disk")


class ResizeExecutor(executors.ActionExecutor):
    action = "Resize"

    @classmethod
    def get_action_details(cls, instance: Disk, /, **kwargs: Any) -> dict[str, Any]:
        return {"size": kwargs["size"]}


def use(disk: Disk) -> None:
    operation = DiskCreateExecutor.execute(disk, actor="joe", idempotency_key="k", countdown=5, size=3)
    assert_type(operation, Operation)
    assert_type(operation.pk, UUID)
    assert_type(operation.why(), str)
    assert_type(operation.is_open, bool)
    assert_type(DiskDeleteExecutor().execute(disk, is_async=False, force=True), Operation)
    assert_type(DiskUpdateExecutor.as_signature(disk, updated_fields=[]), Signature[Any])
    assert_type(actions.cancel(operation, actor="joe", reason="r"), Operation)
    assert_type(actions.retry_from(operation.pk, 3), Operation)
    assert_type(actions.skip(str(operation.pk), reason="r"), Operation)
    assert_type(actions.wake(operation), None)
    assert_type(serialize(disk), str)
    assert_type(deserialize("typing.disk:1"), Any)
    assert_type(ResourceState(disk.state), ResourceState)
    assert_type(OperationState(operation.state), OperationState)
    disk.begin_creating()
    try:
        DiskDeleteExecutor.execute(disk)
    except OperationConflict as conflict:
        assert_type(conflict.resource, str)
    except BackendRejected as rejected:
        assert_type(rejected.status, int | None)
