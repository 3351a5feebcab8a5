"""What can be done to a volume by ``POST /volumes/{id}/action``."""

from collections.abc import Callable
from typing import Any

import falcon

from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volumes import Volume, strings
from openstack_simulator.clock import in_microseconds
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.paging import as_bool
from openstack_simulator.web import caller_of, must_be_admin, required, version_of

Body = dict[str, Any]
EXTEND_ATTACHED = (3, 42)

Action = Callable[[BlockStorage, falcon.Request, Volume, Body], Body | None]


def _extend(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    store.extend_volume(volume, values.get("new_size"), may_be_attached=version_of(req) >= EXTEND_ATTACHED)


def _set_bootable(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    wanted = as_bool(str(values.get("bootable")))
    if wanted is None:
        raise BadRequest(f"Invalid input for field/attribute bootable. Value: {values.get('bootable')}.")
    volume.bootable, volume.updated_at = wanted, store.lifecycle.now()


def _retype(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    store.retype_volume(volume, str(required(values, "new_type")))


def _reset_status(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    must_be_admin(req, "volume_extension:volume_admin_actions:reset_status")
    store.lifecycle.drop(volume.id)
    volume.status = str(values.get("status") or volume.status)
    if values.get("attach_status") == "detached":
        volume.attachments = []


def _force_delete(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    must_be_admin(req, "volume_extension:volume_admin_actions:force_delete")
    store.delete_volume(volume, force=True, cascade=True)


def _reserve(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status != "available":
        raise BadRequest(f"Invalid volume: Volume {volume.id} status must be available to reserve.")
    volume.status = "attaching"


def _unreserve(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status in ("attaching", "reserved"):
        volume.status = "available"


def _attach(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status == "attaching":
        volume.status = "available"
    attachment = store.reserve(volume, str(values.get("instance_uuid") or ""))
    store.attach(volume, attachment, values.get("mountpoint"))


def _detach(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if not volume.attachments:
        raise BadRequest(f"Invalid volume: Unable to detach volume. Volume {volume.id} has no attachments.")
    wanted = values.get("attachment_id")
    for attachment in list(volume.attachments):
        if wanted in (None, attachment.id):
            store.release(volume, attachment.server_id)


def _begin_detaching(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status != "in-use":
        raise BadRequest(
            f"Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be "
            f"'attached' to detach. Currently: status: '{volume.status}'."
        )
    volume.status = "detaching"


def _roll_detaching(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.status == "detaching":
        volume.status = "in-use"


def _set_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    volume.image_metadata |= strings(values.get("metadata"))
    return {"metadata": volume.image_metadata}


def _unset_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    if volume.image_metadata.pop(str(values.get("key")), None) is None:
        raise NotFound("Metadata item was not found.")


def _show_image_metadata(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    return {"metadata": volume.image_metadata}


def _update_readonly(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> None:
    volume.readonly = bool(as_bool(str(values.get("readonly"))))


def _upload_image(store: BlockStorage, req: falcon.Request, volume: Volume, values: Body) -> Body:
    image = store.upload_to_image(caller_of(req), volume, values)
    return {
        "os-volume_upload_image": {
            "id": volume.id,
            "status": "uploading",
            "size": volume.size,
            "image_id": image.id,
            "image_name": image.name,
            "disk_format": values.get("disk_format") or "raw",
            "container_format": values.get("container_format") or "bare",
            "display_description": volume.description,
            "updated_at": in_microseconds(store.lifecycle.now()),
            "volume_type": None,
        }
    }


ACTIONS: dict[str, Action] = {
    "os-extend": _extend,
    "os-set_bootable": _set_bootable,
    "os-retype": _retype,
    "os-reset_status": _reset_status,
    "os-force_delete": _force_delete,
    "os-reserve": _reserve,
    "os-unreserve": _unreserve,
    "os-attach": _attach,
    "os-detach": _detach,
    "os-force_detach": _detach,
    "os-begin_detaching": _begin_detaching,
    "os-roll_detaching": _roll_detaching,
    "os-set_image_metadata": _set_image_metadata,
    "os-unset_image_metadata": _unset_image_metadata,
    "os-show_image_metadata": _show_image_metadata,
    "os-update_readonly_flag": _update_readonly,
    "os-volume_upload_image": _upload_image,
}
