"""What the cloud was asked: counts by service, method, route and status, and the latest requests one by one."""

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

REMEMBERED = 2000
"""How many of the latest requests are kept one by one."""


@dataclass(frozen=True)
class Request:
    """One answered (or deliberately unanswered) request."""

    at: float
    service: str
    method: str
    route: str
    path: str
    status: int
    request_id: str
    answered: bool = True


class Requests:
    """Counts of requests; the control API's own are not among them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._latest: deque[Request] = deque(maxlen=REMEMBERED)
        self._in_flight = 0
        self._peak_in_flight = 0

    def began(self) -> None:
        """A request arrived."""
        with self._lock:
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)

    def ended(self, request: Request) -> None:
        """A request was dealt with; a status of 0 stands for a connection closed before doing the work."""
        with self._lock:
            self._in_flight -= 1
            self._counts[request.service, request.method, request.route, request.status] += 1
            self._latest.append(request)

    def count(
        self,
        service: str | None = None,
        method: str | None = None,
        route: str | None = None,
        status: int | None = None,
    ) -> int:
        """How many requests there were that fit; what is left out may be anything.

        Args:
            route: The end of a route template, for example ``"/servers"`` or ``"/servers/{server_id}/action"``.
        """
        with self._lock:
            return sum(
                number
                for (its_service, its_method, its_route, its_status), number in self._counts.items()
                if service in (None, its_service)
                and method in (None, its_method)
                and (route is None or its_route.endswith(route))
                and status in (None, its_status)
            )

    @property
    def peak_in_flight(self) -> int:
        """The highest number of requests that were being served at the same time."""
        return self._peak_in_flight

    def latest(self) -> list[Request]:
        """The latest requests, oldest first."""
        with self._lock:
            return list(self._latest)

    def clear(self) -> None:
        """Start counting from zero."""
        with self._lock:
            self._counts.clear()
            self._latest.clear()
            self._peak_in_flight = self._in_flight

    def as_list(self) -> list[dict[str, Any]]:
        """The counts, as the control API shows them."""
        with self._lock:
            return [
                {"service": service, "method": method, "route": route, "status": status, "count": number}
                for (service, method, route, status), number in sorted(self._counts.items())
            ]

    def latest_as_list(self) -> list[dict[str, Any]]:
        """The latest requests, as the control API shows them."""
        return [asdict(request) for request in self.latest()]
