"""What happens around every request: faults and delays before it, the lock during it, counts after it."""

import io
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from falcon.routing import CompiledRouter

from openstack_simulator import errors
from openstack_simulator.cloud import Cloud
from openstack_simulator.faults import Faults, Verdict
from openstack_simulator.http_server import ConnectionDropped, Environ, WsgiApp
from openstack_simulator.lifecycle import Effects
from openstack_simulator.request_log import Request, Requests
from openstack_simulator.versions import service_at

CONTROL = "/_simulator"
"""Where the control API is; its requests meet no faults and are not counted."""

StartResponse = Callable[..., Any]


class Gateway:
    """The WSGI application in front of the services.

    Delays are waited for in the connection's own thread and without the cloud's lock, so a slow request does not hold
    up others; the work itself runs under the lock, one request at a time.
    """

    cloud: Cloud
    application: WsgiApp
    router: CompiledRouter

    def __init__(self, faults: Faults, requests: Requests) -> None:
        self.faults = faults
        self.requests = requests
        self.latency = 0.0
        """Real seconds that every request takes at least."""

    def serve(self, cloud: Cloud, application: WsgiApp, router: CompiledRouter) -> None:
        """Put the gateway in front of a cloud, in place of the one before."""
        self.cloud, self.application, self.router = cloud, application, router

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request.

        Raises:
            ConnectionDropped: A fault wants the connection closed without an answer.
        """
        request_id = environ["simulator.request_id"] = f"req-{uuid.uuid4()}"
        path = environ["PATH_INFO"]
        if path.startswith(CONTROL):
            return self.application(environ, start_response)
        service, method = service_at(path), environ["REQUEST_METHOD"]
        sent = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(sent)
        query = environ["QUERY_STRING"]
        verdict = self.faults.judge(service, method, f"{path}?{query}" if query else path, sent)
        self.requests.began()
        status, answered = 0, False
        try:
            if verdict.delay or self.latency:
                time.sleep(verdict.delay + self.latency)
            if verdict.drop_before:
                raise ConnectionDropped
            status, headers, content = self._answer(environ, service, verdict)
            if verdict.answer_delay:
                time.sleep(verdict.answer_delay)
            if verdict.lose_answer:
                raise ConnectionDropped
            answered = True
        finally:
            route = self._route(path)
            self.requests.ended(
                Request(self.cloud.clock.now(), service, method, route, path, status, request_id, answered)
            )
        headers.append(("x-openstack-request-id", request_id))
        if service in ("compute", "block_storage"):
            headers.append(("x-compute-request-id", request_id))
        start_response(f"{status} {errors.reason(status)}", headers)
        return content

    def _route(self, path: str) -> str:
        """The route's template, also of a request that never got to a view."""
        found = self.router.find(path.rstrip("/"))
        return path if found is None or found[3] is None else found[3]

    def _answer(
        self, environ: Environ, service: str, verdict: Verdict
    ) -> tuple[int, list[tuple[str, str]], list[bytes]]:
        if verdict.failure is not None:
            return self._injected(environ, service, verdict)
        answer: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            answer["status"], answer["headers"] = int(status.split(" ", 1)[0]), headers

        cloud, application = self.cloud, self.application  # a reset may replace both at any time
        with cloud.held():
            cloud.lifecycle.effects = verdict.effects
            try:
                content = list(application(environ, start))
            finally:
                cloud.lifecycle.effects = Effects()
        return answer["status"], list(answer["headers"]), content

    @staticmethod
    def _injected(environ: Environ, service: str, verdict: Verdict) -> tuple[int, list[tuple[str, str]], list[bytes]]:
        rule = verdict.failure
        if rule is None or rule.status is None:
            raise ValueError("no error was asked for")
        error = errors.ApiError(rule.message, status=rule.status, retry_after=rule.retry_after)
        content_type, text = errors.body(service, error, environ["simulator.request_id"])
        headers = [("Content-Type", content_type)]
        if rule.retry_after is not None:
            headers.append(("Retry-After", f"{rule.retry_after:g}"))
        return rule.status, headers, [text.encode()]
