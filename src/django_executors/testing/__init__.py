"""Tests for your own executors: drive them here and now, crash them at every point, lose their messages, fake their backend.

Needs no broker, no worker and no pytest; `django_executors.testing.fixtures` has pytest fixtures of the same.
"""

from .backend import FakeBackend, FakeCall
from .broker import FakeBroker, Message, fake_broker
from .crashing import CRASH_POINTS, Crash, crash_everywhere
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
    "crash_everywhere",
    "fake_broker",
    "fake_clock",
    "run",
    "run_due",
    "transcript",
]
