"""Tests for your own executors: drive them here and now, crash them at every point, lose their messages, fake their backend.

Needs no broker, no worker and no pytest; `django_executors.testing.fixtures` has pytest fixtures of the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import FakeBackend, FakeCall
    from .broker import FakeBroker, Message, fake_broker
    from .crashing import CRASH_POINTS, Crash, crash_after_every_step, crash_everywhere
    from .driving import advance, fake_clock, run, run_due
    from .transcripts import assert_transcript, transcript

__all__ = [
    "CRASH_POINTS",
    "Crash",
    "FakeBackend",
    "FakeBroker",
    "FakeCall",
    "Message",
    "advance",
    "assert_transcript",
    "crash_after_every_step",
    "crash_everywhere",
    "fake_broker",
    "fake_clock",
    "run",
    "run_due",
    "transcript",
]

_NAMES = {
    "backend": ("FakeBackend", "FakeCall"),
    "broker": ("FakeBroker", "Message", "fake_broker"),
    "crashing": ("CRASH_POINTS", "Crash", "crash_after_every_step", "crash_everywhere"),
    "driving": ("advance", "fake_clock", "run", "run_due"),
    "transcripts": ("assert_transcript", "transcript"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # On first use: pytest loads a plugin, and a project its models, before Django knows our models.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
