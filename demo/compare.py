"""Puts our rows beside what the cloud says. It asks the cloud through a connection that the plugin knows nothing of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection

from django_executors.models import Claim, Operation, Slot
from django_executors.states import OPEN_OPERATION_STATES, ResourceState
from django_executors_openstack.models import (
    FloatingIP,
    Instance,
    KeyPair,
    Port,
    SecurityGroup,
    ServerGroup,
    Tenant,
    Volume,
)

__all__ = ["WANTED", "Comparison", "Count", "compare", "count", "left_in_journal", "objects_of"]

WANTED = {
    "server": 1,
    "volume": 3,
    "port": 2,
    "floating IP": 1,
    "security group": 1,
    "server group": 1,
    "key pair": 1,
}
"""How many objects of each kind the instance needs: no fewer, and no leftovers."""

Objects = dict[str, dict[str, Any]]
"""Objects of the cloud by kind and id."""


@dataclass(frozen=True)
class Comparison:
    """One row and its object, in words."""

    title: str
    row: str
    cloud: str
    agrees: bool
    """Whether both say the same, and the row is OK."""


@dataclass(frozen=True)
class Count:
    """How many there should be, how many rows there are, and how many objects are new in the cloud."""

    kind: str
    wanted: int
    rows: int
    cloud: int
    leftovers: tuple[str, ...]
    """Ids of objects that no row has."""

    @property
    def agrees(self) -> bool:
        """Whether all three are the same, and every object has a row."""
        return self.wanted == self.rows == self.cloud and not self.leftovers


def objects_of(sdk: Connection) -> Objects:
    """Ask the cloud for everything that is in the project."""
    project = sdk.current_project_id
    asked: dict[str, Iterable[Any]] = {
        "server": sdk.compute.servers(),
        "volume": sdk.block_storage.volumes(),
        "port": sdk.network.ports(project_id=project),
        "floating IP": sdk.network.ips(project_id=project),
        "security group": sdk.network.security_groups(project_id=project),
        "server group": sdk.compute.server_groups(),
        "key pair": sdk.compute.keypairs(),
    }
    return {
        kind: {(found.name if kind == "key pair" else found.id): found for found in objects}
        for kind, objects in asked.items()
    }


def compare(instance: Instance, objects: Objects) -> list[Comparison]:
    """Compare each row of the instance with its object."""
    instance.refresh_from_db()
    server = instance.backend_id

    def attached(volume: Any) -> tuple[str, str]:
        place: dict[str, str] = next(iter(volume.attachments or ()), {})
        return place.get("server_id", ""), place.get("device", "")

    sides: list[tuple[str, Any, tuple[Any, ...], Callable[[Any], tuple[Any, ...]]]] = [
        ("server", instance, (instance.runtime_state,), lambda found: (found.status,))
    ]
    for volume in instance.volumes.order_by("pk"):
        ours = (volume.runtime_state, volume.device, server)
        sides.append(("volume", volume, ours, lambda found: (found.status, attached(found)[1], attached(found)[0])))
    for port in instance.ports.order_by("pk"):
        addresses = ",".join(sorted(ip["ip_address"] for ip in port.fixed_ips))
        sides.append(
            (
                "port",
                port,
                (port.runtime_state, addresses, server),
                lambda found: (
                    found.status,
                    ",".join(sorted(ip["ip_address"] for ip in found.fixed_ips)),
                    found.device_id,
                ),
            )
        )
    for address in FloatingIP.objects.filter(port__instance=instance):
        target = address.port.backend_id if address.port else None
        sides.append(
            (
                "floating IP",
                address,
                (address.runtime_state, address.address, target),
                lambda found: (found.status, found.floating_ip_address, found.port_id),
            )
        )
    for group in instance.security_groups.all():
        rules = group.rules.filter(direction="ingress").exclude(backend_id="").count()
        sides.append(
            (
                "security group",
                group,
                (f"{rules} rules inwards",),
                lambda found: (f"{_inwards(found.security_group_rules)} rules inwards",),
            )
        )
    if instance.server_group is not None:
        members = (instance.server_group.policy, server)
        sides.append(
            (
                "server group",
                instance.server_group,
                members,
                lambda found: (found.policy, *(found.member_ids or ("no member",))),
            )
        )
    if instance.key_pair is not None:
        sides.append(
            ("key pair", instance.key_pair, (instance.key_pair.fingerprint,), lambda found: (found.fingerprint,))
        )
    # Where an object names another one, the name is easier to read than the id.
    names = {row.backend_id: row.name for row in (instance, *instance.ports.all()) if row.backend_id}
    return [
        _compared(kind, row, ours, objects[kind].get(row.backend_id), read, names) for kind, row, ours, read in sides
    ]


def _compared(
    kind: str,
    row: Any,
    ours: tuple[Any, ...],
    found: Any,
    read: Callable[[Any], tuple[Any, ...]],
    names: dict[str, str],
) -> Comparison:
    theirs = ("not there",) if found is None else (row.backend_id, *read(found))
    ours = (row.backend_id, *ours)
    state = getattr(row, "state", None)
    label = [] if state is None else [str(ResourceState(state).label)]
    return Comparison(
        title=kind if kind == "floating IP" else f"{kind} {row.name}",  # its name is its address
        row=" · ".join(filter(None, label + _words(ours, names))),
        cloud=" · ".join(filter(None, _words(theirs, names))),
        agrees=state in (None, ResourceState.OK) and ours == theirs,
    )


def _words(facts: tuple[Any, ...], names: dict[str, str]) -> list[str]:
    own, *others = ("" if fact is None else str(fact) for fact in facts)
    # Ids are long, and eight characters tell them apart.
    return [own[:8] if len(own) >= 32 else own, *(names.get(fact, fact[:23]) for fact in others)]


def _inwards(rules: Any) -> int:
    # Every new group also gets two rules that let everything out.
    return sum(rule["direction"] == "ingress" for rule in rules or ())


def count(tenant: Tenant, before: Objects, now: Objects) -> list[Count]:
    """Count what is new in the cloud since ``before``, and the rows that were made meanwhile."""
    models: dict[str, Any] = {
        "server": Instance,
        "volume": Volume,
        "port": Port,
        "floating IP": FloatingIP,
        "security group": SecurityGroup,
        "server group": ServerGroup,
        "key pair": KeyPair,
    }
    counts = []
    for kind, wanted in WANTED.items():
        rows = models[kind].objects.filter(tenant=tenant).exclude(backend_id__in=list(before[kind]))
        new = set(now[kind]) - set(before[kind])
        unknown = new - set(rows.values_list("backend_id", flat=True))
        counts.append(Count(kind, wanted, rows.count(), len(new), tuple(sorted(unknown))))
    return counts


def left_in_journal(operation: Operation) -> list[str]:
    """What an ended operation should not leave behind: open parts, held resources, held slots."""
    tree = Operation.objects.filter(root_id=operation.pk)
    found = {
        "open operations": tree.filter(state__in=OPEN_OPERATION_STATES).count(),
        "held resources": Claim.objects.filter(operation_id=operation.pk).count(),
        "held throttle slots": Slot.objects.filter(operation__root_id=operation.pk).count(),
    }
    return [f"the journal still has {what}: {number}" for what, number in found.items() if number]
