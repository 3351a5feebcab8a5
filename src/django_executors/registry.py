"""Which executors and tasks exist, by name. Rows and messages carry names only; nothing from them is imported."""

from __future__ import annotations

from typing import Any

from celery import current_app

from .exceptions import ConfigurationError

__all__ = ["add_executor", "add_task_alias", "find_executor", "find_task"]

_executors: dict[str, Any] = {}
_task_aliases: dict[str, str] = {}


def add_executor(name: str, executor: Any, aliases: tuple[str, ...] = ()) -> None:
    """Make an executor known under its name and under names it had in earlier releases."""
    for each in (name, *aliases):
        known = _executors.get(each)
        if known is not None and (known.__module__, known.__qualname__) != (executor.__module__, executor.__qualname__):
            raise ConfigurationError(f"two executors are named {each!r}: {known!r} and {executor!r}")
        _executors[each] = executor


def find_executor(name: str) -> Any:
    """Return the executor class of a name, or None."""
    return _executors.get(name)


def add_task_alias(old: str, new: str) -> None:
    """Make operations that were opened with a task's old name go on with the new one."""
    _task_aliases[old] = new


def find_task(name: str) -> Any:
    """Return the Celery task of a name or of an alias, or None."""
    tasks = current_app.tasks
    return tasks.get(name) or tasks.get(_task_aliases.get(name, ""))
