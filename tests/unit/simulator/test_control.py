"""Driving a simulator: in this process, through the control API, and as a command of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openstack_simulator import ControlError, Simulator, SimulatorClient
from tests.unit.simulator.api import Api

SRC = Path(__file__).parents[3] / "src"


@pytest.fixture
def client(simulator) -> SimulatorClient:
    return SimulatorClient(simulator.url)


def test_the_client_tells_where_keystone_is_and_how_much_there_is(simulator, client):
    about = client.about()
    assert about["auth_url"] == simulator.auth_url
    assert about["objects"]["flavors"] == 3


def test_faults_are_added_counted_and_cleared_from_outside(client, demo):
    fault = client.add_fault(service="compute", path="/servers", status=500, count=1)
    assert demo.compute("GET", "/servers").status == 500
    assert client.hits(fault) == 1
    client.remove_fault(fault)
    assert client.faults() == []
    client.add_fault(service="compute", status=500)
    client.clear_faults()
    assert demo.compute("GET", "/servers").status == 200
    with pytest.raises(ControlError, match="colour"):
        client.add_fault(colour="red")
    with pytest.raises(LookupError):
        client.hits(99)


def test_the_clock_and_the_paces_are_moved_from_outside(client, demo):
    client.set_pace("volume.create", seconds=100)
    volume_id = demo.make_volume()
    before = client.now()
    assert client.advance(99) == before + 99
    assert client.objects("volumes")["volumes"][0]["status"] == "creating"
    client.advance(1)
    [volume] = client.objects("volumes")["volumes"]
    assert (volume["id"], volume["status"]) == (volume_id, "available")
    client.thaw()
    client.freeze()
    with pytest.raises(ControlError):
        client.advance(-1)


def test_requests_are_counted_by_service_method_route_and_status(simulator, client, demo):
    demo.make_volume()
    demo.make_volume()
    demo.volume("GET", "/volumes/unknown")
    assert client.count(service="block_storage", method="POST", route="/volumes") == 2
    assert client.count(route="/volumes/{record_id}", status=404) == 1
    assert simulator.requests.count("block_storage", "POST", "/volumes", 202) == 2
    counts = client.counts()
    assert counts["created"] == {"volume": 2}
    assert counts["peak_building"] == {"volume": 2}
    assert client.latest_requests()[-1]["path"].endswith("/volumes/unknown")
    client.forget_counts()
    assert client.counts()["total"] == 0


def test_a_snapshot_shows_every_project_and_no_secret(client, demo):
    server_id = demo.make_server()
    objects = client.objects()
    assert [one["id"] for one in objects["servers"]] == [server_id]
    assert objects["servers"][0]["status"] == "BUILD"
    assert all("password" not in one for one in objects["users"])
    with pytest.raises(ControlError):
        client.objects("unicorns")


def test_a_reset_brings_back_the_first_cloud(simulator, client, demo):
    demo.make_volume()
    client.add_fault(status=500)
    client.reset()
    assert client.objects("volumes") == {"volumes": []}
    assert client.faults() == []
    assert demo.compute("GET", "/servers").status == 401, "old tokens are no longer good"
    assert len(Api(simulator).network("GET", "/networks").json["networks"]) == 2


def test_latency_and_quotas_are_set_from_outside(simulator, client, demo):
    client.set_latency(0.05)
    started = time.monotonic()
    demo.compute("GET", "/servers")
    assert time.monotonic() - started >= 0.05
    client.set_latency(0)
    client.lift_quotas()
    assert demo.compute("GET", "/limits").json["limits"]["absolute"]["maxTotalInstances"] == -1


def test_a_stopped_simulator_closes_its_connections_and_comes_back_on_the_same_port(simulator, demo):
    port = simulator.port
    volume_id = demo.make_volume()
    simulator.stop()
    with pytest.raises((ConnectionError, OSError)):
        demo.compute("GET", "/servers")
    simulator.start()
    assert simulator.port == port
    demo.connection.close()
    assert demo.volume("GET", f"/volumes/{volume_id}").status == 200
    with pytest.raises(RuntimeError):
        simulator.start()


def test_a_simulator_in_a_busy_port_says_so(simulator):
    with pytest.raises(OSError, match="in use"):
        Simulator(port=simulator.port).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_command_it_writes_its_files_and_stops_cleanly(tmp_path, number):
    port_file, clouds = tmp_path / "port", tmp_path / "clouds.yaml"
    options = ["--port", "0", "--port-file", port_file, "--write-clouds-yaml", clouds, "--unlimited-quotas"]
    process = subprocess.Popen(
        [sys.executable, "-m", "openstack_simulator", *options],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 20
        while not port_file.exists():
            assert time.monotonic() < end, "no port file"
            assert process.poll() is None
            time.sleep(0.02)
        client = SimulatorClient(f"http://127.0.0.1:{port_file.read_text().strip()}")
        assert client.about()["auth_url"] in clouds.read_text()
        process.send_signal(number)
        output, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "/identity/v3" in output
