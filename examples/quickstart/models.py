"""A resource, its backend and two operations: the whole pattern in thirty lines."""

from celery import chain
from django.db import models

from django_executors import executors, tasks
from django_executors.models import BackendMixin, ErrorMessageMixin, RuntimeStateMixin, StateMixin


class Volume(StateMixin, RuntimeStateMixin, ErrorMessageMixin, BackendMixin, models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name

    def get_backend(self) -> "Storage":
        return Storage()


class Storage:
    """The only code that talks to the cloud; every method may run twice."""

    def create_volume(self, volume: Volume) -> None:
        volume.backend_id = f"vol-{volume.pk}"  # ask the cloud here, with current_step().idempotency_key
        volume.save(update_fields=["backend_id"])

    def pull_runtime_state(self, volume: Volume) -> None:
        volume.runtime_state = "available"  # read it from the cloud here
        volume.save(update_fields=["runtime_state"])


class VolumeCreateExecutor(executors.CreateExecutor):
    """Create a volume and wait until it is available."""

    @classmethod
    def get_task_signature(cls, volume, serialized_volume, **kwargs):
        return chain(
            tasks.ThrottleProvisionTask().si(serialized_volume, "create_volume", state_transition="begin_creating"),
            tasks.PollRuntimeStateTask().si(serialized_volume, "pull_runtime_state", success_state="available"),
        )
