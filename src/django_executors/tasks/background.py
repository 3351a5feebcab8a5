"""Periodic work outside of operations: pulls and clean-ups, in the background queue, never two equal ones at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction

from .. import clock
from ..exceptions import BackendError
from ..ids import uuid7
from ..journal import error_text
from ..models import Claim
from ..references import deserialize, serialize
from .base import Task

__all__ = ["BackgroundListPullTask", "BackgroundPullTask", "BackgroundTask"]


class BackgroundTask(Task):
    """A task that is skipped while an equal one runs.

    Equal is what `get_equality_key` says: by default the same task with the same arguments. The right to run is a row with
    an end, so a task whose worker died frees itself after ``lease_seconds``.
    """

    abstract = True
    is_background_task = True
    lease_seconds = 3600.0

    def get_equality_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return a text that is the same for equal runs."""
        text = json.dumps([args, kwargs], sort_keys=True, default=str)
        return f"background/{self.name[:150]}/{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = self.get_equality_key(args, kwargs)
        run_id = uuid7()
        if not self._enter(key, run_id):
            return None
        try:
            return super().__call__(*args, **kwargs)
        finally:
            Claim.objects.filter(resource=key, operation_id=run_id).delete()

    def _enter(self, key: str, run_id: Any) -> bool:
        end = clock.from_now(self.lease_seconds)
        if Claim.objects.filter(resource=key, expires_at__lte=clock.now()).update(operation_id=run_id, expires_at=end):
            return True
        try:
            with transaction.atomic():
                Claim.objects.bulk_create([Claim(resource=key, operation_id=run_id, expires_at=end)])
        except IntegrityError:
            return False
        return True

    def run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define run()")


class BackgroundPullTask(BackgroundTask):
    """Pulls one resource from its backend; define `pull`."""

    abstract = True

    def run(self, serialized_instance: str, *args: Any, **kwargs: Any) -> None:
        instance = deserialize(serialized_instance)
        try:
            self.pull(instance)
        except BackendError as error:
            self.on_pull_fail(instance, error)
        else:
            self.on_pull_success(instance)

    def pull(self, instance: Any) -> None:
        """Read the cloud's truth into the row."""
        raise NotImplementedError(f"{type(self).__name__} must define pull()")

    def on_pull_fail(self, instance: Any, error: BackendError) -> None:
        """Keep the error on the row; the state stays, since nothing was being done."""
        if hasattr(instance, "error_message"):
            instance.error_message = error_text(error)
            instance.save(update_fields=["error_message"])

    def on_pull_success(self, instance: Any) -> None:
        """Clear the error of an earlier pull."""
        if getattr(instance, "error_message", "") and getattr(instance, "state", "ok") in ("ok", 3):
            instance.error_message = ""
            instance.save(update_fields=["error_message"])


class BackgroundListPullTask(BackgroundTask):
    """Starts a `BackgroundPullTask` for each of a list of resources; set ``model`` and ``pull_task``."""

    abstract = True
    model: Any = None
    pull_task: Any = None

    def run(self) -> None:  # type: ignore[override] # takes no resource
        for instance in self.get_pulled_objects():
            self.pull_task().apply_async(args=(serialize(instance),))

    def get_pulled_objects(self) -> Iterable[Any]:
        """Return the resources to pull: by default those that are OK or erred."""
        return self.model.objects.filter(state__in=("ok", "erred"))  # type: ignore[no-any-return]
