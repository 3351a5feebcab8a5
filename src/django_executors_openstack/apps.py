"""The plugin declares itself to Django."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["OpenStackExecutorsConfig"]


class OpenStackExecutorsConfig(AppConfig):
    """Rows, backend and executors for OpenStack clouds."""

    name = "django_executors_openstack"
    label = "django_executors_openstack"
    verbose_name = "OpenStack"
    default_auto_field = "django.db.models.BigAutoField"
