"""Run the simulator as a command: ``python -m openstack_simulator``."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from openstack_simulator.server import Simulator


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="openstack-simulator", description="A small OpenStack over HTTP.")
    options.add_argument("--host", default="127.0.0.1", help="whose connections to take (default: %(default)s)")
    options.add_argument("--port", type=int, default=5000, help="where to listen, 0 for a free port (default: 5000)")
    options.add_argument("--port-file", type=Path, help="write the port here once it listens")
    options.add_argument("--write-clouds-yaml", type=Path, metavar="FILE", help="write a clouds.yaml here")
    options.add_argument("--cloud-name", default="simulator", help="the name in that file (default: %(default)s)")
    options.add_argument("--latency", type=float, default=0.0, help="seconds that every request takes at least")
    options.add_argument("--server-seconds", type=float, help="how long the build of a server takes (default: 1)")
    options.add_argument("--volume-seconds", type=float, help="how long making a volume takes (default: 0.5)")
    options.add_argument("--unlimited-quotas", action="store_true", help="no project has limits")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    options = parser().parse_args(arguments)
    simulator = Simulator(
        options.host,
        options.port,
        latency=options.latency,
        server_seconds=options.server_seconds,
        volume_seconds=options.volume_seconds,
        unlimited_quotas=options.unlimited_quotas,
    )
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    try:
        simulator.start()
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    try:
        if options.write_clouds_yaml:
            simulator.write_clouds_yaml(options.write_clouds_yaml, options.cloud_name)
        if options.port_file:
            _write_whole(options.port_file, f"{simulator.port}\n")
        print(f"OpenStack simulator: {simulator.auth_url}  (users demo and admin, password = name)", flush=True)
        asked_to_stop.wait()
    finally:
        simulator.stop()
    return 0


def _write_whole(path: Path, text: str) -> None:
    """Write a file that others wait for, so that they never see half of it."""
    half = path.with_name(f"{path.name}.part")
    half.write_text(text)
    half.replace(path)


if __name__ == "__main__":
    sys.exit(main())
