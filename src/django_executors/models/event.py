"""The append-only audit: what happened to an operation, and who wanted it."""

from __future__ import annotations

from django.db import models

__all__ = ["Event"]


class Event(models.Model):
    """One thing that happened; rows are only ever added.

    ``kind`` is dotted, for example ``"operation.opened"``, ``"attempt.failed"``, ``"command.cancel"``.
    """

    operation = models.ForeignKey("django_executors.Operation", on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=40)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, blank=True, default="")
    text = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes = [models.Index(fields=["operation", "id"], name="executors_event_op")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.text}".strip()
