"""Which Celery queue a step goes to. Pure, but for the settings.

Three queues: *regular* for most steps, *heavy* for steps that would hold up the others (images, backups), *background* for
periodic pulls. An operation executed with ``is_heavy_task=True`` stays in the heavy queue to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .conf import settings

__all__ = ["limits_of", "queue_for", "route_task"]


def queue_for(task: Any, options: Mapping[str, Any], *, is_heavy: bool) -> str:
    """Return the name of the queue in which a step runs.

    Args:
        task: The Celery task, or None when it is not known here.
        options: The step's options; an explicit ``queue`` wins.
        is_heavy: Whether the whole operation was executed as a heavy one.
    """
    if options.get("queue"):
        return str(options["queue"])
    if is_heavy or getattr(task, "is_heavy_task", False):
        return settings.QUEUES["heavy"]
    if getattr(task, "is_background_task", False):
        return settings.QUEUES["background"]
    return settings.QUEUES["regular"]


def limits_of(task: Any, options: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the hard and the soft time limit that a step asks for, seconds."""
    return (
        options.get("time_limit", getattr(task, "time_limit", None)),
        options.get("soft_time_limit", getattr(task, "soft_time_limit", None)),
    )


def route_task(
    name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None, **extra: Any
) -> dict[str, str] | None:
    """Celery router: set ``task_routes = ["django_executors.routing.route_task"]``.

    Sends tasks that are published directly (periodic ones, for example) to their queue; the engine's own messages already
    name theirs.
    """
    if options.get("queue"):
        return None
    if task is None:
        from celery import current_app

        task = current_app.tasks.get(name)
    if getattr(task, "is_heavy_task", False):
        return {"queue": settings.QUEUES["heavy"]}
    if getattr(task, "is_background_task", False):
        return {"queue": settings.QUEUES["background"]}
    return {"queue": settings.QUEUES["regular"]}
