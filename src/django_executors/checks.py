"""System checks, each with an id."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from .conf import load
from .exceptions import ConfigurationError

__all__ = ["check_settings", "check_time_zone"]


@checks.register("executors")
def check_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001: the setting EXECUTORS has unknown keys or wrong values."""
    try:
        load()
    except (ConfigurationError, TypeError) as error:
        return [checks.Error(str(error), hint="See django_executors.conf for all keys.", id="executors.E001")]
    return []


@checks.register("executors")
def check_time_zone(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E002: leases and timers are compared by the database, in UTC."""
    if not django_settings.USE_TZ:
        return [checks.Error("USE_TZ must be True: leases and timers are aware times", id="executors.E002")]
    return []
