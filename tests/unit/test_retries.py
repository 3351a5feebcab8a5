"""When the next attempt and the next look are due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_executors import tasks
from django_executors.retries import RetryPolicy, backoff, policy_of, poll_interval
from tests.testapp.tasks import flaky, mark


def policy(**changes: Any) -> RetryPolicy:
    values: dict[str, Any] = {
        "max_retries": 3,
        "default_retry_delay": 5.0,
        "retry_backoff": 1.0,
        "retry_backoff_max": 60.0,
        "retry_jitter": False,
    }
    return RetryPolicy(**{**values, **changes})


def test_the_delay_doubles_up_to_its_longest() -> None:
    assert [policy().delay(count) for count in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_without_a_backoff_the_delay_is_fixed() -> None:
    assert [policy(retry_backoff=0.0).delay(count) for count in (0, 1, 100)] == [5, 5, 5]


@given(st.integers(0, 10_000), st.floats(0, 0.999))
def test_jitter_lies_between_half_of_the_delay_and_all_of_it(count: int, chance: float) -> None:
    whole = policy().delay(count)
    assert whole / 2 <= policy(retry_jitter=True).delay(count, lambda: chance) <= whole


@pytest.mark.parametrize(("retries", "allowed"), [(2, True), (3, False), (4, False)])
def test_three_retries_are_three(retries: int, allowed: bool) -> None:
    assert policy(max_retries=3).allows(retries) is allowed


def test_no_limit_is_no_limit() -> None:
    assert policy(max_retries=None).allows(10**6)
    assert not policy(max_retries=0).allows(0)


def test_a_huge_count_does_not_overflow() -> None:
    assert backoff(1.0, 10**9, 600.0, None) == 600.0
    assert poll_interval(2.0, 10**9, 30.0, lambda: 0.5) == 30.0


@given(st.integers(0, 1000), st.floats(0, 0.999))
def test_looks_become_rarer_and_keep_within_a_tenth(polls: int, chance: float) -> None:
    middle = min(30.0, 0.5 * 1.25 ** min(polls, 200))
    assert middle * 0.9 <= poll_interval(2.0, polls, 30.0, lambda: chance) <= middle * 1.1


def test_the_policy_is_read_from_celerys_own_attributes() -> None:
    assert policy_of(flaky, {}).max_retries == 3
    assert policy_of(flaky, {}).delay(5) == 0
    assert policy_of(mark, {}).max_retries == 3
    patient = policy_of(tasks.RetryUntilAvailableTask(), {})
    assert (patient.max_retries, patient.delay(0), patient.delay(200)) == (300, 5, 5)


def test_a_steps_own_options_win() -> None:
    task = SimpleNamespace(max_retries=10, default_retry_delay=5, retry_backoff=1, retry_backoff_max=60)
    own = policy_of(task, {"max_retries": 1, "default_retry_delay": 9})
    assert (own.max_retries, own.delay(4)) == (1, 9)
    assert policy_of(task, {"max_retries": None}).max_retries is None
