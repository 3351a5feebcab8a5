import pytest

from openstack_simulator import Clock, Pace
from openstack_simulator.lifecycle import Effects, Lifecycle


@pytest.fixture
def lifecycle() -> Lifecycle:
    clock = Clock()
    clock.freeze()
    return Lifecycle(clock)


def begin(lifecycle: Lifecycle, record_id: str = "one", change: str = "server.create", log: list[str] | None = None):
    log = [] if log is None else log
    lifecycle.begin(change, record_id, lambda: log.append(record_id), lambda message: log.append(message))
    return log


def test_a_change_is_done_when_its_time_has_passed_and_not_before(lifecycle):
    lifecycle.paces["server.create"] = Pace.after(10)
    log = begin(lifecycle)
    lifecycle.clock.advance(9.9)
    lifecycle.settle()
    assert log == []
    lifecycle.clock.advance(0.1)
    lifecycle.settle()
    assert log == ["one"]


def test_a_change_at_once_is_done_at_the_next_settling_not_within_the_call(lifecycle):
    lifecycle.set_all(Pace.at_once())
    log = begin(lifecycle)
    assert log == []
    lifecycle.settle()
    assert log == ["one"]


@pytest.mark.parametrize("reads", [1, 2, 5])
def test_a_change_after_n_reads_is_shown_undone_n_times(lifecycle, reads):
    lifecycle.paces["server.create"] = Pace.after_reads(reads)
    log = begin(lifecycle)
    for _ in range(reads):
        lifecycle.settle()
        assert log == []
        lifecycle.observed("one")
    lifecycle.settle()
    assert log == ["one"]


def test_a_long_jump_carries_out_what_follows_from_what_in_its_order_and_at_its_time(lifecycle):
    log: list[tuple[str, float]] = []
    start = lifecycle.clock.now()
    lifecycle.paces |= {"server.create": Pace.after(1), "port.bind": Pace.after(2), "volume.create": Pace.after(2)}

    def built() -> None:
        log.append(("built", lifecycle.now() - start))
        lifecycle.begin("port.bind", "port", lambda: log.append(("bound", lifecycle.now() - start)))

    lifecycle.begin("server.create", "server", built)
    lifecycle.begin("volume.create", "volume", lambda: log.append(("made", lifecycle.now() - start)))
    lifecycle.clock.advance(100)
    lifecycle.settle()
    assert log == [("built", 1.0), ("made", 2.0), ("bound", 3.0)]


def test_the_pace_of_an_action_wins_over_that_of_its_kind(lifecycle):
    lifecycle.paces = {"server": Pace.after(5), "server.stop": Pace.after(1)}
    assert lifecycle.pace_of("server.stop").seconds == 1
    assert lifecycle.pace_of("server.start").seconds == 5
    assert lifecycle.pace_of("volume.create") == Pace.at_once()


def test_a_dropped_change_never_happens(lifecycle):
    log = begin(lifecycle)
    lifecycle.drop("one")
    lifecycle.clock.advance(1000)
    lifecycle.settle()
    assert log == []
    assert lifecycle.next_due() is None


def test_the_peak_is_the_most_that_were_being_made_at_once(lifecycle):
    lifecycle.paces["server.create"] = Pace.after(1)
    begin(lifecycle, "a")
    begin(lifecycle, "b")
    assert lifecycle.building("server") == 2
    lifecycle.clock.advance(1)
    lifecycle.settle()
    begin(lifecycle, "c")
    begin(lifecycle, "c", "server.stop")
    assert lifecycle.building("server") == 1
    assert lifecycle.peak_building == {"server": 2}
    assert lifecycle.created == {"server": 3}


def test_what_is_dropped_while_it_is_being_made_is_no_longer_counted_as_building(lifecycle):
    begin(lifecycle, "a")
    lifecycle.drop("a")
    begin(lifecycle, "b")
    assert lifecycle.peak_building == {"server": 1}


def test_forgetting_counts_keeps_what_is_being_made(lifecycle):
    begin(lifecycle, "a")
    begin(lifecycle, "b")
    lifecycle.drop("a")
    lifecycle.forget_counts()
    assert lifecycle.peak_building == {"server": 1}
    assert not lifecycle.created


def test_a_stuck_change_never_ends_and_counts_as_building(lifecycle):
    lifecycle.effects = Effects(stuck=True)
    log = begin(lifecycle)
    lifecycle.effects = Effects()
    lifecycle.clock.advance(10**6)
    lifecycle.settle()
    lifecycle.observed("one")
    lifecycle.settle()
    assert log == []
    assert lifecycle.building("server") == 1


def test_a_change_that_is_to_fail_takes_its_time_and_then_fails(lifecycle):
    lifecycle.effects = Effects(error_state="no valid host")
    log = begin(lifecycle)
    lifecycle.effects = Effects()
    lifecycle.settle()
    assert log == []
    lifecycle.clock.advance(1)
    lifecycle.settle()
    assert log == ["no valid host"]
