"""Every setting, with its default, unit and meaning; the only reader of ``django.conf.settings`` in the core.

A project sets them in one dictionary::

    EXECUTORS = {"LEASE_SECONDS": 30, "QUEUES": {"regular": "tasks", "heavy": "heavy", "background": "background"}}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from .exceptions import ConfigurationError

__all__ = ["ExecutorsSettings", "LazySettings", "load", "settings"]

T = TypeVar("T")


def _default_queues() -> dict[str, str]:
    return {"regular": "tasks", "heavy": "heavy", "background": "background"}


@dataclass(frozen=True)
class ExecutorsSettings:
    """The settings, typed."""

    LEASE_SECONDS: float = 30.0
    """How long a worker may be silent before its operation is offered to another, in seconds (above 0)."""

    HEARTBEAT_SECONDS: float = 0.0
    """How often a worker process renews its leases, in seconds. 0: a third of the lease."""

    DISPATCH_SECONDS: float = 1.0
    """How often each worker looks for due timers, expired leases and lost messages, in seconds."""

    DISPATCH_BATCH: int = 200
    """How many operations one look of the dispatcher may offer; bounds the rate after a long downtime."""

    DISPATCH_IN_WORKERS: bool = True
    """Whether every Celery worker runs a dispatcher. Off: run ``manage.py executors dispatch`` somewhere."""

    NUDGE_GRACE_SECONDS: float = 5.0
    """How long a message published on commit may take before the dispatcher sends another, in seconds.

    Lower: a lost message delays less. Higher: fewer second messages about operations that only wait for a free worker.
    """

    MAX_TAKEOVERS: int = 5
    """After how many takeovers without a finished step an operation is quarantined."""

    QUEUES: Mapping[str, str] = field(default_factory=_default_queues)
    """Names of the Celery queues for regular, heavy and background work."""

    PROVISION_LIMIT: int = 4
    """How many resources of one type a backend may create at once, unless backend or throttle row say otherwise."""

    WAIT_FLOOR_SECONDS: float = 30.0
    """How often an operation that waits for an event (slot, parts) looks by itself, should the event be lost."""

    UNKNOWN_TASK_SECONDS: float = 60.0
    """How often an operation whose next task this code does not know is offered again, in seconds."""

    REDACT: tuple[str, ...] = (
        "password",
        "passwd",
        "secret",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "auth_token",
        "access_token",
        "admin_pass",
        "adminpass",
        "credentials",
    )
    """Argument names that may not enter the journal, and whose values are blanked in error texts."""

    @property
    def heartbeat_seconds(self) -> float:
        """The heartbeat in force, in seconds."""
        return self.HEARTBEAT_SECONDS or self.LEASE_SECONDS / 3


def load() -> ExecutorsSettings:
    """Read and check the settings.

    Raises:
        ConfigurationError: A key is unknown or a value has the wrong type or range.
    """
    given = getattr(django_settings, "EXECUTORS", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError("EXECUTORS must be a dictionary")
    known = {f.name for f in fields(ExecutorsSettings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigurationError(
            f"EXECUTORS has unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    values: dict[str, Any] = dict(given)
    if "QUEUES" in values:
        values["QUEUES"] = _checked_queues(values["QUEUES"])
    if "REDACT" in values:
        names = values["REDACT"]
        if (
            isinstance(names, str)
            or not isinstance(names, Iterable)
            or not all(isinstance(name, str) for name in names)
        ):
            raise ConfigurationError(f"EXECUTORS['REDACT'] must be a list of names, not {names!r}")
        values["REDACT"] = tuple(name.lower() for name in names)
    if not isinstance(values.get("DISPATCH_IN_WORKERS", True), bool):
        raise ConfigurationError(
            f"EXECUTORS['DISPATCH_IN_WORKERS'] must be True or False, not {values['DISPATCH_IN_WORKERS']!r}"
        )
    for key in ("LEASE_SECONDS", "DISPATCH_SECONDS", "WAIT_FLOOR_SECONDS", "UNKNOWN_TASK_SECONDS"):
        if key in values and not (_is_seconds(values[key]) and values[key] > 0):
            raise ConfigurationError(f"EXECUTORS[{key!r}] must be a number of seconds above 0, not {values[key]!r}")
    for key in ("HEARTBEAT_SECONDS", "NUDGE_GRACE_SECONDS"):
        if key in values and not _is_seconds(values[key]):
            raise ConfigurationError(f"EXECUTORS[{key!r}] must be a number of seconds, 0 or more, not {values[key]!r}")
    for key in ("DISPATCH_BATCH", "MAX_TAKEOVERS", "PROVISION_LIMIT"):
        if key in values and (not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1):
            raise ConfigurationError(f"EXECUTORS[{key!r}] must be a whole number of at least 1, not {values[key]!r}")
    result = ExecutorsSettings(**values)
    if result.heartbeat_seconds >= result.LEASE_SECONDS:
        raise ConfigurationError("EXECUTORS['HEARTBEAT_SECONDS'] must be below LEASE_SECONDS, or every lease is lost")
    return result


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _checked_queues(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"EXECUTORS['QUEUES'] must be a dictionary of kinds and names, not {given!r}")
    extra = set(given) - set(_default_queues())
    if extra:
        raise ConfigurationError(f"EXECUTORS['QUEUES'] has unknown kinds {', '.join(sorted(map(str, extra)))}")
    for kind, name in given.items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"EXECUTORS['QUEUES'][{kind!r}] must be the name of a queue, not {name!r}")
    return {**_default_queues(), **given}


class LazySettings(Generic[T]):
    """Settings that are read and checked on first use, and again after ``override_settings``.

    Args:
        name: Name of the dictionary in Django's settings.
        load: Reads and checks it.
    """

    def __init__(self, name: str, load: Callable[[], T]) -> None:
        self._name = name
        self._load = load
        self._loaded: T | None = None
        setting_changed.connect(self._forget)

    def __getattr__(self, key: str) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return getattr(self._loaded, key)

    def _forget(self, *, setting: str, **kwargs: Any) -> None:
        if setting == self._name:
            self._loaded = None


settings: ExecutorsSettings = LazySettings("EXECUTORS", load)  # type: ignore[assignment]
