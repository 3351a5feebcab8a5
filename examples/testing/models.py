"""A resource, a fake of its backend, and the operation under test."""

from celery import Celery, chain
from django.db import models

from django_executors import executors, tasks
from django_executors.models import BackendMixin, ErrorMessageMixin, RuntimeStateMixin, StateMixin
from django_executors.testing import FakeBackend

app = Celery("testing", broker="memory://")
app.set_default()


class FakeStorage(FakeBackend):
    def create_volume(self, volume):
        made = self.create("create_volume", name=volume.name)
        volume.backend_id = made["id"]
        volume.save(update_fields=["backend_id"])

    def pull_runtime_state(self, volume):
        volume.runtime_state = self.request("show_volume", lambda: "available")
        volume.save(update_fields=["runtime_state"])


STORAGE = FakeStorage()


class Volume(StateMixin, RuntimeStateMixin, ErrorMessageMixin, BackendMixin, models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name

    def get_backend(self):
        return STORAGE


class VolumeCreateExecutor(executors.CreateExecutor):
    """Create a volume and wait until it is available."""

    @classmethod
    def get_task_signature(cls, volume, serialized_volume, **kwargs):
        return chain(
            tasks.BackendMethodTask().si(serialized_volume, "create_volume", state_transition="begin_creating"),
            tasks.PollRuntimeStateTask().si(serialized_volume, "pull_runtime_state", success_state="available"),
        )
