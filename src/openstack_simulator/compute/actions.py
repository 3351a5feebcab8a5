"""What can be done to a server that is there, and from which states."""

from collections.abc import Callable
from typing import Any

import falcon

from openstack_simulator.compute.building import find_security_group
from openstack_simulator.compute.servers import Fault, Power, Server
from openstack_simulator.compute.store import Compute
from openstack_simulator.errors import BadRequest, NotFound
from openstack_simulator.image.store import Image
from openstack_simulator.network.records import Port
from openstack_simulator.web import caller_of, must_be_admin, service_url, version_of

Values = dict[str, Any]
Answer = dict[str, Any] | None


def change(
    store: Compute,
    server: Server,
    action: str,
    task_state: str,
    done: Callable[[], None],
    *,
    fail_to: str = "error",
) -> None:
    """Start something that takes a while.

    Args:
        action: As in ``"server.stop"``; also what ``fake_fail`` in the metadata names.
        task_state: What the server shows meanwhile.
        done: Sets the state it ends in.
        fail_to: The vm_state after a failure.
    """
    server.task_state = task_state
    store.touch(server)

    def finish() -> None:
        server.task_state = None
        done()
        store.touch(server)

    def failed(message: str) -> None:
        server.task_state, server.vm_state = None, fail_to
        server.fault = Fault(message, store.lifecycle.now())
        store.touch(server)

    store.lifecycle.begin(
        f"server.{action}",
        server.id,
        finish,
        failed,
        extra_seconds=server.extra_seconds,
        failure=server.fails(action),
    )


def _state(server: Server, vm_state: str, power_state: Power) -> Callable[[], None]:
    def done() -> None:
        server.vm_state, server.power_state = vm_state, power_state
        if vm_state != "error":
            server.fault = None

    return done


