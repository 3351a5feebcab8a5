import pytest

from examples.testing import models

pytest_plugins = ["django_executors.testing.fixtures"]


@pytest.fixture(autouse=True)
def storage():
    """A new cloud for each test."""
    models.STORAGE = models.FakeStorage()
    return models.STORAGE
