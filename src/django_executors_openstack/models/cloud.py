"""An OpenStack installation."""

from __future__ import annotations

from django.db import models

from django_executors.models import ErrorMessageMixin, StateMixin

__all__ = ["Cloud"]


class Cloud(StateMixin, ErrorMessageMixin, models.Model):
    """One OpenStack region. Its address and credentials stay in ``clouds.yaml``; the row has only the name there."""

    name = models.CharField(max_length=150, unique=True)
    cloud_name = models.CharField(
        max_length=150, help_text="Name of the cloud in clouds.yaml, where its address and credentials are."
    )
    region = models.CharField(
        max_length=150, blank=True, default="", help_text="Region name; empty: the one that clouds.yaml names."
    )
    provision_limits = models.JSONField(
        default=dict,
        blank=True,
        help_text='How many resources of a type each tenant may create at once, for example {"volume": 2}.',
    )
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
