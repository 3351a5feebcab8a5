"""Turns a Celery canvas into a plan: data that can be stored, resumed and shown. Pure; touches no database.

A plan is a list of nodes that run one after the other:

- a *task* node runs one Celery task;
- a *parallel* node (from ``group`` or ``chord``) runs branches side by side, each a plan, and joins them; its result is the
  list of their results;
- an *operation* node (from `BaseExecutor.as_signature`) is a nested operation on a resource of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypedDict

from celery.canvas import Signature

from .exceptions import PlanError

__all__ = [
    "OPERATION_TASK",
    "Node",
    "OperationPlan",
    "check_json",
    "flatten",
    "nested_operations",
    "storable_text",
    "tasks_of",
]

OPERATION_TASK = "django_executors.operation"
"""Name of the signature that stands for a nested operation."""

STEP_OPTIONS = frozenset(
    {"countdown", "queue", "priority", "time_limit", "soft_time_limit", "max_retries", "default_retry_delay", "title"}
)
"""Options that ``.set(...)`` may give to a step, besides ``compensate``."""

# What Celery itself leaves in a signature while it freezes or clones one; it means nothing here.
_CELERY_INTERNAL = frozenset(
    {"task_id", "root_id", "parent_id", "group_id", "group_index", "chord", "reply_to", "stamped_headers", "headers"}
    | {"ignore_result", "serializer", "immutable", "link", "link_error", "app", "replaced_task_nesting"}
)
_INHERITED = ("queue", "priority", "time_limit", "soft_time_limit")


class Node(TypedDict, total=False):
    """One element of a plan; which keys are there depends on ``kind``."""

    kind: Literal["task", "parallel", "operation"]
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    takes_result: bool
    compensate: Node | None
    branches: list[list[Node]]
    operation: OperationPlan


class OperationPlan(TypedDict):
    """Everything that is needed to open an operation later, without its executor's live arguments."""

    executor: str
    title: str
    resource: str
    kwargs: dict[str, Any]
    on_failure: str
    exclusive: bool
    main: list[Node]
    success: list[Node]
    failure: list[Node]


def flatten(signature: Any, *, parallel: bool = True, what: str = "the plan", redact: Iterable[str] = ()) -> list[Node]:
    """Turn a signature, a canvas or None into nodes.

    Args:
        signature: A task signature, ``chain``, ``group``, ``chord``, any nesting of them, or None for no steps.
        parallel: Whether groups, chords and nested operations are possible here; they are not in a failure path, where the
            engine must be able to end the operation in one line.
        what: How error texts name this part of the plan.
        redact: Argument names that may not be stored.

    Raises:
        PlanError: The canvas has a form that cannot become steps, or arguments that are not JSON.
    """
    nodes = list(_flatten(signature, {}, what))
    for node in _walk(nodes):
        if node["kind"] != "task" and not parallel:
            raise PlanError(f"{what} may not contain a group, a chord or a nested operation: use a chain of tasks")
        if node["kind"] == "task":
            _check_arguments(node, what, frozenset(redact))
            undo = node.get("compensate")
            if undo is not None:
                _check_arguments(undo, f"{what}: compensate= of {node['task']}", frozenset(redact))
    return nodes


def _flatten(signature: Any, inherited: Mapping[str, Any], what: str) -> Iterator[Node]:
    if signature is None:
        return
    if isinstance(signature, list | tuple):
        for part in signature:
            yield from _flatten(part, inherited, what)
        return
    if getattr(signature, "stands_alone", False):
        signature = signature.si()
    if isinstance(signature, Mapping) and not isinstance(signature, Signature) and "task" in signature:
        signature = Signature.from_dict(dict(signature))
    if not isinstance(signature, Signature):
        raise PlanError(
            f"{what} must be a task signature, a chain, a group or a chord, not {type(signature).__name__}; "
            "did you forget .si(...) behind a task?"
        )
    name = signature["task"]
    options = dict(signature.get("options") or {})
    if options.get("link") or options.get("link_error"):
        raise PlanError(f"{what}: {name} has link or link_error callbacks: put the callback into a chain instead")
    passed_on = {**inherited, **{key: options[key] for key in _INHERITED if key in options}}
    if name == "celery.chain":
        first = True
        for part in signature["kwargs"].get("tasks", ()):
            for node in _flatten(part, passed_on, what):
                if first and options.get("countdown") and node["kind"] == "task":
                    node["options"].setdefault("countdown", options["countdown"])
                first = False
                yield node
    elif name == "celery.group":
        yield _parallel(signature["kwargs"].get("tasks", ()), passed_on, what)
    elif name == "celery.chord":
        header = signature["kwargs"].get("header", ())
        members = header["kwargs"].get("tasks", ()) if isinstance(header, Mapping) else header
        yield _parallel(members, passed_on, what)
        body = signature["kwargs"].get("body")
        if body is None:
            raise PlanError(f"{what}: a chord needs a body; use group(...) for parallel steps without one")
        yield from _flatten(body, passed_on, what)
    elif name.startswith("celery."):
        raise PlanError(f"{what}: {name} cannot become steps; use chain, group or chord of single tasks")
    elif name == OPERATION_TASK:
        yield {"kind": "operation", "operation": signature["kwargs"]["operation"]}
    else:
        yield _task(signature, {**inherited, **options}, what)


