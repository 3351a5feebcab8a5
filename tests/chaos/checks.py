"""Looks at the end for everything that should not have happened, and brings the evidence."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count

from django_executors.models import Claim, Operation, Slot, Step
from django_executors.states import OPEN_OPERATION_STATES, OperationState, ResourceState
from django_executors_openstack.models import FloatingIP, Instance, Port, Volume
from tests.chaos.operations import LeaveMarkTask
from tests.testapp.models import Box, Mark

__all__ = ["Finding", "check_cloud", "check_ends", "check_marks", "check_rows", "describe"]

KEY = re.compile(r"ex-[0-9a-f]{32}")
ROWS = {"servers": Instance, "volumes": Volume, "ports": Port, "floating_ips": FloatingIP}
_FAILED = (
    OperationState.FAILED,
    OperationState.QUARANTINED,
    OperationState.CANCELLED,
    OperationState.COMPENSATED,
    OperationState.COMPENSATION_FAILED,
)


@dataclass
class Finding:
    """What one check has found.

    Attributes:
        name: What would be wrong.
        offenders: One text each; the run fails when there are any.
        notes: What is legitimate, and worth knowing.
    """

    name: str
    offenders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def describe(operation_id: uuid.UUID) -> str:
    """Tell all that the journal knows about an operation and its parts, to find out what went wrong."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        return f"operation {operation_id}: no such row"
    lines = []
    for each in Operation.objects.filter(root_id=operation.root_id).order_by("created_at", "id"):
        lines.append(f"{each.pk} {each} [{each.state}] {each.why()} error={each.error!r}")
        lines.append(f"    lease={each.lease_owner!r} token={each.lease_token} due={each.due_at} nudge={each.nudge_at}")
        for step in each.steps.order_by("position"):
            lines.append(
                f"    step {step.position} {step.phase} {step.name} [{step.state}] attempts={step.attempts} "
                f"retries={step.retries} polls={step.polls} key={step.idempotency_key} error={step.error[:300]!r}"
            )
            lines += [
                f"        attempt {attempt.number} {attempt.outcome} {attempt.worker} {attempt.error[:200]!r}"
                for attempt in step.attempt_rows.order_by("id")
            ]
        lines += [f"    {event.at:%H:%M:%S.%f} {event.kind} {event.text[:200]}" for event in each.events.order_by("id")]
    return "\n".join(lines)


def check_ends(executed: dict[uuid.UUID, str]) -> tuple[Finding, Finding, Counter[tuple[str, str]]]:
    """Return lost and stuck operations, and how many of each kind have ended how."""
    states = dict(Operation.objects.filter(pk__in=list(executed)).values_list("pk", "state"))
    lost = Finding("lost operations")
    stuck = Finding("stuck operations")
    ends: Counter[tuple[str, str]] = Counter()
    for pk, kind in executed.items():
        if pk not in states:
            lost.offenders.append(f"{kind} {pk}: execute() returned, and there is no such operation")
        else:
            ends[kind, states[pk]] += 1
    for pk in Operation.objects.filter(state__in=OPEN_OPERATION_STATES).values_list("pk", flat=True):
        stuck.offenders.append(describe(pk))
    stuck.offenders += [f"{claim} is left" for claim in Claim.objects.all()]
    stuck.offenders += [f"slot {slot} is left" for slot in Slot.objects.all()]
    return lost, stuck, ends


def check_marks() -> Finding:
    """Return marks of row-only steps that are there more or less often than their step succeeded."""
    finding = Finding("row-only effects not exactly once")
    marks = dict(Mark.objects.order_by().values("what").annotate(times=Count("pk")).values_list("what", "times"))
    steps = Step.objects.filter(task=LeaveMarkTask.name).order_by()
    for operation_id, state, args in steps.values_list("operation_id", "state", "args").iterator():
        found = marks.pop(args[1], 0)
        if found != (state == "succeeded"):
            finding.offenders.append(f"mark {args[1]}: {found} times, its step {state}\n{describe(operation_id)}")
    finding.offenders += [f"mark {what}: no step has made it" for what in marks]
    return finding


# -- rows -------------------------------------------------------------------------------------------------------------


def check_rows() -> Finding:
    """Return rows whose state is not what their last operation has come to."""
    finding = Finding("rows that lie about their operation")
    for model in (Instance, Volume, Port, FloatingIP, Box):
        label = model._meta.label_lower
        last = {
            operation.resource_pk: operation
            for operation in Operation.objects.filter(
                resource_type__app_label=model._meta.app_label, resource_type__model=model._meta.model_name
            ).order_by("created_at", "id")
        }
        for row in model._default_manager.all():
            operation = last.get(str(row.pk))
            if row.state not in (ResourceState.OK, ResourceState.ERRED):
                finding.offenders.append(f"{label}:{row.pk} is {row.state}, and nobody works on it")
            elif operation is None:
                continue
            elif operation.state == OperationState.SUCCEEDED and row.state != ResourceState.OK:
                if not _settled_later(row, operation):
                    finding.offenders.append(f"{label}:{row.pk} is erred after a success\n{describe(operation.pk)}")
            elif operation.state in _FAILED and (row.state != ResourceState.ERRED or not row.error_message):
                reason = f"error_message={row.error_message!r}"
                finding.offenders.append(
                    f"{label}:{row.pk} is {row.state} after a failure, {reason}\n{describe(operation.pk)}"
                )
    return finding


