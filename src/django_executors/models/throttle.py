"""How many resources may be created at once, who is creating, and who waits in line."""

from __future__ import annotations

from django.db import models

__all__ = ["Slot", "Throttle"]


class Throttle(models.Model):
    """The limit under one key, by default one per backend account and resource type.

    The row is also the lock: slots under a key change only in a transaction that has updated this row first.
    """

    key = models.CharField(max_length=255, primary_key=True)
    limit = models.PositiveIntegerField(
        null=True, help_text="Set by a person; null: the limit that the step brings along."
    )
    turn = models.PositiveBigIntegerField(default=0, help_text="Raised by every change; updating it takes the lock.")

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Slot(models.Model):
    """A place under a throttle, held or waited for; first come, first served by id."""

    throttle = models.ForeignKey(Throttle, on_delete=models.CASCADE, related_name="slots")
    resource = models.CharField(max_length=255, help_text="Reference of the resource that is created.")
    operation = models.ForeignKey("django_executors.Operation", on_delete=models.CASCADE, related_name="slots")
    held = models.BooleanField(default=False)
    limit = models.PositiveIntegerField(help_text="The limit that the waiting step brought along.")
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["throttle", "resource"], name="executors_slot_resource")]
        indexes = [models.Index(fields=["throttle", "held", "id"], name="executors_slot_line")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.resource} {'holds' if self.held else 'waits for'} {self.throttle_id}"
