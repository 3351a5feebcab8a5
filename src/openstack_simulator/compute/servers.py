"""Servers and Nova's three views of their state: vm_state, task_state and the status made of both."""

from dataclasses import dataclass, field
from enum import IntEnum

from openstack_simulator.errors import Conflict
from openstack_simulator.records import Record

ZONE = "nova"
HOST = "compute1"


class Power(IntEnum):
    """What the hypervisor says of a guest."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


STATUSES: dict[str, dict[str | None, str]] = {
    "active": {
        None: "ACTIVE",
        "rebooting": "REBOOT",
        "reboot_pending": "REBOOT",
        "reboot_started": "REBOOT",
        "rebooting_hard": "HARD_REBOOT",
        "reboot_pending_hard": "HARD_REBOOT",
        "reboot_started_hard": "HARD_REBOOT",
        "rebuilding": "REBUILD",
        "migrating": "MIGRATING",
        "resize_prep": "RESIZE",
        "resize_migrating": "RESIZE",
        "resize_migrated": "RESIZE",
        "resize_finish": "RESIZE",
    },
    "building": {None: "BUILD"},
    "stopped": {
        None: "SHUTOFF",
        "rebooting_hard": "HARD_REBOOT",
        "resize_prep": "RESIZE",
        "resize_migrating": "RESIZE",
        "resize_migrated": "RESIZE",
        "resize_finish": "RESIZE",
        "rebuilding": "REBUILD",
    },
    "resized": {None: "VERIFY_RESIZE", "resize_reverting": "REVERT_RESIZE"},
    "paused": {None: "PAUSED", "rebooting_hard": "HARD_REBOOT"},
    "suspended": {None: "SUSPENDED", "rebooting_hard": "HARD_REBOOT"},
    "error": {None: "ERROR", "rebuilding": "REBUILD", "rebooting_hard": "HARD_REBOOT"},
}
"""The status by vm_state and task_state; a task that is not named leaves the state's own (``None``)."""


@dataclass(frozen=True)
class Fault:
    """Why a server is in ERROR."""

    message: str
    created_at: float
    code: int = 500
    details: str = ""


@dataclass(frozen=True)
class InstanceAction:
    """An entry of a server's log."""

    action: str
    request_id: str
    user_id: str
    project_id: str
    started_at: float


@dataclass(kw_only=True)
class Flavor(Record):
    """A flavor: ``ram`` and ``swap`` in MiB, ``disk`` and ``ephemeral`` in GiB."""

    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    is_public: bool = True
    description: str | None = None
    extra_specs: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Disk:
    """A volume on a server. ``boot_index`` 0 is the root disk."""

    volume_id: str
    attachment_id: str
    device: str | None = None
    boot_index: int | None = None
    delete_on_termination: bool = False
    tag: str | None = None


@dataclass(kw_only=True)
class Server(Record):
    """A server."""

    user_id: str
    flavor: Flavor
    image_id: str | None = None
    key_name: str | None = None
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: Power = Power.NOSTATE
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    availability_zone: str = ZONE
    config_drive: bool = False
    user_data: str | None = None
    hostname: str = ""
    host: str | None = None
    locked: bool = False
    launched_at: float | None = None
    fault: Fault | None = None
    server_group_id: str | None = None
    disks: list[Disk] = field(default_factory=list)
    own_ports: set[str] = field(default_factory=set)
    """Ports that Nova made, and deletes with the server."""
    previous_flavor: Flavor | None = None
    """Before a resize that is not confirmed yet."""
    state_before_resize: str = "active"
    log: list[InstanceAction] = field(default_factory=list)

    @property
    def status(self) -> str:
        """What clients call the state: ``ACTIVE``, ``SHUTOFF``, ..."""
        by_task = STATUSES.get(self.vm_state, {None: "UNKNOWN"})
        return by_task.get(self.task_state, by_task[None])

    @property
    def root_device(self) -> str:
        """The name of the first disk."""
        return "/dev/vda"

    def free_device(self) -> str:
        """The name of the next disk, ``/dev/vdb`` and so on."""
        taken = {disk.device for disk in self.disks} | {self.root_device}
        return next(name for letter in "bcdefghijklmnopqrstuvwxyz" if (name := f"/dev/vd{letter}") not in taken)

    def disk_of(self, volume_id: str) -> Disk | None:
        """The disk that a volume is."""
        return next((disk for disk in self.disks if disk.volume_id == volume_id), None)

    def fails(self, what: str) -> str | None:
        """The message with which an action fails, if the server's metadata ask for it (``fake_fail=spawn,stop``).

        The real cloud that this simulator is compared with understands the same metadata.
        """
        asked = self.metadata.get("fake_fail", "").split(",")
        return f"the server's metadata ask for a failure of {what}" if what in asked else None

    @property
    def extra_seconds(self) -> float:
        """How much longer everything takes, if the metadata say so (``fake_delay=5``)."""
        try:
            return float(self.metadata.get("fake_delay", "0"))
        except ValueError:
            return 0.0

    def must_be(self, action: str, *vm_states: str, any_task: bool = False) -> None:
        """Check that the state allows an action.

        Raises:
            Conflict: It does not; in Nova's words.
        """
        if self.locked:
            raise Conflict(f"Instance {self.id} is locked")
        if self.vm_state not in vm_states:
            raise Conflict(f"Cannot '{action}' instance {self.id} while it is in vm_state {self.vm_state}")
        if self.task_state is not None and not any_task:
            raise Conflict(f"Cannot '{action}' instance {self.id} while it is in task_state {self.task_state}")


@dataclass(kw_only=True)
class KeyPair(Record):
    """A user's public key; ``project_id`` of the record is not used."""

    user_id: str
    public_key: str
    fingerprint: str
    kind: str = "ssh"


@dataclass(kw_only=True)
class ServerGroup(Record):
    """Servers that are to be kept together or apart."""

    user_id: str
    policy: str
    rules: dict[str, int] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
