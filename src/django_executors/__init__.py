"""Durable executors for Django and Celery: multi-step operations on external resources that survive crashes.

Public names live in `django_executors.executors`, `.tasks`, `.models`, `.exceptions`, `.references` and `.context`.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
