"""Version discovery: the documents at each service's root, and microversions."""

from typing import Any

import falcon

from openstack_simulator.errors import BadRequest, NotAcceptable

Microversion = tuple[int, int]

ROOTS = {
    "identity": "/identity",
    "image": "/image",
    "compute": "/compute",
    "block_storage": "/volume",
    "network": "/network",
    "placement": "/placement",
}
"""Where each service is, under one address."""

MICROVERSIONS: dict[str, tuple[str, Microversion, Microversion]] = {
    "compute": ("compute", (2, 1), (2, 96)),
    "block_storage": ("volume", (3, 0), (3, 70)),
    "placement": ("placement", (1, 0), (1, 39)),
}
"""For the services that have microversions: their name in the header, the lowest and the highest."""

UPDATED = "2024-01-01T00:00:00Z"


def service_at(path: str) -> str:
    """The service that a path belongs to; an empty text for a path outside all of them."""
    for service, root in ROOTS.items():
        if path == root or path.startswith(root + "/"):
            return service
    return ""


def negotiate(service: str, req: falcon.Request) -> Microversion:
    """The microversion a request is for; without a header the lowest.

    Raises:
        NotAcceptable: The service does not have it.
        BadRequest: The header cannot be read.
    """
    if service not in MICROVERSIONS:
        return (0, 0)
    name, lowest, highest = MICROVERSIONS[service]
    asked = _asked_for(req, service, name)
    if not asked:
        return lowest
    if asked == "latest":
        return highest
    major, _, minor = asked.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise BadRequest(f"API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = (int(major), int(minor))
    if not lowest <= version <= highest:
        raise NotAcceptable(
            f"Version {asked} is not supported by the API. Minimum is {dotted(lowest)} and maximum is {dotted(highest)}."
        )
    return version


def _asked_for(req: falcon.Request, service: str, name: str) -> str:
    for entry in (req.get_header("OpenStack-API-Version") or "").split(","):
        kind, _, version = entry.strip().partition(" ")
        if kind == name:
            return version.strip()
    return (req.get_header("X-OpenStack-Nova-API-Version") or "") if service == "compute" else ""


def announce(service: str, version: Microversion, resp: falcon.Response) -> None:
    """Tell in the headers which microversion the answer is in."""
    if service in MICROVERSIONS and version != (0, 0):
        resp.set_header("OpenStack-API-Version", f"{MICROVERSIONS[service][0]} {dotted(version)}")
        resp.append_header("Vary", "OpenStack-API-Version")
        if service == "compute":
            resp.set_header("X-OpenStack-Nova-API-Version", dotted(version))


def dotted(version: Microversion) -> str:
    """``(2, 96)`` as ``"2.96"``."""
    return f"{version[0]}.{version[1]}"


def _link(url: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": url}]


def _identity(base: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": UPDATED,
        "links": _link(f"{base}/identity/v3/"),
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def _with_microversions(service: str, version_id: str, url: str, media: str) -> dict[str, Any]:
    _, lowest, highest = MICROVERSIONS[service]
    return {
        "id": version_id,
        "status": "CURRENT",
        "version": dotted(highest),
        "min_version": dotted(lowest),
        "updated": UPDATED,
        "links": _link(url),
        "media-types": [{"base": "application/json", "type": media}],
    }


def _compute(base: str) -> dict[str, Any]:
    media = "application/vnd.openstack.compute+json;version=2.1"
    return _with_microversions("compute", "v2.1", f"{base}/compute/v2.1/", media)


def _block_storage(base: str) -> dict[str, Any]:
    media = "application/vnd.openstack.volume+json;version=3"
    return _with_microversions("block_storage", "v3.0", f"{base}/volume/v3/", media)


class PublicDocument:
    """A document that needs no token."""

    public = True

    def __init__(self, service: str, version: str = "") -> None:
        self.service = service
        self.version = version

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the version or the list of versions."""
        resp.status, resp.media = self.document(req.prefix)

    def document(self, base: str) -> tuple[int, dict[str, Any]]:
        """The status (300 where the real service says "multiple choices") and the document."""
        if self.service == "identity":
            one = _identity(base)
            return (200, {"version": one}) if self.version else (300, {"versions": {"values": [one]}})
        if self.service == "compute":
            one = _compute(base)
            return (200, {"version": one}) if self.version else (200, {"versions": [one]})
        if self.service == "block_storage":
            return (200 if self.version else 300), {"versions": [_block_storage(base)]}
        if self.service == "image":
            links = _link(f"{base}/image/v2/")
            supported = [{"id": f"v2.{minor}", "status": "SUPPORTED", "links": links} for minor in (9, 7, 5, 2, 1, 0)]
            return 300, {"versions": [{"id": "v2.15", "status": "CURRENT", "links": links}, *supported]}
        if self.service == "network":
            one = {"id": "v2.0", "status": "CURRENT", "links": _link(f"{base}/network/v2.0/")}
            return 200, ({"resources": []} if self.version else {"versions": [one]})
        _, lowest, highest = MICROVERSIONS["placement"]
        one = {
            "id": "v1.0",
            "status": "CURRENT",
            "min_version": dotted(lowest),
            "max_version": dotted(highest),
            "links": _link(""),
        }
        return 200, {"versions": [one]}


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]") -> None:
    """Serve the version documents."""
    versions = {"identity": "v3", "image": "v2", "compute": "v2.1", "block_storage": "v3", "network": "v2.0"}
    for service, root in ROOTS.items():
        app.add_route(root, PublicDocument(service))
        if service in versions:
            app.add_route(f"{root}/{versions[service]}", PublicDocument(service, versions[service]))
