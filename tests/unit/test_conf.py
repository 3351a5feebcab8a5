"""Every wrong setting is found before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from django_executors.conf import load, settings
from django_executors.exceptions import ConfigurationError

SECONDS_ABOVE_0 = ["LEASE_SECONDS", "DISPATCH_SECONDS", "WAIT_FLOOR_SECONDS", "UNKNOWN_TASK_SECONDS"]
SECONDS = ["HEARTBEAT_SECONDS", "NUDGE_GRACE_SECONDS"]
COUNTS = ["DISPATCH_BATCH", "MAX_TAKEOVERS", "PROVISION_LIMIT"]

WRONG: list[tuple[Any, str]] = [
    (["LEASE_SECONDS"], "must be a dictionary"),
    ({"LEASE": 3}, "unknown keys LEASE; known are"),
    ({"lease_seconds": 3}, "unknown keys lease_seconds"),
    *[({key: value}, f"{key!r}] must be") for key in SECONDS_ABOVE_0 for value in (0, -1, "5", None, True)],
    *[({key: value}, f"{key!r}] must be") for key in SECONDS for value in (-1, "5", None, True)],
    *[({key: value}, f"{key!r}] must be") for key in COUNTS for value in (0, -1, 1.5, "5", None, True)],
    ({"LEASE_SECONDS": float("nan")}, "LEASE_SECONDS"),
    ({"LEASE_SECONDS": float("inf")}, "LEASE_SECONDS"),
    ({"LEASE_SECONDS": 10, "HEARTBEAT_SECONDS": 10}, "must be below LEASE_SECONDS"),
    ({"LEASE_SECONDS": 10, "HEARTBEAT_SECONDS": 11}, "must be below LEASE_SECONDS"),
    ({"QUEUES": {"fast": "x"}}, "unknown kinds fast"),
    ({"QUEUES": ["tasks"]}, "QUEUES"),
    ({"QUEUES": {"heavy": ""}}, "QUEUES"),
    ({"QUEUES": {"heavy": 5}}, "QUEUES"),
    ({"REDACT": "password"}, "REDACT"),
    ({"REDACT": [1]}, "REDACT"),
    ({"DISPATCH_IN_WORKERS": "no"}, "DISPATCH_IN_WORKERS"),
]


@pytest.mark.parametrize(("given", "words"), WRONG, ids=[str(row[0]) for row in WRONG])
def test_a_wrong_setting_is_refused_and_reported_by_the_system_check(given: Any, words: str) -> None:
    with override_settings(EXECUTORS=given):
        with pytest.raises(ConfigurationError) as refused:
            load()
        assert words in str(refused.value)
        found = [message for message in checks.run_checks(tags=["executors"]) if message.id == "executors.E001"]
        assert [message.msg for message in found] == [str(refused.value)]


def test_right_settings_are_no_error() -> None:
    given = {
        "LEASE_SECONDS": 10,
        "HEARTBEAT_SECONDS": 9.9,
        "NUDGE_GRACE_SECONDS": 0,
        "MAX_TAKEOVERS": 1,
        "QUEUES": {"regular": "a"},
        "REDACT": ["password"],
        "DISPATCH_IN_WORKERS": False,
    }
    with override_settings(EXECUTORS=given):
        assert checks.run_checks(tags=["executors"]) == []
        assert settings.QUEUES == {"regular": "a", "heavy": "heavy", "background": "background"}
        assert settings.heartbeat_seconds == 9.9


def test_the_defaults_are_right() -> None:
    with override_settings(EXECUTORS={}):
        assert load().heartbeat_seconds == 10.0
        assert load().QUEUES == {"regular": "tasks", "heavy": "heavy", "background": "background"}


def test_an_override_takes_effect_and_goes_again() -> None:
    before = settings.LEASE_SECONDS
    with override_settings(EXECUTORS={"LEASE_SECONDS": before + 1}):
        assert before + 1 == settings.LEASE_SECONDS
    assert before == settings.LEASE_SECONDS


def test_without_time_zones_the_check_says_so() -> None:
    with override_settings(USE_TZ=False):
        assert [message.id for message in checks.run_checks(tags=["executors"])] == ["executors.E002"]
