"""The HTTP/1.1 server: one thread per connection, kept alive between requests."""

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

IDLE_SECONDS = 300
"""A connection that sends nothing for so long is closed."""


class ConnectionDropped(Exception):
    """Raised by the application to have the connection closed without an answer."""


class Server(ThreadingHTTPServer):
    """Serves a WSGI application. Stopping it also closes the connections that clients keep open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], application: WsgiApp) -> None:
        self.application = application
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without the reverse name look-up of the base class, which may take seconds."""
        super(ThreadingHTTPServer, self).server_bind()  # HTTPServer's own
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that stopping can close it."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our trouble; anything else is logged."""
        logger.debug("connection of %s ended", client_address, exc_info=True)

    def close_connections(self) -> None:
        """Close what clients keep open; without it they would be served after the stop."""
        with self._open_lock:
            open_now, self._open = self._open, set()
        for connection in open_now:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("connection was closed already", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """Turns requests into WSGI calls, and their results into one write to the socket."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS
    server: Server

    def serve(self) -> None:
        """Answer one request."""
        answer: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            answer["status"], answer["headers"] = status, headers

        try:
            content = b"".join(self.server.application(self._environ(), start_response))
        except ConnectionDropped:
            self.close_connection = True
            return
        code = int(answer["status"].split(" ", 1)[0])
        lines = [f"HTTP/1.1 {answer['status']}"]
        lines += [f"{name}: {value}" for name, value in answer["headers"] if name.lower() != "content-length"]
        if code not in (204, 304):
            lines.append(f"Content-Length: {self._length(content, answer['headers'])}")
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        if self.command != "HEAD" and code not in (204, 304):
            self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: requests are counted elsewhere."""

    def _length(self, content: bytes, headers: list[tuple[str, str]]) -> int:
        if self.command == "HEAD":
            return next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        return len(content)

    def _environ(self) -> Environ:
        path, _, query = self.path.partition("?")
        sent = self._body()
        host, port = self.server.server_address[:2]
        environ: Environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_LENGTH": str(len(sent)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(sent),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            if key == "CONTENT_TYPE":
                environ[key] = value
            elif key not in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
                environ[f"HTTP_{key}"] = value
        return environ

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))
