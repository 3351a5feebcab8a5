"""A project in a cloud, and the base of everything that belongs to one."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.module_loading import import_string

from django_executors.models import BackendMixin, ErrorMessageMixin, RuntimeStateMixin, StateMixin

from ..conf import settings
from .cloud import Cloud

__all__ = ["CatalogEntry", "Tenant", "TenantResource"]


class Tenant(StateMixin, RuntimeStateMixin, ErrorMessageMixin, BackendMixin, models.Model):
    """A project of a cloud. ``backend_id`` is the project's id; empty means the project of the credentials."""

    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, related_name="tenants")
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True, default="")
    cloud_name = models.CharField(
        max_length=150,
        blank=True,
        default="",
        help_text="Name in clouds.yaml of credentials for this project alone; empty: the cloud's, scoped to the project.",
    )
    external_network_id = models.CharField(
        max_length=255, blank=True, default="", help_text="Id of the network that floating IPs come from."
    )
    provision_limits = models.JSONField(
        default=dict, blank=True, help_text="As for the cloud, and wins over it: how many at once, by resource type."
    )
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_backend(self) -> Any:
        """Return the backend that acts in this project."""
        # By dotted path, so that a project can bring its own class and rows do without the SDK until they need it.
        return import_string(settings.BACKEND)(self)

    def get_backend_key(self) -> str:
        """Return the name under which throttles, rates and pauses of this project count."""
        return f"openstack:{self.pk}"

    def provision_limit_of(self, resource_type: str) -> int | None:
        """Return how many resources of a type (a model name) may be created here at once, None for the default."""
        limit = self.provision_limits.get(resource_type, self.cloud.provision_limits.get(resource_type))
        return None if limit is None else int(limit)


class _InTenant(BackendMixin, models.Model):
    """What has a place in a project and finds the backend through it."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT)
    name = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name or self.backend_id or f"{self._meta.verbose_name} {self.pk}"

    def get_backend(self) -> Any:
        """Return the backend that acts in this resource's project."""
        return self.tenant.get_backend()

    def get_backend_key(self) -> str:
        """Return the name under which throttles, rates and pauses of the project count."""
        return f"openstack:{self.tenant_id}"

    def get_provision_limit(self) -> int | None:
        """Return how many resources of this type the project may create at once, None for the default."""
        return self.tenant.provision_limit_of(self._meta.model_name or "")


class TenantResource(StateMixin, ErrorMessageMixin, _InTenant):
    """Something that is made, changed and deleted in a project."""

    description = models.CharField(max_length=200, blank=True, default="")
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class CatalogEntry(_InTenant):
    """Something that the cloud offers to a project; pulled, never made by us."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)

    class Meta:
        abstract = True
