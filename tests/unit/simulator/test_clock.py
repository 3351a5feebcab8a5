import time

import pytest

from openstack_simulator import Clock
from openstack_simulator.clock import in_microseconds, in_seconds, parse


def test_a_new_clock_tells_the_real_time():
    assert Clock().now() == pytest.approx(time.time(), abs=1)


def test_advancing_adds_to_the_time_and_the_clock_runs_on():
    clock = Clock()
    before = clock.now()
    assert clock.advance(3600) >= before + 3600
    assert not clock.frozen


def test_a_frozen_clock_moves_only_when_advanced():
    clock = Clock()
    clock.freeze()
    before = clock.now()
    assert clock.now() == before
    assert clock.advance(5) == before + 5 == clock.now()


def test_a_thawed_clock_goes_on_from_where_it_stood():
    clock = Clock()
    clock.freeze()
    stood = clock.advance(1000)
    clock.thaw()
    assert clock.now() == pytest.approx(stood, abs=1)
    assert clock.now() >= stood


def test_the_clock_never_goes_backwards():
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(-1)


def test_times_are_written_as_each_service_writes_them():
    assert in_seconds(0) == "1970-01-01T00:00:00Z"
    assert in_microseconds(0.5) == "1970-01-01T00:00:00.500000"
    assert parse("1970-01-01T00:00:01Z") == parse("1970-01-01T00:00:01") == 1.0
