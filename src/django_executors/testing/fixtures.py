"""Fixtures for pytest: ``pytest_plugins = ["django_executors.testing.fixtures"]`` in your ``conftest.py``.

Also a plugin, ``-p django_executors.testing.fixtures``: importing this needs no Django settings yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from django_executors import testing

if TYPE_CHECKING:
    from ..models import Operation

__all__ = ["executors_broker", "executors_clock", "run_operation"]


@pytest.fixture
def executors_clock() -> Iterator[Callable[[float], None]]:
    """A function that moves the clock forward, seconds; put right after the test."""
    with testing.fake_clock():
        yield testing.advance


@pytest.fixture
def run_operation(executors_clock: Callable[[float], None]) -> Callable[[Operation], Operation]:
    """A function that drives an operation to its end and returns it as it ended."""
    return testing.run


@pytest.fixture
def executors_broker(executors_clock: Callable[[float], None]) -> Iterator[testing.FakeBroker]:
    """A broker in memory that gets all messages; set its ``lose`` and ``duplicate``."""
    with testing.fake_broker() as broker:
        yield broker
