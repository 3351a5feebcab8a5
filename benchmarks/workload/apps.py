"""The workload as a Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["WorkloadConfig"]


class WorkloadConfig(AppConfig):
    """No migrations: the tables are made anew for each run."""

    name = "benchmarks.workload"
    label = "workload"
    default_auto_field = "django.db.models.BigAutoField"