def _parallel(members: Iterable[Any], inherited: Mapping[str, Any], what: str) -> Node:
    branches: list[list[Node]] = []
    for member in members:
        branch = list(_flatten(member, inherited, what))
        if len(branch) == 1 and branch[0]["kind"] == "parallel":
            # As in Celery, a group that is a member of a group is no level of its own.
            branches += branch[0]["branches"]
        elif branch:
            branches.append(branch)
    return {"kind": "parallel", "branches": branches}


def _task(signature: Signature[Any], options: dict[str, Any], what: str) -> Node:
    name = signature["task"]
    compensate = options.pop("compensate", None)
    kept = {key: value for key, value in options.items() if key in STEP_OPTIONS and value is not None}
    unknown = sorted(set(options) - STEP_OPTIONS - _CELERY_INTERNAL)
    if unknown:
        raise PlanError(
            f"{what}: {name} has the options {', '.join(unknown)}, which a step cannot have; "
            f"possible are {', '.join(sorted(STEP_OPTIONS))} and compensate"
        )
    for key in ("countdown", "time_limit", "soft_time_limit", "default_retry_delay"):
        value = kept.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or not math.isfinite(value):
            raise PlanError(f"{what}: {name} has {key}={value!r}; it must be a number of seconds, 0 or more")
    undo: Node | None = None
    if compensate is not None:
        undoing = flatten(compensate, parallel=False, what=f"{what}: compensate= of {name}")
        if len(undoing) != 1:
            raise PlanError(f"{what}: compensate= of {name} must be a single task signature")
        undo = undoing[0]
    return {
        "kind": "task",
        "task": name,
        "args": list(signature.get("args") or ()),
        "kwargs": dict(signature.get("kwargs") or {}),
        "options": kept,
        "takes_result": not signature.get("immutable", False),
        "compensate": undo,
    }


def _check_arguments(node: Node, what: str, redact: frozenset[str]) -> None:
    name = node["task"]
    for position, value in enumerate(node["args"]):
        check_json(value, f"{what}: argument {position + 1} of {name}")
    check_no_secret(node["kwargs"], f"{what}: ", name, redact)
    for key, value in node["kwargs"].items():
        check_json(value, f"{what}: argument {key!r} of {name}")


def check_no_secret(arguments: Mapping[str, Any], where: str, name: str, redact: Iterable[str]) -> None:
    """Check that no argument has the name of a secret and a value.

    Raises:
        PlanError: One has; the text says what to do.
    """
    for key, value in arguments.items():
        if key.lower() in redact and value:
            raise PlanError(
                f"{where}argument {key!r} of {name} looks like a secret, and arguments are stored: "
                "pass a reference to where it is kept"
            )


_DEEPEST = 100


def check_json(value: Any, where: str, _depth: int = 0) -> None:
    """Check that a value survives JSON and the database unchanged.

    Raises:
        PlanError: It does not; the text says where and what to do.
    """
    if _depth > _DEEPEST:
        raise PlanError(f"{where} is nested deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        # str subclasses (Django's TextChoices, SafeString) are stored as their text.
        if value != storable_text(value):
            raise PlanError(f"{where} has a character that no database stores, NUL or half of a pair: remove it")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PlanError(f"{where} is {value!r}, which JSON does not have")
    elif isinstance(value, list | tuple):
        for item in value:
            check_json(item, where, _depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise PlanError(f"{where} has the key {key!r}; JSON keys are text")
            check_json(key, where, _depth + 1)
            check_json(item, where, _depth + 1)
    elif value is not None and not isinstance(value, bool | int):
        hint = "convert it to text or a number first"
        if hasattr(value, "_meta") and hasattr(value, "pk"):
            hint = "pass django_executors.references.serialize(...) or its primary key"
        raise PlanError(f"{where} is a {type(value).__name__}, which is not JSON: {hint}")


def storable_text(text: str) -> str:
    """Return a text without what databases refuse: NUL, and halves of surrogate pairs."""
    return str(text).encode("utf-8", "replace").decode().replace("\0", "?")


def _walk(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if node["kind"] == "parallel":
            for branch in node["branches"]:
                yield from _walk(branch)


def tasks_of(nodes: Iterable[Node]) -> Iterator[Node]:
    """Iterate over the task nodes of a plan and of its branches, not of nested operations."""
    return (node for node in _walk(nodes) if node["kind"] == "task")


def nested_operations(nodes: Iterable[Node]) -> Iterator[OperationPlan]:
    """Iterate over all operations nested in a plan, at any depth."""
    for node in _walk(nodes):
        if node["kind"] == "operation":
            yield node["operation"]
            for phase in (node["operation"]["main"], node["operation"]["success"]):
                yield from nested_operations(phase)
