"""Error answers: which exception a store raises, and how each service writes it into a body."""

import html
import json
from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """An error that a client is told about.

    Attributes:
        status: The HTTP status.
        message: The text of the service it comes from.
        kind: Neutron's exception type; the other services have none.
        retry_after: Seconds, for the Retry-After header.
    """

    status = 500

    def __init__(
        self, message: str, *, kind: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.status = status or self.status
        self.retry_after = retry_after


class BadRequest(ApiError):
    status = 400


class Unauthorized(ApiError):
    status = 401

    def __init__(self, message: str = "The request you have made requires authentication.") -> None:
        super().__init__(message)


class Forbidden(ApiError):
    status = 403


class NotFound(ApiError):
    status = 404


class NotAcceptable(ApiError):
    status = 406


class Conflict(ApiError):
    status = 409


class OverLimit(ApiError):
    """Cinder's answer to an exceeded quota."""

    status = 413

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0)


class NotImplementedHere(ApiError):
    status = 501


NOVA_FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def reason(status: int) -> str:
    """The standard phrase of a status, ``"Unknown"`` for one without."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def body(service: str, error: ApiError, request_id: str) -> tuple[str, str]:
    """The content type and the text with which a service tells of an error."""
    if service == "image" and error.status != 401:  # that one comes from Keystone's middleware, in JSON
        title = f"{error.status} {reason(error.status)}"
        text = (
            f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
            f"  {html.escape(error.message)}<br /><br />\n\n\n </body>\n</html>"
        )
        return "text/html; charset=UTF-8", text
    return "application/json", json.dumps(_document(service, error, request_id))


def _document(service: str, error: ApiError, request_id: str) -> dict[str, Any]:
    if service == "identity" or error.status == 401:
        return {"error": {"code": error.status, "message": error.message, "title": reason(error.status)}}
    if service in ("compute", "block_storage"):
        fault: dict[str, Any] = {"code": error.status, "message": error.message}
        if error.retry_after is not None:
            fault["retryAfter"] = str(round(error.retry_after))
        return {NOVA_FAULT_NAMES.get(error.status, "computeFault"): fault}
    if service == "network":
        kind = error.kind or f"HTTP{reason(error.status).title().replace(' ', '')}"
        return {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}
    return {
        "errors": [
            {
                "status": error.status,
                "title": reason(error.status),
                "detail": error.message,
                "request_id": request_id,
            }
        ]
    }
