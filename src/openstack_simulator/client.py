"""A client for the control API, for simulators in other processes. It needs the standard library alone."""

import json
import urllib.error
import urllib.request
from typing import Any, cast
from urllib.parse import quote


class ControlError(Exception):
    """The simulator refused; the text is its reason."""


class SimulatorClient:
    """Drives a running simulator.

    Every method raises :class:`ControlError` when the simulator refuses, and ``OSError`` when it is not there.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        """Make a client.

        Args:
            url: The simulator's address, without ``/identity``.
            timeout: Seconds to wait for an answer.
        """
        self.url = url.rstrip("/")
        self.timeout = timeout

    def about(self) -> dict[str, Any]:
        """The address of Keystone, the time, and how many objects there are of each kind."""
        return self._call("GET", "")

    def add_fault(self, **conditions_and_effects: Any) -> int:
        """Put a rule in force; the arguments are the fields of :class:`~openstack_simulator.faults.Fault`.

        Returns its id.
        """
        return int(self._call("POST", "/faults", conditions_and_effects)["fault"]["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The rules in force and how often each acted."""
        return cast(list[dict[str, Any]], self._call("GET", "/faults")["faults"])

    def hits(self, fault_id: int) -> int:
        """How often a rule acted.

        Raises:
            LookupError: It is not in force.
        """
        for fault in self.faults():
            if fault["id"] == fault_id:
                return int(fault["hits"])
        raise LookupError(f"no fault {fault_id}")

    def remove_fault(self, fault_id: int) -> None:
        """Take a rule out of force."""
        self._call("DELETE", f"/faults/{fault_id}")

    def clear_faults(self) -> None:
        """Take all rules out of force."""
        self._call("DELETE", "/faults")

    def now(self) -> float:
        """The cloud's time, in seconds since the epoch."""
        return float(self._call("GET", "/clock")["now"])

    def advance(self, seconds: float) -> float:
        """Move the clock forward and return the new time."""
        return float(self._call("POST", "/clock", {"advance": seconds})["now"])

    def freeze(self) -> None:
        """Stop the clock."""
        self._call("POST", "/clock", {"freeze": True})

    def thaw(self) -> None:
        """Let the clock run on."""
        self._call("POST", "/clock", {"thaw": True})

    def set_pace(self, change: str, *, seconds: float = 0.0, reads: int = 0) -> None:
        """Say how long a change takes (``"server.create"``) or all changes of a kind (``"server"``)."""
        self._call("PUT", "/paces", {change: {"seconds": seconds, "reads": reads}})

    def counts(self) -> dict[str, Any]:
        """``requests`` by service, method, route and status; ``total``; ``created`` and ``peak_building`` by kind."""
        return self._call("GET", "/requests")

    def count(self, **wanted: str | int) -> int:
        """How many requests fit, for example ``count(service="compute", method="POST", route="/servers")``.

        ``route`` is the end of a route template.
        """
        route = str(wanted.pop("route", ""))
        return sum(
            int(one["count"])
            for one in self.counts()["requests"]
            if one["route"].endswith(route) and all(one[key] == value for key, value in wanted.items())
        )

    def latest_requests(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first."""
        return cast(list[dict[str, Any]], self._call("GET", "/requests/latest")["requests"])

    def forget_counts(self) -> None:
        """Count from zero."""
        self._call("DELETE", "/requests")

    def objects(self, *kinds: str) -> dict[str, list[dict[str, Any]]]:
        """Every object of every project by kind: ``servers``, ``volumes``, ``ports``, ...; or only some kinds."""
        query = "&".join(f"kind={quote(kind)}" for kind in kinds)
        return self._call("GET", f"/objects?{query}")

    def set_latency(self, seconds: float) -> None:
        """Let every request take at least so many real seconds."""
        self._call("PUT", "/settings", {"latency": seconds})

    def lift_quotas(self) -> None:
        """Take all default limits away."""
        self._call("PUT", "/settings", {"unlimited_quotas": True})

    def reset(self) -> None:
        """Begin with a new cloud; tokens are no longer good."""
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, sent: Any = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
            f"{self.url}/_simulator{path}",
            method=method,
            data=None if sent is None else json.dumps(sent).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ControlError(f"{method} {path}: {error.code} {error.read().decode('utf-8', 'replace')}") from error
        return cast(dict[str, Any], json.loads(text)) if text else {}
