"""Servers of our own: databases and brokers on free ports, in a directory of ours, with Debian's programs.

Nothing here touches the servers that the machine runs for itself: other ports, other data, other node names.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

__all__ = ["MissingProgram", "Server", "free_port", "listens", "program", "wait_until"]

START_SECONDS = 90.0
STOP_SECONDS = 40.0


class MissingProgram(Exception):
    """A server's program is not installed; the text says which package brings it."""


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, package: str, *places: Path) -> str:
    """Return the path of a server's program.

    Raises:
        MissingProgram: It is not installed.
    """
    path = os.pathsep.join(
        [*map(str, places), os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    )
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgram(f"{name} is not installed; on Debian it is in the package {package}")
    return found


class Server:
    """One server process, started again on the same port and data after it was stopped.

    Attributes:
        user: Whom the server runs as when we are root: most of them refuse to be root.
    """

    name: ClassVar[str] = ""
    user: ClassVar[str] = ""
    stop_signals: ClassVar[dict[str, signal.Signals]] = {"fast": signal.SIGTERM, "immediate": signal.SIGKILL}

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name.lower()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.find_programs()

    def find_programs(self) -> None:
        """Look for the programs, so that a missing one is told before anything starts."""

    def prepare(self) -> None:
        """Make the data directory."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.directory)}

    def answers(self) -> bool:
        """Say whether a client would be served now."""
        raise NotImplementedError

    def version(self) -> str:
        """Return the program's own words about its version."""
        raise NotImplementedError

    def url(self, port: int | None = None) -> str:
        """Return the URL for Django or Celery, through another port where a proxy stands before it."""
        raise NotImplementedError

    # -- life -------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the data and start."""
        self.directory.mkdir(parents=True)
        if self._as_user():
            shutil.chown(self.directory, self.user)
        self.prepare()
        self.start()

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            RuntimeError: It ended, or does not answer in time; the text has the end of its log.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),
            )
        wait_until(self.answers, f"{self.name} answers", START_SECONDS, self._ended)

    def stop(self, mode: str = "fast") -> None:
        """Stop and wait for the end; ``"immediate"`` without a clean shutdown."""
        process, self.process = self.process, None
        if process is None:
            return
        number = self.stop_signals[mode]
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)
        finally:
            # What the server has started itself, and left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End everything that was started."""
        self.stop()

    @property
    def log(self) -> Path:
        return self.directory.parent / f"{self.name.lower()}.log"

    def _ended(self) -> str:
        if self.process is not None and self.process.poll() is not None:
            return f"{self.name} ended with {self.process.returncode}: {self.log.read_text(errors='replace')[-2000:]}"
        return ""

    def _as_user(self) -> dict[str, object]:
        if os.geteuid() != 0 or not self.user:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def run(self, *command: str, **options: object) -> str:
        """Run a program of the server to its end, as its user, and return what it says.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            command,
            env=self.environment(),
            cwd=self.directory if self.directory.exists() else "/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:] or done.stdout[-2000:]}")
        return done.stdout.strip()


def wait_until(
    condition: Callable[[], object], what: str, seconds: float, gave_up: Callable[[], str] = lambda: ""
) -> None:
    """Wait for a condition.

    Raises:
        RuntimeError: It did not come true in time, or ``gave_up`` says why it never will.
    """
    end = time.monotonic() + seconds
    while not condition():
        reason = gave_up()
        if reason or time.monotonic() > end:
            raise RuntimeError(reason or f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Say whether somebody takes connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
