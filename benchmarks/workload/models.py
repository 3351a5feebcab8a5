"""The resource that every rival works on."""

from __future__ import annotations

from django.db import models

from django_executors.models import StateMixin

__all__ = ["Item"]


class Item(StateMixin, models.Model):
    """A row as an application has it: a name, a state, and the column that each step changes."""

    name = models.CharField(max_length=50)
    value = models.IntegerField(default=0, help_text="Number of steps that have run.")
    first_step_at = models.FloatField(default=0.0, help_text="When the first step began, seconds since the epoch.")

    def __str__(self) -> str:
        return self.name
