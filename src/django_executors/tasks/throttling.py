"""Steps that begin only when a slot is free: no more than so many resources of a kind are created at once."""

from __future__ import annotations

from typing import Any

from ..conf import settings
from ..references import deserialize
from .backend import BackendMethodTask
from .base import Task
from .states import StateTransitionTask

__all__ = ["ThrottleMixin", "ThrottleProvisionStateTask", "ThrottleProvisionTask"]


class ThrottleMixin(Task):
    """Makes a step wait for a slot, first come, first served. The slot goes when the resource's operation ends."""

    abstract = True
    limit: int | None = None
    """How many at once; None: what the resource's backend says, else ``EXECUTORS["PROVISION_LIMIT"]``."""

    def throttle(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str, int]:
        """Return the throttle's key, the resource's reference and the limit."""
        reference = args[0]
        instance = deserialize(reference)
        return self.get_throttle_key(instance), reference, self.get_limit(instance)

    def get_throttle_key(self, instance: Any) -> str:
        """Return what is protected: by default this resource type in its backend."""
        scope = instance.get_backend_key() if hasattr(instance, "get_backend_key") else "default"
        return f"{scope}/{instance._meta.label_lower}"

    def get_limit(self, instance: Any) -> int:
        """Return how many slots there are."""
        own = instance.get_provision_limit() if hasattr(instance, "get_provision_limit") else None
        return self.limit or own or settings.PROVISION_LIMIT


class ThrottleProvisionTask(ThrottleMixin, BackendMethodTask):
    """A backend method that waits for a slot first."""


class ThrottleProvisionStateTask(ThrottleMixin, StateTransitionTask):
    """A state transition that waits for a slot first."""
