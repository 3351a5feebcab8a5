"""The plugin's settings, with default, unit and meaning; the only reader of ``django.conf.settings`` in the plugin.

A project sets them in one dictionary::

    EXECUTORS_OPENSTACK = {"READ_TIMEOUT_SECONDS": 30, "CLOUDS_YAML": ["/etc/openstack/clouds.yaml"]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings as django_settings

from django_executors.conf import LazySettings
from django_executors.exceptions import ConfigurationError

__all__ = ["OpenStackSettings", "load", "settings"]

SETTING = "EXECUTORS_OPENSTACK"


@dataclass(frozen=True)
class OpenStackSettings:
    """The settings, typed."""

    BACKEND: str = "django_executors_openstack.backend.OpenStackBackend"
    """Dotted path of the backend class; a subclass of the default may add or change methods."""

    CLOUDS_YAML: Sequence[str] = ()
    """Files with the clouds' addresses and credentials, the first that exists is read. Empty: where the SDK looks."""

    CONNECT_TIMEOUT_SECONDS: float = 10.0
    """How long making a connection to a service may take, in seconds."""

    READ_TIMEOUT_SECONDS: float = 60.0
    """How long a service may be silent during a request, in seconds. Clouds give up on most requests after 60."""

    CONNECTIONS_PER_SERVICE: int = 10
    """How many connections a worker process keeps open to one address."""

    USER_AGENT: str = "django-executors"
    """How the plugin introduces itself in the access logs of the cloud."""


def load() -> OpenStackSettings:
    """Read and check the settings.

    Raises:
        ConfigurationError: A key is unknown or a value is out of range.
    """
    given = getattr(django_settings, SETTING, {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{SETTING} must be a dictionary")
    known = {f.name for f in fields(OpenStackSettings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigurationError(
            f"{SETTING} has unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    values: dict[str, Any] = dict(given)
    for key in ("CONNECT_TIMEOUT_SECONDS", "READ_TIMEOUT_SECONDS"):
        value = values.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigurationError(f"{SETTING}[{key!r}] must be a number of seconds above 0, not {value!r}")
    count = values.get("CONNECTIONS_PER_SERVICE", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"{SETTING}['CONNECTIONS_PER_SERVICE'] must be a whole number of at least 1")
    if isinstance(values.get("CLOUDS_YAML"), str):
        values["CLOUDS_YAML"] = (values["CLOUDS_YAML"],)
    return OpenStackSettings(**values)


settings: OpenStackSettings = LazySettings(SETTING, load)  # type: ignore[assignment]
