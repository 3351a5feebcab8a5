"""What an exception of the SDK means for the request that was sent."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1 import session as keystone_session
from openstack import exceptions as sdk

from django_executors.exceptions import (
    BackendNotFound,
    BackendRejected,
    BackendThrottled,
    BackendUnavailable,
    ConfigurationError,
    LeaseLost,
    OutcomeUnknown,
)
from django_executors_openstack.backend.errors import translate, translated, translation

URL = "http://cloud.example/compute/v2.1/servers"


def answer(
    status: int, method: str = "POST", headers: dict[str, str] | None = None, message: str = "words of the cloud"
) -> Exception:
    """The SDK's exception for an answer of a cloud."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({"content-type": "application/json", "x-openstack-request-id": "req-1", **(headers or {})})
    response._content = b'{"error": {"message": "%s"}}' % message.encode()
    response.request = requests.Request(method, URL).prepare()
    try:
        sdk.raise_from_response(response)
    except sdk.SDKException as exc:
        return exc
    raise AssertionError(status)


@pytest.mark.parametrize(
    ("status", "method", "headers", "wanted"),
    [
        (400, "POST", {}, BackendRejected),
        (401, "POST", {}, BackendRejected),
        (403, "POST", {}, BackendRejected),
        (409, "POST", {}, BackendRejected),
        (412, "PUT", {}, BackendRejected),
        (501, "POST", {}, BackendRejected),
        (404, "GET", {}, BackendNotFound),
        (404, "POST", {}, BackendNotFound),
        (413, "POST", {}, BackendRejected),
        (413, "POST", {"retry-after": "0"}, BackendRejected),
        (413, "POST", {"retry-after": "3"}, BackendThrottled),
        (429, "POST", {}, BackendThrottled),
        (429, "GET", {"retry-after": "3"}, BackendThrottled),
        (503, "POST", {}, BackendUnavailable),
        (503, "GET", {}, BackendUnavailable),
        (500, "GET", {}, BackendUnavailable),
        (502, "GET", {}, BackendUnavailable),
        (504, "HEAD", {}, BackendUnavailable),
        (500, "POST", {}, OutcomeUnknown),
        (502, "PUT", {}, OutcomeUnknown),
        (504, "DELETE", {}, OutcomeUnknown),
        (408, "POST", {}, OutcomeUnknown),
        (408, "GET", {}, BackendUnavailable),
    ],
)
def test_an_answer_means_one_thing(status: int, method: str, headers: dict[str, str], wanted: type[Exception]) -> None:
    ours = translate(answer(status, method, headers), "compute")
    assert type(ours) is wanted
    assert (ours.service, ours.status, ours.request_id) == ("compute", status, "req-1")
    assert "words of the cloud" in str(ours)
    assert "req-1" in str(ours)


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), (None, None)])
def test_a_retry_after_header_becomes_seconds(header: str | None, seconds: float | None) -> None:
    ours = translate(answer(429, headers={"retry-after": header} if header else {}), "compute")
    assert ours.retry_after == seconds


def test_a_retry_after_date_in_the_past_means_now() -> None:
    ours = translate(answer(429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), "compute")
    assert ours.retry_after == 0.0


@pytest.mark.parametrize(
    ("exc", "wanted"),
    [
        (sdk.ConfigException("Cloud nowhere was not found."), ConfigurationError),
        (keystone.MissingRequiredOptions([]), ConfigurationError),
        (sdk.EndpointNotFound("no compute"), BackendRejected),
        (keystone.EndpointNotFound("no compute"), BackendRejected),
        (sdk.NotSupported("2.99"), BackendRejected),
        (keystone.Unauthorized("wrong password"), BackendRejected),
        (keystone.ServiceUnavailable("down"), BackendUnavailable),
        (keystone.DiscoveryFailure("no versions"), BackendUnavailable),
        (sdk.SDKException("something"), BackendUnavailable),
        (keystone.ConnectFailure("of a request nobody knows"), OutcomeUnknown),
    ],
)
def test_an_error_without_an_answer_means_one_thing(exc: Exception, wanted: type[Exception]) -> None:
    assert type(translate(exc, "compute")) is wanted


@pytest.mark.parametrize(
    "secret",
    [
        "http://user:hunter2@proxy:3128/",
        "X-Auth-Token: hunter2",
        '{"auth": {"password": "hunter2"}}',
        "adminPass=x admin_pass=hunter2",
        "token gAAAAABhunter2hunter2hunter2hunter2hunter2",
    ],
)
def test_no_text_carries_a_secret(secret: str) -> None:
    ours = translate(sdk.SDKException(f"could not send {secret}"), "compute")
    assert "hunter2" not in str(ours)
    assert "could not send" in str(ours)


def test_a_page_of_html_is_cut() -> None:
    assert len(str(translate(sdk.SDKException("x" * 100_000), "compute"))) < 1000


def test_our_own_errors_pass_and_others_are_not_touched() -> None:
    with pytest.raises(BackendNotFound, match="mine"), translation("compute"):
        raise BackendNotFound("mine")
    with pytest.raises(LeaseLost), translation("compute"):
        raise LeaseLost("mine")

    @translated("compute")
    def broken() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        broken()


# -- real sockets: what requests and keystoneauth make of a connection that fails -----------------------------------------


@pytest.fixture
def send() -> Callable[..., Exception]:
    """Send one request through keystoneauth and return our error for what comes back."""

    def call(url: str, method: str = "POST", timeout: Any = (0.3, 0.3)) -> Exception:
        try:
            keystone_session.Session(timeout=None).request(url, method, authenticated=False, timeout=timeout)
        except Exception as exc:
            return translate(exc, "compute")
        raise AssertionError("it answered")

    return call


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def rude_server() -> Iterator[str]:
    """A server that reads a request and then breaks the connection, or with /silent does not answer in time."""
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            line = self.rfile.readline()
            if b"silent" in line:
                done.wait(5)
            self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    done.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_refused_connection_had_no_effect(send: Callable[..., Exception], free_port: int, method: str) -> None:
    assert type(send(f"http://127.0.0.1:{free_port}/x", method)) is BackendUnavailable


@pytest.mark.parametrize(
    ("path", "method", "wanted"),
    [
        ("/servers", "GET", BackendUnavailable),
        ("/servers", "POST", OutcomeUnknown),
        ("/servers/1", "DELETE", OutcomeUnknown),
        ("/silent", "GET", BackendUnavailable),
        ("/silent", "POST", OutcomeUnknown),
        ("/v3/auth/tokens", "POST", BackendUnavailable),
        ("/silent/v3/auth/tokens", "POST", BackendUnavailable),
    ],
)
def test_a_request_that_was_sent_and_not_answered(
    send: Callable[..., Exception], rude_server: str, path: str, method: str, wanted: type[Exception]
) -> None:
    assert type(send(rude_server + path, method)) is wanted
