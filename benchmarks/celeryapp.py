"""The Celery application of the rivals that use Celery."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

app = Celery("benchmarks", include=os.environ.get("BENCH_TASKS", "").split(",") or None)
app.config_from_object("django.conf:settings", namespace="CELERY")
if os.environ.get("BENCH_PERSISTENT"):
    # Celery's Django support closes every connection before and after each task, whatever CONN_MAX_AGE says, unless
    # this is set: it then closes them after so many tasks.
    app.conf.CELERY_DB_REUSE_MAX = 10**9
