"""Django settings of the workers and clients. The rival's environment says which broker, and how its connections live."""

from __future__ import annotations

import os

import dj_database_url

from benchmarks import place

SECRET_KEY = "for benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_executors",
    "benchmarks.workload",
    *filter(None, os.environ.get("BENCH_APPS", "").split(",")),
]
DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ.get("BENCH_DATABASE_URL", place.database_url())),
        # Never closed for their age; whether they are closed around every task is the fixup's choice, below.
        "CONN_MAX_AGE": None,
    }
}
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = ""
PROCRASTINATE_IMPORT_PATHS = [name for name in [os.environ.get("BENCH_JOBS")] if name]

BROKER = os.environ.get("BENCH_BROKER", "")
if BROKER:
    CELERY_BROKER_URL = place.BROKER_URLS[BROKER]
    if BROKER == "redis":
        CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": place.KEY_PREFIX}
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"global_keyprefix": place.KEY_PREFIX}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "tasks"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
if os.environ.get("BENCH_RESULTS"):
    CELERY_RESULT_BACKEND = place.BROKER_URLS["redis"]
else:
    CELERY_TASK_IGNORE_RESULT = True
if os.environ.get("BENCH_LATE"):
    CELERY_TASK_ACKS_LATE = True
    CELERY_TASK_REJECT_ON_WORKER_LOST = True
