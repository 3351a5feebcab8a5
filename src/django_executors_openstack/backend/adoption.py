"""Making an object exactly once, though the method that makes it may run twice.

Every create carries the step's idempotency key to the cloud in the same request. A later attempt of the step looks for
objects with the key before it makes one, and again after it did: an earlier request may still have been under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Model

from django_executors.context import current_step
from django_executors.exceptions import BackendRejected, BackendUnavailable

__all__ = ["adopt_or_create", "marked", "unmarked"]


def adopt_or_create(
    row: Model,
    *,
    find: Callable[[str], Iterable[Any]],
    create: Callable[[str], Any],
    delete: Callable[[Any], None],
    save: Callable[[Any], None],
) -> None:
    """Have one object in the cloud for a row, and its id in the row.

    Args:
        row: A resource with ``backend_id``.
        find: Returns the cloud's objects that carry a key.
        create: Makes an object that carries a key.
        delete: Removes an object that is one too many.
        save: Stores what the cloud said in the row, at least ``backend_id``; called at once after the cloud accepted.

    Raises:
        BackendUnavailable: An object is one too many and cannot be removed yet: the step has to run again.
        BackendError: What the four functions raise.
    """
    step = current_step()
    key = step.idempotency_key
    # Attempts are committed before they run, so a first attempt has no predecessor whose work could be found.
    again = step.attempt > 1 or step.outcome_unknown
    if not again:
        if not row.backend_id:  # type: ignore[attr-defined]
            save(create(key))
        return
    found = list(find(key))
    if not found and not row.backend_id:  # type: ignore[attr-defined]
        try:
            made = create(key)
        except BackendRejected:
            # Its refusal may be the work of an earlier request that arrived meanwhile: the port is taken, the quota full.
            found = list(find(key))
            if not found:
                raise
        else:
            save(made)
            found = list(find(key)) or [made]
    if not found:
        return
    oldest, *younger = sorted(found, key=lambda item: (item.created_at or "", item.id != row.backend_id))  # type: ignore[attr-defined]
    if row.backend_id != oldest.id:  # type: ignore[attr-defined]
        save(oldest)
    for extra in younger:
        try:
            delete(extra)
        except BackendRejected as exc:
            # A volume, for instance, cannot be deleted while it is being made. The next attempt finds both again.
            raise BackendUnavailable(
                f"{extra.id} was made a second time and cannot be removed yet: {exc}", service=exc.service
            ) from exc


def marked(text: str, key: str, limit: int = 255) -> str:
    """Return a description that carries a key, for services whose objects have no other place for it."""
    return f"{text[: limit - len(key) - 3]} [{key}]" if text else f"[{key}]"


def unmarked(text: str | None) -> str:
    """Return a description without the key that `marked` put there."""
    head, bracket, tail = (text or "").rpartition("[ex-")
    return head.rstrip() if bracket and tail.endswith("]") else text or ""
