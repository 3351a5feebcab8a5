"""From the SDK's exceptions to ours: what went wrong, and what that means for the request that was sent.

The question behind every mapping is whether the cloud may have done the work. A read that failed did nothing, so it is
tried again. A request that changes something and that certainly never arrived is tried again too. In between are the
broken connections, the read timeouts and the gateways' 5xx: their outcome is unknown, and the next attempt looks first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from django_executors.exceptions import (
    BackendError,
    BackendNotFound,
    BackendRejected,
    BackendThrottled,
    BackendUnavailable,
    ConfigurationError,
    OutcomeUnknown,
)
from django_executors.redaction import redact

__all__ = ["translate", "translated", "translation"]

P = ParamSpec("P")
R = TypeVar("R")

READS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_TEXT = 500
"""Length of an error text in characters; clouds answer with whole HTML pages at times."""

_TOKEN = re.compile(r"\bgAAAA[\w=-]{20,}")  # a Fernet token, wherever it stands


@contextmanager
def translation(service: str) -> Iterator[None]:
    """Turn every exception of the SDK that leaves the block into one of ours.

    Args:
        service: Which service of the cloud the block talks to, for example ``"compute"``.
    """
    try:
        yield
    except BackendError:
        raise
    except (sdk.SDKException, keystone.ClientException, requests.RequestException, urllib3.exceptions.HTTPError) as exc:
        raise translate(exc, service) from exc


def translated(service: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a backend method so that no exception of the SDK leaves it, see `translation`."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            with translation(service):
                return method(*args, **kwargs)

        return inner

    return decorate


def translate(exc: BaseException, service: str) -> Exception:
    """Return our exception for one of the SDK, keystoneauth or requests; it is not raised."""
    if isinstance(exc, sdk.ConfigException | keystone.MissingRequiredOptions | keystone.NoMatchingPlugin):
        return ConfigurationError(f"the cloud is not configured: {_clean(str(exc))}")
    answer = _response_of(exc)
    if answer is not None:
        return _from_answer(exc, answer, service)
    status = _status_of(exc)
    if status:
        return _from_status(status, _text_of(exc), service=service, request_id="", changes=False, retry_after=None)
    return _from_transport(exc, service)


def _from_answer(exc: BaseException, answer: requests.Response, service: str) -> BackendError:
    # What requests sent last; a redirect keeps the method.
    request = answer.request
    changes = _changes_something(request.method, request.url) if request is not None else True
    return _from_status(
        answer.status_code,
        _text_of(exc),
        service=service,
        request_id=answer.headers.get("x-openstack-request-id") or answer.headers.get("x-compute-request-id") or "",
        changes=changes,
        retry_after=answer.headers.get("retry-after"),
    )


def _from_status(
    status: int, text: str, *, service: str, request_id: str, changes: bool, retry_after: str | None
) -> BackendError:
    details: dict[str, Any] = {"service": service, "request_id": request_id, "status": status}
    if status == 404:
        return BackendNotFound(text, **details)
    if status == 429 or (status == 413 and _seconds(retry_after)):
        # Cinder says 413 to a full quota too, with a Retry-After of 0; only a rate limit names a time to come back.
        return BackendThrottled(text, retry_after=_seconds(retry_after), **details)
    if status == 503:
        if retry_after:
            return BackendThrottled(text, retry_after=_seconds(retry_after), **details)
        return BackendUnavailable(text, **details)
    if status == 408:
        return OutcomeUnknown(text, **details) if changes else BackendUnavailable(text, **details)
    if status == 501:
        return BackendRejected(text, **details)
    if status >= 500:
        return OutcomeUnknown(text, **details) if changes else BackendUnavailable(text, **details)
    return BackendRejected(text, **details)


def _from_transport(exc: BaseException, service: str) -> BackendError:
    text = _clean(str(exc)) or type(exc).__name__
    if isinstance(exc, sdk.NotSupported | sdk.InvalidRequest | sdk.ValidationException | sdk.InvalidResourceQuery):
        return BackendRejected(text, service=service)
    if isinstance(exc, sdk.EndpointNotFound | keystone.EndpointNotFound | keystone.EmptyCatalog):
        return BackendRejected(f"the cloud's catalog has no such service: {text}", service=service)
    cause = _first(exc, requests.RequestException)
    if cause is None:
        if isinstance(exc, keystone.ConnectionError) and not isinstance(exc, keystone.SSLError):
            return OutcomeUnknown(text, service=service)
        # Discovery, sign-in and the like: nothing that changes anything had been sent.
        return BackendUnavailable(text, service=service)
    request = cause.request
    # Without a request nothing was sent: an unusable address, for instance.
    changes = request is not None and _changes_something(request.method, request.url)
    if not changes or _never_arrived(cause):
        return BackendUnavailable(text, service=service)
    return OutcomeUnknown(text, service=service)


def _changes_something(method: str | None, url: str | None) -> bool:
    """Say whether a request may leave something behind in the cloud. Signing in does not."""
    if (method or "").upper() in READS:
        return False
    path = urlsplit(str(url or "")).path.rstrip("/")
    return not path.endswith(("/auth/tokens", "/v2.0/tokens"))


def _never_arrived(exc: requests.RequestException) -> bool:
    """Say whether the request certainly did not reach the cloud: no connection was made."""
    if isinstance(exc, requests.exceptions.ConnectTimeout):
        return True
    reason: object = exc.args[0] if exc.args else None
    if isinstance(reason, urllib3.exceptions.MaxRetryError):
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.ProxyError):
        reason = reason.original_error
    if isinstance(reason, urllib3.exceptions.SSLError):
        return "certificate" in str(reason).lower()  # refused by us, before the request was written
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    ) or isinstance(exc, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema)


def _response_of(exc: BaseException) -> requests.Response | None:
    response = getattr(exc, "response", None)
    return response if isinstance(response, requests.Response) else None


def _status_of(exc: BaseException) -> int:
    status = getattr(exc, "status_code", None) or getattr(exc, "http_status", None)
    return status if isinstance(status, int) else 0


def _first(exc: BaseException | None, kind: type[requests.RequestException]) -> requests.RequestException | None:
    """Find the exception underneath; keystoneauth raises its own while it handles the one of requests."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, kind) and not isinstance(exc, sdk.SDKException):
            return exc
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return None


def _text_of(exc: BaseException) -> str:
    """Return the cloud's own words, without the SDK's class names and addresses."""
    details = getattr(exc, "details", None)
    message = getattr(exc, "message", None)
    return _clean(str(details or message or exc)) or type(exc).__name__


def _clean(text: str) -> str:
    # Cut twice: the search for secrets is slow in long texts, and must not be left with half a secret at the end.
    text = _TOKEN.sub("***", redact(" ".join(text[: 8 * MAX_TEXT].split())[: 4 * MAX_TEXT]))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _seconds(value: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