def _settled_later(row: Any, operation: Operation) -> bool:
    """Say whether the row was made erred since an outer operation failed before it came to this row's part."""
    return bool(row.error_message.startswith("not started, because"))


# -- the cloud --------------------------------------------------------------------------------------------------------


def key_of(kind: str, item: dict[str, Any]) -> str:
    """Return the idempotency key that an object of the cloud carries, empty when it has none."""
    text = {
        "servers": lambda: " ".join(item["tags"]),
        "volumes": lambda: item["metadata"].get("executors-key", ""),
        "ports": lambda: item["description"],
        "floating_ips": lambda: item["description"],
    }[kind]()
    found = KEY.search(text or "")
    return found.group() if found else ""


def check_cloud(objects: dict[str, list[dict[str, Any]]]) -> tuple[Finding, Finding, Finding, Finding]:
    """Compare the cloud with the rows.

    Returns:
        Doubled objects, objects that no row names, objects that failed operations have left, rows that disagree.
    """
    doubled, nameless, disagreeing = (
        Finding("doubled cloud objects"),
        Finding("cloud objects without a row"),
        Finding("rows that disagree with the cloud"),
    )
    left = Finding("left by failed operations")
    keys = _keys()
    for kind, model in ROWS.items():
        ids = Counter(model._default_manager.exclude(backend_id="").values_list("backend_id", flat=True))
        named = set(ids)
        disagreeing.offenders += [f"{times} rows of {kind} name {one}" for one, times in ids.items() if times > 1]
        seen: Counter[str] = Counter()
        for item in objects[kind]:
            key = key_of(kind, item)
            if key:
                seen[key] += 1
            if item["id"] in named or str(item.get("device_owner", "")).startswith("network:"):
                continue
            operation_id = keys.get(key)
            what = f"{kind} {item['id']} {item['name']} ({item.get('status')}, key {key or 'none'})"
            if operation_id is not None and Operation.objects.filter(pk=operation_id, state__in=_FAILED).exists():
                error = Operation.objects.filter(pk=operation_id).values_list("error", flat=True).first()
                left.notes.append(f"{what}: {operation_id} {str(error)[:200]}")
            else:
                tale = describe(operation_id) if operation_id else "no step has this key"
                nameless.offenders.append(f"{what}\n{tale}")
        for key, times in seen.items():
            if times > 1:
                tale = describe(keys[key]) if key in keys else "no step has this key"
                doubled.offenders.append(f"{times} {kind} with the key {key}\n{tale}")
    for row in _disagreements(objects):
        (disagreeing.notes if row[1] else disagreeing.offenders).append(row[0])
    return doubled, nameless, left, disagreeing


def _keys() -> dict[str, uuid.UUID]:
    """Return which operation each key belongs to, for all steps that make something."""
    creating = {"create_instance", "create_volume", "create_port", "create_floating_ip"}
    steps = Step.objects.exclude(task="").order_by().only("operation_id", "position", "args")
    return {
        step.idempotency_key: step.operation_id
        for step in steps.iterator()
        if len(step.args) > 1 and step.args[1] in creating
    }


def _disagreements(objects: dict[str, list[dict[str, Any]]]) -> list[tuple[str, bool]]:
    """Return what differs, and whether a failed operation explains it."""
    cloud = {kind: {item["id"]: item for item in objects[kind]} for kind in ROWS}
    found: list[tuple[str, bool]] = []

    def differ(row: Any, what: str, ours: Any, theirs: Any, explained: bool = False) -> None:
        if ours != theirs:
            tale = "" if explained else "\n" + _tale(row)
            found.append(
                (f"{row._meta.label_lower}:{row.pk} {row}: {what} {ours!r}, the cloud has {theirs!r}{tale}", explained)
            )

    for kind, model in ROWS.items():
        for row in model._default_manager.filter(state=ResourceState.OK):
            owner = getattr(row, "instance", None)
            # A deletion that failed half-way has taken parts away, and says so on the instance.
            explained = owner is not None and owner.state == ResourceState.ERRED
            item = cloud[kind].get(row.backend_id)
            if item is None:
                differ(row, "backend_id", row.backend_id, None, explained)
                continue
            if kind == "servers":
                differ(row, "runtime_state", row.runtime_state, item["status"])
                disks = {disk["volume_id"]: disk["device"] for disk in item["disks"]}
                ours = {volume.backend_id: volume.device for volume in row.volumes.exclude(device="")}
                erred = row.volumes.filter(state=ResourceState.ERRED).exists()
                differ(row, "volumes", ours, disks, erred)
            elif kind == "volumes":
                differ(row, "runtime_state", row.runtime_state, item["status"], explained)
                places = [(each["server_id"], each["device"]) for each in item["attachments"]]
                ours_ = [(owner.backend_id, row.device)] if owner is not None and row.device else []
                differ(row, "attachments", ours_, places, explained)
            elif kind == "ports" and owner is not None and owner.state == ResourceState.OK:
                differ(row, "device_id", owner.backend_id, item["device_id"])
            elif kind == "floating_ips":
                differ(row, "port", row.port.backend_id if row.port else None, item["port_id"])
                differ(row, "address", row.address, item["floating_ip_address"])
    return found


def _tale(row: Any) -> str:
    operations = Operation.objects.filter(
        resource_type__app_label=row._meta.app_label,
        resource_type__model=row._meta.model_name,
        resource_pk=str(row.pk),
    ).order_by("created_at")
    return "\n".join(describe(pk) for pk in operations.values_list("pk", flat=True))
