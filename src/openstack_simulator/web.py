"""What the views of all services share: who asks, what the body holds, and URLs."""

from typing import Any, cast

import falcon

from openstack_simulator.errors import BadRequest, Forbidden
from openstack_simulator.records import Caller
from openstack_simulator.versions import ROOTS, Microversion

App = falcon.App[falcon.Request, falcon.Response]


def caller_of(req: falcon.Request) -> Caller:
    """Who sent the request."""
    return cast(Caller, req.context.caller)


def version_of(req: falcon.Request) -> Microversion:
    """The microversion the request is for."""
    return cast(Microversion, req.context.version)


def request_id_of(req: falcon.Request) -> str:
    """The id in the answer's ``x-openstack-request-id`` header."""
    return str(req.env["simulator.request_id"])


def document(req: falcon.Request) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        BadRequest: There is none.
    """
    try:
        media = req.get_media()
    except falcon.HTTPError as error:
        raise BadRequest("Malformed request body") from error
    if not isinstance(media, dict):
        raise BadRequest("Malformed request body")
    return media


def body(req: falcon.Request, key: str) -> dict[str, Any]:
    """The object under a key of the JSON body, for example what is under ``"server"``.

    Raises:
        BadRequest: It is not there.
    """
    value = document(req).get(key)
    if not isinstance(value, dict):
        raise BadRequest(f"Invalid input for field/attribute {key}. Value: {value}. {value!r} is not of type 'object'")
    return value


def required(values: dict[str, Any], key: str) -> Any:
    """A value that must be there.

    Raises:
        BadRequest: It is not.
    """
    if values.get(key) is None:
        raise BadRequest(f"'{key}' is a required property")
    return values[key]


def must_be_admin(req: falcon.Request, rule: str) -> None:
    """Let only admins pass.

    Raises:
        Forbidden: The caller is none; the message names the policy rule.
    """
    if not caller_of(req).is_admin:
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.")


def service_url(req: falcon.Request, service: str) -> str:
    """The address of a service's root as this client reaches it."""
    return f"{req.prefix}{ROOTS[service]}"
