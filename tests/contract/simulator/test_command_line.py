"""The ``openstack`` command, unmodified, as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openstack_simulator import Pace


class CommandLine:
    def __init__(self, clouds: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self.environment = kept | {"OS_CLIENT_CONFIG_FILE": str(clouds)}

    def __call__(self, words: str, *, cloud: str = "simulator", output: bool = True) -> Any:
        command = [sys.executable, "-m", "openstackclient.shell", "--os-cloud", cloud, *words.split()]
        if output:
            command += ["-f", "json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if output else done.stdout


@pytest.fixture
def cli(simulator, tmp_path) -> CommandLine:
    simulator.lifecycle.set_all(Pace.at_once())
    return CommandLine(simulator.write_clouds_yaml(tmp_path / "clouds.yaml"))


def test_a_user_logs_in_and_sees_all_services(cli):
    assert cli("token issue")["id"].startswith("gAAAA")
    kinds = {one["Type"] for one in cli("catalog list")}
    assert kinds >= {"identity", "image", "compute", "network", "volumev3", "placement"}


def test_a_server_is_made_by_hand_and_removed(simulator, cli):
    assert cli("server list") == []
    volume = cli("volume create --size 1 --image tiny boot")
    assert volume["status"] == "creating"
    assert cli("volume show boot")["status"] == "available"
    server = cli("server create --flavor m1.tiny --volume boot --network private --wait web-1")
    assert server["status"] == "ACTIVE"
    [port] = cli(f"port list --server {server['id']}")
    assert port["Status"] == "ACTIVE"
    address = cli("floating ip create public")["floating_ip_address"]
    cli(f"server add floating ip web-1 {address}", output=False)
    [shown] = cli("server list")
    assert shown["Status"] == "ACTIVE"
    assert address in shown["Networks"]["private"]
    cli("server delete --wait web-1", output=False)
    assert len(simulator.cloud.servers) == 0
    assert cli("volume list")[0]["Status"] == "available"


def test_networks_and_rules_are_listed(cli):
    assert {one["Name"] for one in cli("network list")} == {"private", "public"}
    assert {one["Port Range"] for one in cli("security group rule list web")} >= {"22:22", "80:80"}


def test_an_admin_makes_a_project_and_sets_its_quota(simulator, cli):
    made = cli("project create lab", cloud="simulator-admin")
    cli("quota set --instances 3 --volumes 4 --ports 5 lab", cloud="simulator-admin", output=False)
    cloud = simulator.cloud
    assert cloud.compute.quotas.of(made["id"])["instances"] == 3
    assert cloud.block_storage.quotas.of(made["id"])["volumes"] == 4
    assert cloud.network.quotas.of(made["id"])["port"] == 5