def _start(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("start", "stopped")
    change(store, server, "start", "powering-on", _state(server, "active", Power.RUNNING))
    return None


def _stop(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("stop", "active", "error")
    change(store, server, "stop", "powering-off", _state(server, "stopped", Power.SHUTDOWN))
    return None


def _reboot(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    kind = str(values.get("type", "")).upper()
    if kind not in ("SOFT", "HARD"):
        raise BadRequest("Argument 'type' for reboot is not HARD or SOFT")
    if kind == "SOFT":
        server.must_be("reboot", "active")
        task = "rebooting"
    else:
        server.must_be("reboot", "active", "stopped", "paused", "suspended", "error")
        task = "rebooting_hard"
    change(store, server, "reboot", task, _state(server, "active", Power.RUNNING))
    return None


def _pause(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("pause", "active")
    change(store, server, "pause", "pausing", _state(server, "paused", Power.PAUSED))
    return None


def _unpause(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("unpause", "paused")
    change(store, server, "unpause", "unpausing", _state(server, "active", Power.RUNNING))
    return None


def _suspend(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("suspend", "active")
    change(store, server, "suspend", "suspending", _state(server, "suspended", Power.SUSPENDED))
    return None


def _resume(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("resume", "suspended")
    change(store, server, "resume", "resuming", _state(server, "active", Power.RUNNING))
    return None


def _resize(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    wanted = str(values.get("flavorRef") or "").rsplit("/", 1)[-1]
    flavor = store.flavors.find(wanted)
    if flavor is None:
        raise BadRequest("Unable to locate requested flavor.")
    if flavor.id == server.flavor.id:
        raise BadRequest("When resizing, instances must change flavor!")
    server.must_be("resize", "active", "stopped")
    if flavor.disk == 0 < server.flavor.disk and server.image_id:
        raise BadRequest("Resize to zero disk flavor is not allowed.")
    more = {"cores": flavor.vcpus - server.flavor.vcpus, "ram": flavor.ram - server.flavor.ram}
    store.check_quota(server.project_id, {name: extra for name, extra in more.items() if extra > 0})
    server.state_before_resize = server.vm_state

    def done() -> None:
        server.previous_flavor, server.flavor = server.flavor, flavor
        server.vm_state = "resized"

    change(store, server, "resize", "resize_prep", done)
    return None


def _confirm_resize(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    _must_wait_for_answer(server, "confirmResize")
    server.previous_flavor = None
    change(store, server, "confirm_resize", "", _after_resize(server))
    # Nova confirms without a task state of its own; the server shows VERIFY_RESIZE until it is done.
    server.task_state = None
    return None


def _revert_resize(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    _must_wait_for_answer(server, "revertResize")
    old = server.previous_flavor

    def done() -> None:
        if old is not None:
            server.flavor, server.previous_flavor = old, None
        _after_resize(server)()

    change(store, server, "revert_resize", "resize_reverting", done)
    return None


def _must_wait_for_answer(server: Server, action: str) -> None:
    server.must_be(action, "resized")
    if server.previous_flavor is None:
        raise BadRequest("Instance has not been resized.")


def _after_resize(server: Server) -> Callable[[], None]:
    stopped = server.state_before_resize == "stopped"
    return _state(server, "stopped" if stopped else "active", Power.SHUTDOWN if stopped else Power.RUNNING)


def _console_output(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    lines = [f"[    0.000000] {server.hostname} is booting", "Simulated server: no guest runs.", "login: "]
    length = values.get("length")
    return {"output": "\n".join(lines if length in (None, -1) else lines[-int(str(length)) :])}


def _create_image(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("createImage", "active", "stopped", "paused", "suspended")
    name = str(values.get("name") or "")
    if not name:
        raise BadRequest("createImage entity requires name attribute")
    image = _image_of(store, req, server, name, values)
    server.task_state = "image_snapshot"
    change(store, server, "create_image", "image_snapshot", lambda: None, fail_to=server.vm_state)
    return {"image_id": image.id}


def _image_of(store: Compute, req: falcon.Request, server: Server, name: str, values: Values) -> Image:
    caller = caller_of(req)
    properties = {str(key): value for key, value in (values.get("metadata") or {}).items()}
    if server.image_id:
        properties["instance_uuid"] = server.id
        return store.images.snapshot(caller, name, server.flavor.disk * 1024**3, properties)
    # A server on volumes is saved as a snapshot of each; the image itself is only a list of them.
    for disk in server.disks:
        asked = {"volume_id": disk.volume_id, "name": f"snapshot for {name}", "force": True}
        store.block_storage.create_snapshot(caller, asked, needs_force=False)
    return store.images.snapshot(caller, name, 0, properties)


def _change_password(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("changePassword", "active")
    change(store, server, "change_password", "updating_password", lambda: None)
    return None


def _lock(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.locked = True
    return None


def _unlock(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.locked = False
    return None


def _reset_state(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    must_be_admin(req, "os_compute_api:os-admin-actions:reset_state")
    store.lifecycle.drop(server.id)
    server.vm_state = "active" if values.get("state") == "active" else "error"
    server.task_state = None
    if server.vm_state == "active":
        server.fault = None
    return None


def _rebuild(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("rebuild", "active", "stopped", "error")
    image = store.images.get(caller_of(req), str(values.get("imageRef") or "").rsplit("/", 1)[-1])

    def done() -> None:
        if server.image_id:
            server.image_id = image.id
        _state(server, "active", Power.RUNNING)()

    change(store, server, "rebuild", "rebuilding", done)
    return None


def _ports_for_groups(store: Compute, server: Server) -> list[Port]:
    found = store.network.ports_of(server.id)
    if not found:
        raise BadRequest(f"instance_id {server.id} could not be found as device id on any ports")
    return found


def _add_security_group(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("addSecurityGroup", "active", "stopped", "paused", "error", any_task=True)
    group_id = _group(store, req, values)
    for port in _ports_for_groups(store, server):
        if group_id not in port.security_groups:
            port.security_groups = [*port.security_groups, group_id]
            store.network.touch(port)
    return None


def _remove_security_group(store: Compute, req: falcon.Request, server: Server, values: Values) -> Answer:
    server.must_be("removeSecurityGroup", "active", "stopped", "paused", "error", any_task=True)
    group_id = _group(store, req, values)
    having = [port for port in _ports_for_groups(store, server) if group_id in port.security_groups]
    if not having:
        raise NotFound(f"Security group {values.get('name')} not associated with the instance {server.id}")
    for port in having:
        port.security_groups = [one for one in port.security_groups if one != group_id]
        store.network.touch(port)
    return None


def _group(store: Compute, req: falcon.Request, values: Values) -> str:
    try:
        return find_security_group(store, caller_of(req), str(values.get("name") or ""))
    except BadRequest as error:
        raise NotFound(error.message) from error


Action = Callable[[Compute, falcon.Request, Server, Values], Answer]

ACTIONS: dict[str, tuple[str, Action]] = {
    "os-start": ("start", _start),
    "os-stop": ("stop", _stop),
    "reboot": ("reboot", _reboot),
    "pause": ("pause", _pause),
    "unpause": ("unpause", _unpause),
    "suspend": ("suspend", _suspend),
    "resume": ("resume", _resume),
    "resize": ("resize", _resize),
    "confirmResize": ("confirmResize", _confirm_resize),
    "revertResize": ("revertResize", _revert_resize),
    "rebuild": ("rebuild", _rebuild),
    "createImage": ("createImage", _create_image),
    "changePassword": ("changePassword", _change_password),
    "lock": ("lock", _lock),
    "unlock": ("unlock", _unlock),
    "os-resetState": ("resetState", _reset_state),
    "os-getConsoleOutput": ("", _console_output),
    "addSecurityGroup": ("", _add_security_group),
    "removeSecurityGroup": ("", _remove_security_group),
}
"""By the key in the body: the name in the server's log (empty: not logged) and what does it."""


def act(store: Compute, req: falcon.Request, resp: falcon.Response, server: Server, sent: dict[str, Any]) -> None:
    """Do what a body asks for.

    Raises:
        BadRequest: There is no such action.
        Conflict: The server's state does not allow it.
    """
    name, values = next(iter(sent.items()), ("", None))
    if name not in ACTIONS:
        raise BadRequest(f"There is no such action: {name}")
    logged, action = ACTIONS[name]
    answer = action(store, req, server, values if isinstance(values, dict) else {})
    if logged:
        store.note(server, caller_of(req), logged, str(req.env["simulator.request_id"]))
    resp.status = 200 if name == "os-getConsoleOutput" else 204 if name == "confirmResize" else 202
    if name == "createImage" and answer is not None and version_of(req) < (2, 45):
        resp.set_header("Location", f"{service_url(req, 'image')}/images/{answer['image_id']}")
    elif answer is not None:
        resp.media = answer
