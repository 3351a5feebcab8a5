"""One world for all simulations of a test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from .world import World


@pytest.fixture(scope="package")
def _world(_celery_app: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    # It brings a database of its own, and leaves that of the other tests alone.
    with django_db_blocker.unblock(), World.opened() as world:
        yield world


@pytest.fixture
def world(_world: World) -> World:
    """A world with one box that exists, in which nobody does anything yet."""
    _world.restart()
    return _world
