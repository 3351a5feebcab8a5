"""Start-up wiring."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.module_loading import autodiscover_modules

__all__ = ["ExecutorsConfig"]


class ExecutorsConfig(AppConfig):
    """Registers tasks, executors, worker hooks and checks."""

    name = "django_executors"
    verbose_name = "Executors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("django_executors.tasks")
        import_module("django_executors.worker")
        import_module("django_executors.checks")
        # Every process must know every executor, or it could not continue another one's operations.
        if apps.ready or apps.models_ready:
            autodiscover_modules("executors")
