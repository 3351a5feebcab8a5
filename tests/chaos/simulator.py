"""The simulated cloud as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from openstack_simulator.client import SimulatorClient
from tests.chaos.servers import wait_until
from tests.chaos.workers import ROOT

__all__ = ["Simulator"]


class Simulator:
    """Serves until it is closed; ``client`` drives it."""

    def __init__(self, directory: Path, clouds_yaml: Path) -> None:
        port = directory / "simulator.port"
        command = [sys.executable, "-m", "openstack_simulator", "--port", "0", "--port-file", str(port)]
        command += ["--write-clouds-yaml", str(clouds_yaml), "--unlimited-quotas"]
        with (directory / "simulator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server-seconds", "0.5", "--volume-seconds", "0.2"],
                env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
                stdout=log,
                stderr=log,
            )
        wait_until(port.exists, "the simulator listens", 30)
        self.client = SimulatorClient(f"http://127.0.0.1:{port.read_text().strip()}", timeout=20)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
