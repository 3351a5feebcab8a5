"""A small site to try django-executors on."""

from demo.celery import app as celery_app

__all__ = ["celery_app"]
