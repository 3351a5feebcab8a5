import http.client
import json
import time

import pytest

from openstack_simulator import Fault
from openstack_simulator.faults import Faults

CREATE_VOLUME = json.dumps({"volume": {"name": "data-1", "size": 1}}).encode()


def fires(fault: Fault, times: int = 1, path: str = "/volume/v3/p/volumes") -> list[bool]:
    return [fault.fires("block_storage", "POST", path, CREATE_VOLUME) for _ in range(times)]


@pytest.mark.parametrize(
    ("conditions", "meant"),
    [
        ({}, True),
        ({"service": "block_storage"}, True),
        ({"service": "volume"}, True),
        ({"service": "cinder"}, True),
        ({"service": "compute"}, False),
        ({"method": "post"}, True),
        ({"method": "GET"}, False),
        ({"path": r"/volumes$"}, True),
        ({"path": r"/servers"}, False),
        ({"body": '"size": 1'}, True),
        ({"body": '"size": 2'}, False),
        ({"name": r"data-\d"}, True),
        ({"name": "data"}, False),
        ({"service": "volume", "name": "other"}, False),
    ],
)
def test_a_rule_is_for_requests_that_meet_all_its_conditions(conditions, meant):
    assert fires(Fault(status=500, **conditions)) == [meant]


@pytest.mark.parametrize(
    ("choice", "acts"),
    [
        ({"nth": 2}, [False, True, False, False]),
        ({"after": 2}, [False, False, True, True]),
        ({"count": 2}, [True, True, False, False]),
        ({"after": 1, "count": 1}, [False, True, False, False]),
    ],
)
def test_a_rule_acts_on_the_chosen_ones_of_its_requests(choice, acts):
    fault = Fault(status=500, **choice)
    assert fires(fault, 4) == acts
    assert (fault.matched, fault.hits) == (4, sum(acts))


def test_chance_is_repeatable_by_its_seed():
    first, again, other = (fires(Fault(status=500, probability=0.5, seed=seed), 100) for seed in (1, 1, 2))
    assert first == again != other
    assert 25 < sum(first) < 75


def test_several_rules_add_up_and_the_first_error_counts():
    faults = Faults()
    faults.add(delay=0.1)
    first = faults.add(status=503, delay=0.2)
    faults.add(status=500, lose_answer=True)
    verdict = faults.judge("compute", "GET", "/x", b"")
    assert verdict.delay == pytest.approx(0.3)
    assert verdict.failure is first
    assert verdict.lose_answer


def test_an_unknown_condition_and_a_broken_expression_are_refused():
    with pytest.raises(ValueError, match="colour"):
        Faults().add(colour="red")
    with pytest.raises(ValueError, match="regular expression"):
        Faults().add(path="(")


def test_an_injected_error_has_the_services_own_body_and_headers(simulator, demo):
    simulator.faults.add(service="compute", status=503, message="resting", retry_after=7, count=1)
    answer = demo.compute("GET", "/servers")
    assert answer.status == 503
    assert answer.json == {"serviceUnavailable": {"code": 503, "message": "resting", "retryAfter": "7"}}
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert demo.compute("GET", "/servers").status == 200


def test_an_injected_error_does_no_work(simulator, demo):
    simulator.faults.add(path="/volumes$", method="POST", status=500)
    assert demo.volume("POST", "/volumes", {"volume": {"size": 1}}).status == 500
    assert len(simulator.cloud.volumes) == 0


def test_a_lost_answer_leaves_the_work_done(simulator, demo):
    fault = simulator.faults.add(path="/volumes$", method="POST", lose_answer=True, count=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        demo.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert len(simulator.cloud.volumes) == 1
    assert fault.hits == 1
    assert [one.answered for one in simulator.requests.latest() if one.method == "POST"][-1] is False


def test_a_request_dropped_before_leaves_the_work_undone(simulator, demo):
    simulator.faults.add(path="/volumes$", method="POST", drop_before=True, count=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        demo.volume("POST", "/volumes", {"volume": {"size": 1}})
    assert len(simulator.cloud.volumes) == 0
    assert simulator.requests.count("block_storage", "POST", "/volumes", status=0) == 1


def test_a_delay_holds_up_its_own_request_only(simulator, demo, admin):
    simulator.faults.add(path="/servers", delay=0.5)
    demo.connection.request("GET", "/compute/v2.1/servers", headers=demo.headers)
    started = time.monotonic()
    assert admin.compute("GET", "/flavors").status == 200
    assert time.monotonic() - started < 0.4
    assert demo.connection.getresponse().status == 200
    assert time.monotonic() - started >= 0.4


def test_an_error_state_shows_after_the_usual_time_with_its_message(simulator, demo):
    simulator.faults.add(service="compute", path="/servers$", name="bad-.*", error_state="No valid host was found.")
    good, bad = demo.make_server("good"), demo.make_server("bad-1")
    assert demo.server(bad)["status"] == "BUILD"
    simulator.clock.advance(2)
    shown = demo.server(bad)
    assert (shown["status"], shown["fault"]["message"]) == ("ERROR", "No valid host was found.")
    assert demo.server(good)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("action", "status"),
    [({"os-extend": {"new_size": 5}}, "error_extending"), (None, "error_deleting")],
)
def test_an_error_state_is_the_one_that_fits_the_change(simulator, demo, action, status):
    volume_id = demo.make_volume()
    simulator.clock.advance(1)
    simulator.faults.add(path=volume_id, error_state="disk on fire")
    if action is None:
        demo.volume("DELETE", f"/volumes/{volume_id}")
    else:
        demo.volume("POST", f"/volumes/{volume_id}/action", action)
    simulator.clock.advance(1)
    assert simulator.cloud.volumes[volume_id].status == status


def test_a_stuck_server_builds_for_ever_and_can_be_deleted(simulator, demo):
    simulator.faults.add(path="/servers$", method="POST", stuck=True, count=1)
    server_id = demo.make_server()
    simulator.clock.advance(10**6)
    demo.log_in()
    assert demo.server(server_id)["status"] == "BUILD"
    demo.compute("DELETE", f"/servers/{server_id}")
    simulator.clock.advance(1)
    assert server_id not in simulator.cloud.servers


def test_a_stale_object_is_not_found_at_first(simulator, demo):
    simulator.faults.add(path="/volumes$", method="POST", stale=3, count=1)
    volume_id = demo.make_volume()
    assert demo.volume("GET", f"/volumes/{volume_id}").status == 404
    assert demo.volume("GET", "/volumes/detail").json["volumes"] == []
    simulator.clock.advance(3)
    assert demo.volume("GET", f"/volumes/{volume_id}").status == 200
