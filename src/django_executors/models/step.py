"""Steps of an operation, and those attempts that did not succeed."""

from __future__ import annotations

import uuid

from django.db import models

from ..states import StepPhase, StepState

__all__ = ["Attempt", "Step"]


class StepKind(models.TextChoices):
    """What a step is."""

    TASK = "task", "a Celery task"
    PARALLEL = "parallel", "parallel branches and their join"
    OPERATION = "operation", "a nested operation on a resource of its own"


class Step(models.Model):
    """One part of an operation's plan. The plan is data: it survives a deploy that changes the executor."""

    Kind = StepKind

    operation = models.ForeignKey("django_executors.Operation", on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    phase = models.CharField(max_length=16, choices=StepPhase.choices, default=StepPhase.MAIN)
    kind = models.CharField(max_length=16, choices=StepKind.choices, default=StepKind.TASK)

    task = models.CharField(max_length=255, blank=True, default="")
    args = models.JSONField(default=list)
    kwargs = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    takes_result = models.BooleanField(default=False, help_text="Whether the previous result comes first (.s()).")
    plan = models.JSONField(null=True, help_text="Branches, or the plan of the nested operation.")
    compensate = models.JSONField(null=True, help_text="The task that undoes this step.")

    state = models.CharField(max_length=16, choices=StepState.choices, default=StepState.PENDING)
    began = models.BooleanField(default=False, help_text="Its state transition was committed.")
    attempts = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0, help_text="Retries after an error, as Celery counts them.")
    polls = models.PositiveIntegerField(default=0, help_text="Looks that found it not ready.")
    started_at = models.DateTimeField(null=True)
    attempted_at = models.DateTimeField(null=True, help_text="Start of the latest attempt.")
    finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "position"], name="executors_step_position")]
        ordering = ["operation", "position"]

    def __str__(self) -> str:
        return f"{self.position}: {self.name}"

    @property
    def name(self) -> str:
        """A short name for people: the backend method or the transition where there is one, else the task."""
        if isinstance(self.options.get("title"), str):
            return str(self.options["title"])
        if self.kind == StepKind.PARALLEL:
            return f"{len(self.plan or [])} in parallel"
        if self.kind == StepKind.OPERATION:
            return str((self.plan or {}).get("title", "nested operation"))
        for key in ("backend_method", "backend_pull_method", "backend_check_method"):
            if isinstance(self.kwargs.get(key), str):
                return str(self.kwargs[key])
        # The backend method may also stand second, behind the reference.
        if len(self.args) > 1 and ":" in str(self.args[0]) and str(self.args[1]).isidentifier():
            return str(self.args[1])
        return str(self.kwargs.get("state_transition") or self.task.rpartition(".")[2])

    @property
    def tries(self) -> int:
        """How often it was tried; looks that only found it not ready do not count."""
        return max(0, self.attempts - self.polls)

    @property
    def idempotency_key(self) -> str:
        """The key that every attempt of this step hands to the cloud; see DESIGN D6."""
        return f"ex-{uuid.uuid5(self.operation_id, str(self.position)).hex}"


class Attempt(models.Model):
    """One run of a step that failed or was taken over; a run that succeeded is in the step itself."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="attempt_rows")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField()
    worker = models.CharField(max_length=120, blank=True, default="")
    outcome = models.CharField(max_length=24, help_text='"failed", "retried", "uncertain" or "taken over".')
    error_class = models.CharField(max_length=255, blank=True, default="")
    error = models.TextField(blank=True, default="")
    traceback = models.TextField(blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["step", "number"], name="executors_attempt_step")]
        ordering = ["step", "number", "id"]

    def __str__(self) -> str:
        return f"attempt {self.number} of step {self.step_id}: {self.outcome}"
