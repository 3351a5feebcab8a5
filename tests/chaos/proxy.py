"""A TCP proxy between the workers and the database, in a process of its own, that cuts connections when told to.

It can also cut one exactly between a COMMIT and its answer: the database has said that the transaction is committed, and the
client never hears it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Proxy"]

COMMITS = {"postgres": b"Q\x00\x00\x00\x0bCOMMIT\x00", "mysql": b"\x07\x00\x00\x00\x03COMMIT"}
"""The message with which each client library commits."""


def committed(protocol: str, answer: bytes) -> bool:
    """Say whether an answer to COMMIT says that the transaction was committed, and not rolled back."""
    if protocol == "postgres":
        return answer.startswith(b"C\x00\x00\x00\x0bCOMMIT\x00")
    return answer[4:5] == b"\x00"


class Proxy:
    """The proxy as its owner sees it; safe to use from several threads."""

    def __init__(self, protocol: str, server_port: int, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, protocol, server_port, seed), daemon=True)
        self._process.start()
        theirs.close()
        self.port: int = self._pipe.recv()

    def cut(self, count: int) -> None:
        """Cut some open connections, chosen by chance."""
        self._tell("cut", count)

    def lose_commit_answers(self, count: int) -> None:
        """Let the next COMMITs reach the database, and cut the connection instead of handing on the answer."""
        self._tell("lose", count)

    def forget(self) -> None:
        """Take back what was asked for and has not happened yet."""
        self._tell("forget", 0)

    def counts(self) -> dict[str, int]:
        """How many connections were opened and cut, and how many answers to COMMIT were lost."""
        with self._lock:
            self._pipe.send(("counts", 0))
            counts: dict[str, int] = self._pipe.recv()
        return counts

    def _tell(self, what: str, count: int) -> None:
        with self._lock:
            self._pipe.send((what, count))

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)


def _run(pipe: Connection, protocol: str, server_port: int, seed: int) -> None:
    with suppress(EOFError, KeyboardInterrupt):
        asyncio.run(_Relay(pipe, protocol, server_port, seed).serve())


class _Relay:
    def __init__(self, pipe: Connection, protocol: str, server_port: int, seed: int) -> None:
        self.pipe = pipe
        self.protocol = protocol
        self.server_port = server_port
        self.random = random.Random(seed)
        self.links: list[_Link] = []
        self.to_lose = 0
        self.counts = {"opened": 0, "cut": 0, "commit_answers_lost": 0}

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.pipe.send(server.sockets[0].getsockname()[1])
        loop.add_reader(self.pipe.fileno(), self.command)
        async with server:
            await self.ended

    def command(self) -> None:
        try:
            what, count = self.pipe.recv()
        except EOFError:
            self.ended.set_result(None)
            return
        if what == "cut":
            for link in self.random.sample(self.links, min(count, len(self.links))):
                self.counts["cut"] += 1
                link.abort()
        elif what == "lose":
            self.to_lose += count
        elif what == "forget":
            self.to_lose = 0
        else:
            self.pipe.send(self.counts)


class _Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, relay: _Relay, client: asyncio.Transport) -> None:
        self.relay = relay
        self.client = client
        self.server: asyncio.Transport | None = None
        self.waiting = bytearray()
        self.loses_answer = False

    def from_client(self, data: bytes) -> None:
        if self.relay.to_lose > 0 and not self.loses_answer and data.endswith(COMMITS[self.relay.protocol]):
            self.relay.to_lose -= 1
            self.loses_answer = True
        if self.server is None:
            self.waiting += data
        else:
            self.server.write(data)

    def from_server(self, data: bytes) -> None:
        if self.loses_answer:
            self.loses_answer = False
            if committed(self.relay.protocol, data):
                self.relay.counts["commit_answers_lost"] += 1
                self.abort()
                return
            self.relay.to_lose += 1
        self.client.write(data)

    def abort(self) -> None:
        if self in self.relay.links:
            self.relay.links.remove(self)
        self.client.abort()
        if self.server is not None:
            self.server.abort()


class _Client(asyncio.Protocol):
    def __init__(self, relay: _Relay) -> None:
        self.relay = relay

    def connection_made(self, transport: Any) -> None:
        self.link = _Link(self.relay, transport)
        self.relay.counts["opened"] += 1
        self.relay.links.append(self.link)
        self.task = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(lambda: _Server(self.link), "127.0.0.1", self.relay.server_port)
        except OSError:
            self.link.abort()
            return
        if self.link not in self.relay.links:
            transport.abort()
            return
        self.link.server = transport
        transport.write(bytes(self.link.waiting))
        self.link.waiting.clear()

    def data_received(self, data: bytes) -> None:
        self.link.from_client(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.link.abort()


class _Server(asyncio.Protocol):
    def __init__(self, link: _Link) -> None:
        self.link = link

    def data_received(self, data: bytes) -> None:
        self.link.from_server(data)

    def connection_lost(self, error: Exception | None) -> None:
        # What the server said last is handed on before the end of the connection is.
        self.link.client.close()
