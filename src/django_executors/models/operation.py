"""The operation: one execution of an executor on a resource."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models

from ..ids import uuid7
from ..statements import fetch
from ..states import OPEN_OPERATION_STATES, OperationState, StepPhase, WaitKind
from .why import explain

__all__ = ["Claim", "Operation"]


class Operation(models.Model):
    """One execution of an executor; the row is the queue entry, the lease, the timer and the truth.

    ``due_at`` is when somebody should act: the moment of opening, the end of a wait, or, while a worker holds the
    operation, the end of its lease. So one condition, ``due_at <= now``, covers new, timed and abandoned work.
    ``nudge_at`` is when the dispatcher sends the next message about it. Both are null when nothing is to be done.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    executor = models.CharField(
        max_length=255, help_text="Registered name of the executor, empty for a parallel branch."
    )
    title = models.CharField(max_length=255, blank=True, default="")

    resource_type = models.ForeignKey(ContentType, on_delete=models.CASCADE, null=True, related_name="+")
    resource_pk = models.CharField(max_length=64, blank=True, default="")
    resource_label = models.CharField(max_length=255, blank=True, default="")
    resource_state_before = models.JSONField(
        null=True, help_text="State before the operation was opened; a cancellation before the start returns to it."
    )
    resource_state_at_failure = models.JSONField(
        null=True, help_text="State when the failing step ran; a resume goes on from it."
    )
    settled = models.JSONField(
        default=dict,
        blank=True,
        help_text="Resources of nested operations that the end made erred before their turn, and the state they had.",
    )

    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")
    parent_step = models.ForeignKey("django_executors.Step", on_delete=models.CASCADE, null=True, related_name="parts")
    branch = models.PositiveIntegerField(default=0, help_text="Which of its parent step's parts this is, from 0.")
    root_id = models.UUIDField(help_text="Id of the outermost operation, whose claims hold the resources.")

    input = models.JSONField(null=True, help_text='What the first step of a branch is given: {"value": …}, or null.')

    state = models.CharField(max_length=24, choices=OperationState.choices, default=OperationState.SCHEDULED)
    phase = models.CharField(max_length=16, choices=StepPhase.choices, default=StepPhase.MAIN)
    position = models.PositiveIntegerField(default=0, help_text="Position of the current step.")
    version = models.PositiveBigIntegerField(default=0, help_text="Raised by every commit of the driving worker.")
    signals = models.PositiveBigIntegerField(default=0, help_text="Raised by everybody else who wants attention.")

    queue = models.CharField(max_length=100)
    priority = models.SmallIntegerField(null=True)
    is_heavy = models.BooleanField(default=False)
    time_limit = models.FloatField(null=True, help_text="Hard limit of the message the next step needs, seconds.")
    soft_time_limit = models.FloatField(null=True, help_text="Soft limit likewise, seconds.")

    lease_owner = models.CharField(max_length=120, blank=True, default="")
    lease_token = models.PositiveBigIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    nudge_at = models.DateTimeField(null=True)
    nudges = models.PositiveSmallIntegerField(default=0)
    takeovers = models.PositiveIntegerField(default=0, help_text="Takeovers since the last finished step.")

    wait_kind = models.CharField(max_length=16, choices=WaitKind.choices, blank=True, default="")
    wait_reason = models.TextField(blank=True, default="")
    wait_key = models.CharField(max_length=255, blank=True, default="")

    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    on_failure = models.CharField(max_length=16, blank=True, default="", help_text='"compensate", or empty.')

    actor = models.CharField(max_length=150, blank=True, default="")
    idempotency_key = models.CharField(max_length=255, null=True, unique=True)
    trace_context = models.JSONField(default=dict, blank=True)

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error = models.TextField(blank=True, default="")
    error_traceback = models.TextField(blank=True, default="")

    class Meta:
        indexes = [
            models.Index(fields=["nudge_at"], name="executors_op_nudge"),
            models.Index(fields=["resource_type", "resource_pk", "created_at"], name="executors_op_resource"),
            models.Index(fields=["state", "created_at"], name="executors_op_state"),
            models.Index(fields=["root_id"], name="executors_op_root"),
        ]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.title or f"{self.executor} {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether the operation has not ended yet."""
        return self.state in OPEN_OPERATION_STATES

    @property
    def is_root(self) -> bool:
        """Whether the operation is not part of another one."""
        return self.root_id == self.pk

    @property
    def resource(self) -> Any:
        """The resource's row, or None when it is gone or the operation has none."""
        if self.resource_type_id is None:
            return None
        model = ContentType.objects.get_for_id(self.resource_type_id).model_class()
        if model is None:
            return None
        return next(fetch(model, **{model._meta.pk.name: self.resource_pk}), None)

    def why(self) -> str:
        """Say in one line what the operation does, or why it does not move."""
        return explain(self)


class Claim(models.Model):
    """A resource that is held by an open operation; the unique key is what makes it exclusive.

    A row of its own instead of a partial unique constraint on operations: MariaDB has no such constraint, and an
    operation also holds the resources of the operations nested in its plan, from the moment it is opened.
    """

    resource = models.CharField(max_length=255, primary_key=True, help_text='Reference, "app_label.model:pk".')
    operation_id = models.UUIDField(help_text="Outermost operation that holds it.")
    expires_at = models.DateTimeField(null=True, help_text="Only for background tasks: when another may take it.")

    class Meta:
        indexes = [models.Index(fields=["operation_id"], name="executors_claim_op")]

    def __str__(self) -> str:
        return f"{self.resource} held by {self.operation_id}"
