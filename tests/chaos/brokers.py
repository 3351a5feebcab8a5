"""Brokers of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.chaos.servers import Server, free_port, listens, program, wait_until

__all__ = ["RabbitMQ", "Redis"]


class Redis(Server):
    name = "Redis"
    user = "redis"

    def find_programs(self) -> None:
        self.redis = program("redis-server", "redis-server")

    def command(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        return [self.redis, *place, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        import redis

        try:
            with redis.Redis(port=self.port, socket_timeout=3) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        """Lose all messages and queues."""
        import redis

        with redis.Redis(port=self.port, socket_timeout=3) as client:
            client.flushall()

    def version(self) -> str:
        return self.run(self.redis, "--version").partition("v=")[2].partition(" ")[0]

    def url(self, port: int | None = None) -> str:
        return f"redis://127.0.0.1:{port or self.port}/0"


class RabbitMQ(Server):
    name = "RabbitMQ"
    user = "rabbitmq"

    def find_programs(self) -> None:
        places = [Path("/usr/lib/rabbitmq/bin")]
        # Not Debian's wrapper around it, which changes user and environment.
        self.rabbitmq = program("rabbitmq-server", "rabbitmq-server", *places)
        self.epmd = program("epmd", "erlang-base")
        self.names_port = free_port()
        self.between_nodes = free_port()
        self.names: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        here = str(self.directory)
        return {
            **super().environment(),
            "RABBITMQ_NODENAME": f"chaos{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.between_nodes),
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/none.conf",
            "RABBITMQ_CONFIG_FILE": f"{here}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            # One scheduler thread each: the machine's cores are for the workers.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(self.names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Makes the script become the server instead of standing before it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def prepare(self) -> None:
        (self.directory / "plugins").write_text("[].\n")
        # Erlang would leave a name server running behind us.
        self.names = subprocess.Popen(
            [self.epmd, "-port", str(self.names_port), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_user(),
        )
        wait_until(lambda: listens(self.names_port), "epmd listens", 10)

    def command(self) -> list[str]:
        return [self.rabbitmq]

    def answers(self) -> bool:
        from amqp import Connection
        from amqp.exceptions import AMQPError

        try:
            Connection(f"127.0.0.1:{self.port}", connect_timeout=3, read_timeout=3).connect()
        except (OSError, AMQPError):
            return False
        return True

    def close(self) -> None:
        super().close()
        if self.names is not None:
            self.names.terminate()
            self.names.wait(10)
            self.names = None

    def version(self) -> str:
        text = self.log.read_text(errors="replace")
        return text.partition("Starting RabbitMQ ")[2].partition(" ")[0]

    def url(self, port: int | None = None) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port or self.port}//"
