"""Which servers run together or apart."""

from __future__ import annotations

from django.db import models

from .tenant import TenantResource

__all__ = ["ServerGroup"]


class ServerGroup(TenantResource):
    """A rule for the scheduler about the hosts of its members."""

    class Policy(models.TextChoices):
        AFFINITY = "affinity", "on one host"
        ANTI_AFFINITY = "anti-affinity", "on different hosts"
        SOFT_AFFINITY = "soft-affinity", "on one host if possible"
        SOFT_ANTI_AFFINITY = "soft-anti-affinity", "on different hosts if possible"

    policy = models.CharField(max_length=40, choices=Policy.choices, default=Policy.ANTI_AFFINITY)

    class Meta:
        default_related_name = "server_groups"
        ordering = ["name"]
