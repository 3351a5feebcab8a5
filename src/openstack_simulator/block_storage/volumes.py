"""Cinder's objects. Sizes are in GiB."""

from dataclasses import dataclass, field
from typing import Any

from openstack_simulator.records import Record

ZONE = "nova"
HOST = "block1@fake#fake"


@dataclass(kw_only=True)
class VolumeType(Record):
    """A volume type; all are public."""

    description: str | None = None
    extra_specs: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Attachment(Record):
    """A volume on a server, or reserved for it (``attached_at`` is then ``None``)."""

    volume_id: str
    server_id: str
    device: str | None = None
    host: str = ""
    attached_at: float | None = None


@dataclass(kw_only=True)
class Volume(Record):
    """A volume."""

    size: int
    user_id: str = ""
    status: str = "creating"
    description: str | None = None
    volume_type: str = ""
    availability_zone: str = ZONE
    bootable: bool = False
    multiattach: bool = False
    readonly: bool = False
    snapshot_id: str | None = None
    source_volume_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)

    def fails(self, what: str) -> str | None:
        """The message with which an action fails, if the volume's metadata ask for it (``fake_fail=create``).

        The real cloud that this simulator is compared with understands the same metadata.
        """
        asked = self.metadata.get("fake_fail", "").split(",")
        return f"the volume's metadata ask for a failure of {what}" if what in asked else None


@dataclass(kw_only=True)
class Snapshot(Record):
    """A snapshot of a volume."""

    volume_id: str
    size: int
    user_id: str = ""
    status: str = "creating"
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    # What a volume made from it takes over, even when the first volume has changed meanwhile.
    bootable: bool = False
    image_metadata: dict[str, str] = field(default_factory=dict)
    volume_type: str = ""

    @property
    def progress(self) -> str:
        """As Cinder shows it."""
        return "100%" if self.status == "available" else "0%"


def strings(values: Any) -> dict[str, str]:
    """Metadata as Cinder keeps them: all values are text."""
    return {str(key): str(value) for key, value in (values or {}).items()}
