"""Fixtures of all tests."""

from __future__ import annotations

import pytest

from tests.celeryapp import app


@pytest.fixture(autouse=True, scope="session")
def _celery_app() -> None:
    """Make the tests' Celery app the current one, and register what Celery wants registered by hand."""
    from tests.testapp.tasks import PlainTask

    app.set_current()
    app.register_task(PlainTask())


@pytest.fixture(autouse=True)
def _fresh_toy_cloud() -> None:
    from tests.testapp.models import ToyCloud

    ToyCloud.behaviour = {}
