"""Resources of the tests: one with our mixins, one with a state machine of its own, one without states."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django_fsm import FSMIntegerField, transition

from django_executors.models import ActionMixin, BackendMixin, ErrorMessageMixin, RuntimeStateMixin, StateMixin
from django_executors.references import register


class ToyCloud:
    """A backend that keeps its objects in a table, so that other processes see them, and does as a test tells it."""

    behaviour: ClassVar[dict[str, Any]] = {}

    def _behave(self, method: str, instance: models.Model, *args: Any) -> Any:
        Call.objects.create(method=method, resource=f"{instance._meta.label_lower}:{instance.pk}", args=list(args))
        what = self.behaviour.get(method)
        if callable(what):
            return what(instance, *args)
        if isinstance(what, Exception):
            raise what
        return what

    def create_box(self, box: Box) -> None:
        self._behave("create_box", box)
        box.backend_id = f"cloud-{box.pk}"
        box.save(update_fields=["backend_id"])

    def delete_box(self, box: Box) -> None:
        self._behave("delete_box", box)

    def pull_box(self, box: Box) -> None:
        self._behave("pull_box", box)

    def pull_runtime_state(self, box: Box) -> None:
        state = self._behave("pull_runtime_state", box)
        box.runtime_state = state or "ACTIVE"
        box.save(update_fields=["runtime_state"])

    def is_deleted(self, box: Box) -> bool:
        return self._behave("is_deleted", box) is not False

    def touch(self, box: Box, *args: Any, **kwargs: Any) -> Any:
        return self._behave("touch", box, *args, *kwargs.values())


class Call(models.Model):
    """One call that the toy cloud got."""

    method = models.CharField(max_length=50)
    resource = models.CharField(max_length=100)
    args = models.JSONField(default=list)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.method} {self.resource} {self.args}"


class Box(StateMixin, RuntimeStateMixin, ActionMixin, ErrorMessageMixin, BackendMixin, models.Model):
    """A resource with all the mixins."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name

    def get_backend(self) -> ToyCloud:
        return ToyCloud()


@register
class Legacy(models.Model):
    """A project with integer states and django-fsm, as the classic pattern has them."""

    state = FSMIntegerField(default=5)
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name

    @transition(field=state, source=5, target=6)
    def begin_creating(self) -> None: ...

    @transition(field=state, source=[3, 4], target=1)
    def schedule_updating(self) -> None: ...

    @transition(field=state, source=1, target=2)
    def begin_updating(self) -> None: ...

    @transition(field=state, source=[3, 4], target=7)
    def schedule_deleting(self) -> None: ...

    @transition(field=state, source=7, target=8)
    def begin_deleting(self) -> None: ...

    @transition(field=state, source="*", target=3)
    def set_ok(self) -> None: ...

    @transition(field=state, source="*", target=4)
    def set_erred(self) -> None: ...

    @transition(field=state, source=4, target=3)
    def recover(self) -> None: ...


@register
class Note(models.Model):
    """A resource without states."""

    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"note {self.pk}"


class Stranger(models.Model):
    """Not a resource: references to it are refused."""

    def __str__(self) -> str:
        return "stranger"


class Mark(models.Model):
    """Something that a step did, in order."""

    what = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.what
