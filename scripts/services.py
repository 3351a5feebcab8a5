"""Find the services that the tests can use, start what is installed, and say where they are.

Writes ``var/services.env``: one ``TEST_..._URL=...`` line per service that answers. ``make test`` reads it. Needs
Python alone, since it runs before anything is installed. A service that already answers is used as it is: never
stopped, never reconfigured. What is added to it carries our own name: virtual hosts in RabbitMQ and, with
``--install``, a login in a database that lets nobody in without a password.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
START_TIMEOUT = 90.0
"""Seconds that a service we started may take until it answers. RabbitMQ is the slow one."""

OUR_NAME = "django_executors_test"
"""Login and password in a local database that asks for one. For tests on loopback, so the password is no secret."""

OUR_VHOST = "django-executors-test"
XDIST_WORKERS = ("gw0", "gw1", "gw2", "gw3")
"""Test processes that get a virtual host of their own, so that none takes another's messages."""


class UnusableError(Exception):
    """Something listens there, but a test could not work with it. The text says why."""


# Probes: speak just enough of each protocol to know that a test could log in.


def read(connection: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise UnusableError("closed the connection")
        data += part
    return data


def connect(url: SplitResult) -> socket.socket:
    if url.hostname is None or url.port is None:
        raise UnusableError("the URL must name host and port")
    return socket.create_connection((url.hostname, url.port), timeout=5)


def probe_postgres(url: SplitResult) -> str:
    parameters = f"user\0{unquote(url.username or 'postgres')}\0database\0postgres\0\0".encode()
    with connect(url) as connection:
        connection.sendall(struct.pack("!II", len(parameters) + 8, 196608) + parameters)
        while True:
            kind, size = struct.unpack("!cI", read(connection, 5))
            body = read(connection, size - 4)
            if kind == b"E":
                fields = [field[1:] for field in body.split(b"\0") if field.startswith(b"M")]
                raise UnusableError(fields[0].decode(errors="replace") if fields else "refused the login")
            if kind == b"R" and body[:4] != bytes(4):
                if url.password:
                    return "asks for the password, which the URL has"
                raise UnusableError("asks for a password")
            if kind == b"S" and body.startswith(b"server_version\0"):
                return body.split(b"\0")[1].decode(errors="replace")


def probe_mariadb(url: SplitResult) -> str:
    with connect(url) as connection:
        size = int.from_bytes(read(connection, 4)[:3], "little")
        greeting = read(connection, size)
        if greeting[0] == 0xFF:
            raise UnusableError(greeting[3:].decode(errors="replace"))
        if greeting[0] != 10:
            raise UnusableError("does not greet as MariaDB or MySQL does")
        version = greeting[1:].split(b"\0")[0].decode(errors="replace").removeprefix("5.5.5-")
        if url.password:
            return f"{version}, the URL has a password"
        # CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION, and an empty password.
        login = struct.pack("<IIB23x", 0x8201, 1 << 24, 45) + unquote(url.username or "root").encode() + b"\0\0"
        connection.sendall(len(login).to_bytes(3, "little") + b"\1" + login)
        answer = read(connection, int.from_bytes(read(connection, 4)[:3], "little"))
        if answer[0] != 0:
            raise UnusableError("does not let this user in without a password")
        return version


def probe_rabbitmq(url: SplitResult) -> str:
    with connect(url) as connection:
        connection.sendall(b"AMQP\0\0\x09\x01")
        kind, _, size = struct.unpack("!BHI", read(connection, 7))
        if kind != 1:
            raise UnusableError("does not speak AMQP 0-9-1")
        _, _, version = read(connection, size).partition(b"\x07versionS")
        if not version:
            return "answers"
        return version[4 : 4 + int.from_bytes(version[:4], "big")].decode(errors="replace")


def probe_redis(url: SplitResult) -> str:
    with connect(url) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(100)
        if answer.startswith(b"-NOAUTH") and url.password:
            return "asks for the password, which the URL has"
        if not answer.startswith(b"+PONG"):
            raise UnusableError(answer.decode(errors="replace").strip() or "closed the connection")
        connection.sendall(b"INFO server\r\n")
        version = connection.recv(4000).partition(b"redis_version:")[2]
        return version.split(b"\r\n")[0].decode(errors="replace")


# Starting: only commands, only when nothing listens on the port.


def run(*command: str, given: str | None = None, **environment: str) -> str | None:
    """The command's output, or ``None`` when it can't be run or fails."""
    try:
        done = subprocess.run(
            command,
            input=given if given is not None else "",
            env={**os.environ, **environment},
            cwd="/",  # a directory that every service's user may enter
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        print(f"  {command[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}", file=sys.stderr)
        return None
    return done.stdout


def start_detached(*command: str) -> None:
    """Run a command that leaves a server behind, with nothing of ours held open by that server."""
    try:
        subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        print(f"  {command[0]}: {exc}", file=sys.stderr)


def start_postgres(url: SplitResult) -> None:
    for line in (run("pg_lsclusters", "--no-header") or "").splitlines():
        version, name, port, *_ = line.split()
        if port == str(url.port):
            start_detached("pg_ctlcluster", version, name, "start")


def start_mariadb(url: SplitResult) -> None:
    sockets = Path("/run/mysqld")
    if not sockets.exists() and os.geteuid() == 0:
        sockets.mkdir(mode=0o755)
        shutil.chown(sockets, "mysql", "mysql")
    server = ("--exec", shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--", f"--port={url.port}")
    start_detached("start-stop-daemon", "--start", "--background", "--chuid", "mysql", *server)


def start_rabbitmq(url: SplitResult) -> None:
    del url  # its port is RabbitMQ's own setting
    start_detached("rabbitmq-server", "-detached")


def start_redis(url: SplitResult) -> None:
    place = ("--bind", "127.0.0.1", "--port", str(url.port), "--dir", str(VAR))
    start_detached("redis-server", "--daemonize", "yes", "--save", "", *place)


# Making room: a login where a database has none for us, a virtual host where RabbitMQ allows it.


def with_our_login(url: SplitResult) -> SplitResult:
    return url._replace(netloc=f"{OUR_NAME}:{OUR_NAME}@{url.hostname}:{url.port}")


def our_postgres_login(url: SplitResult) -> bool:
    login = ("psql", "-h", str(url.hostname), "-p", str(url.port), "-U", OUR_NAME, "-d", "postgres", "-Atc", "SELECT 1")
    return run(*login, PGPASSWORD=OUR_NAME) is not None


def our_mariadb_login(url: SplitResult) -> bool:
    login = ("mariadb", "-h", str(url.hostname), "-P", str(url.port), "-u", OUR_NAME, f"-p{OUR_NAME}", "-e", "SELECT 1")
    return run(*login) is not None


def open_postgres(url: SplitResult) -> None:
    """A role of our own, which may make databases. The server's access rules stay as they are."""
    psql = ("runuser", "-u", "postgres", "--", "psql", "-p", str(url.port), "-d", "postgres")
    run(*psql, "-qc", f"CREATE ROLE {OUR_NAME} LOGIN CREATEDB PASSWORD '{OUR_NAME}'")


def open_mariadb(url: SplitResult) -> None:
    """A user of our own, with rights on the test databases alone."""
    del url  # the local socket lets root in
    sql = "".join(
        f"CREATE USER IF NOT EXISTS '{OUR_NAME}'@'{host}' IDENTIFIED BY '{OUR_NAME}';"
        f"GRANT ALL ON `test\\_django\\_executors%`.* TO '{OUR_NAME}'@'{host}';"
        for host in ("localhost", "127.0.0.1")
    )
    run("mariadb", "--user=root", given=sql)


def own_vhosts(url: SplitResult) -> SplitResult | None:
    """The URL of a virtual host of ours; each test process has one more. ``None`` where we may not make them."""
    names = [OUR_VHOST, *(f"{OUR_VHOST}-{worker}" for worker in XDIST_WORKERS)]
    listed = run("rabbitmqctl", "--quiet", "list_vhosts", "--no-table-headers")
    if listed is None:
        return None
    if not set(names) <= set(listed.split()):
        every = {"configure": ".*", "write": ".*", "read": ".*"}
        user = unquote(url.username or "guest")
        definitions = {
            "vhosts": [{"name": name} for name in names],
            "permissions": [{"user": user, "vhost": name, **every} for name in names],
        }
        if run("rabbitmqctl", "--quiet", "import_definitions", given=json.dumps(definitions)) is None:
            return None
    return url._replace(path=f"/{OUR_VHOST}")


# One table, one loop.


@dataclass(frozen=True)
class Service:
    name: str
    variable: str
    default: str
    package: str
    program: str
    probe: Callable[[SplitResult], str]
    start: Callable[[SplitResult], None]
    our_login: Callable[[SplitResult], bool] | None = None
    open: Callable[[SplitResult], None] | None = None


SERVICES = [
    Service(
        "PostgreSQL",
        "TEST_POSTGRES_URL",
        "postgres://postgres@127.0.0.1:5432",
        "postgresql",
        "pg_ctlcluster",
        probe_postgres,
        start_postgres,
        our_postgres_login,
        open_postgres,
    ),
    Service(
        "MariaDB",
        "TEST_MARIADB_URL",
        "mysql://root@127.0.0.1:3306",
        "mariadb-server",
        "mariadbd",
        probe_mariadb,
        start_mariadb,
        our_mariadb_login,
        open_mariadb,
    ),
    Service(
        "RabbitMQ",
        "TEST_RABBITMQ_URL",
        "amqp://guest:guest@127.0.0.1:5672//",
        "rabbitmq-server",
        "rabbitmq-server",
        probe_rabbitmq,
        start_rabbitmq,
    ),
    Service(
        "Redis",
        "TEST_REDIS_URL",
        "redis://127.0.0.1:6379/14",
        "redis-server",
        "redis-server",
        probe_redis,
        start_redis,
    ),
]


def installed(service: Service) -> bool:
    # Debian's server programs lie in directories that a user's PATH may lack.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return shutil.which(service.program) is not None


def install(missing: list[Service]) -> None:
    """Debian's packages, without questions. Needs root."""
    packages = [service.package for service in missing]
    print(f"installing {' '.join(packages)}", flush=True)
    run("apt-get", "update", "-q")
    run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, DEBIAN_FRONTEND="noninteractive")


def wait_for(service: Service, url: SplitResult) -> str:
    """What the probe says, tried again until a service that was just started answers."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            return service.probe(url)
        except (OSError, UnusableError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def answers(service: Service) -> bool:
    try:
        connect(urlsplit(service.default)).close()
    except OSError:
        return False
    return True


def log_in_as_ours(service: Service, url: SplitResult, *, may_open: bool) -> bool:
    """Whether our own login works, made first where that is allowed."""
    if service.our_login is None or service.open is None:
        return False
    if service.our_login(url):
        return True
    if may_open:
        service.open(url)
    return may_open and service.our_login(url)


def find(service: Service, *, may_open: bool) -> tuple[SplitResult | None, str]:
    """Where the service is, or ``None``, and one line about it."""
    given = os.environ.get(service.variable)
    url = urlsplit(given or service.default)
    started = ""
    try:
        try:
            text = service.probe(url)
        except OSError as exc:
            if url.hostname not in {"127.0.0.1", "localhost", "::1"} or not installed(service):
                return None, f"absent: {exc.strerror or exc}"
            service.start(url)
            started = "started, "
            text = wait_for(service, url)
    except (OSError, UnusableError) as exc:
        if given or isinstance(exc, OSError) or not log_in_as_ours(service, url, may_open=may_open):
            return None, f"unusable: {exc}"
        url, text = with_our_login(url), f"with the login {OUR_NAME}"
    if service.variable == "TEST_RABBITMQ_URL" and not given:
        own = own_vhosts(url)
        text += f", virtual hosts {OUR_VHOST}[-gwN]" if own else ", shared virtual host: tests run in one process"
        url = own or url
    if url.scheme in {"postgres", "postgresql", "mysql"} and url.path in {"", "/"}:
        url = url._replace(path="/django_executors")  # the tests put "test_" before it
    return url, f"{started}{text}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Find and start the services that the tests can use.")
    parser.add_argument("--install", action="store_true", help="install what is missing (Debian, as root)")
    parser.add_argument("--require", action="store_true", help="fail when a service is missing")
    arguments = parser.parse_args()
    VAR.mkdir(exist_ok=True)
    may_install = arguments.install and os.geteuid() == 0 and shutil.which("apt-get") is not None
    if arguments.install and not may_install:
        print("--install needs root and apt-get: nothing is installed", file=sys.stderr)

    missing = [
        service
        for service in SERVICES
        if service.variable not in os.environ and not answers(service) and not installed(service)
    ]
    if may_install and missing:
        install(missing)

    lines = []
    for service in SERVICES:
        url, text = find(service, may_open=may_install)
        print(f"{service.name:<11}{text}", flush=True)
        if url is not None:
            lines.append(f"{service.variable}={url.geturl()}\n")
            if url.scheme == "amqp" and not url.path.endswith(OUR_VHOST):
                lines.append("TEST_PROCESSES=1\n")
    environment = VAR / "services.env"
    environment.touch(mode=0o600)
    environment.write_text("".join(lines))

    absent = len(SERVICES) - sum(line.startswith("TEST_") and "_URL=" in line for line in lines)
    if absent and arguments.require:
        print(f"{absent} of {len(SERVICES)} services are missing, and --require was given", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
