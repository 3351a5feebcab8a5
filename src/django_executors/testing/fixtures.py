"""Fixtures for pytest: ``pytest_plugins = ["django_executors.testing.fixtures"]`` in your ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ..models import Operation
from .broker import FakeBroker, fake_broker
from .driving import advance, fake_clock, run

__all__ = ["executors_broker", "executors_clock", "run_operation"]


@pytest.fixture
def executors_clock() -> Iterator[Callable[[float], None]]:
    """A function that moves the clock forward, seconds; put right after the test."""
    with fake_clock():
        yield advance


@pytest.fixture
def run_operation(executors_clock: Callable[[float], None]) -> Callable[[Operation], Operation]:
    """A function that drives an operation to its end and returns it as it ended."""
    return run


@pytest.fixture
def executors_broker(executors_clock: Callable[[float], None]) -> Iterator[FakeBroker]:
    """A broker in memory that gets all messages; set its ``lose`` and ``duplicate``."""
    with fake_broker() as broker:
        yield broker
