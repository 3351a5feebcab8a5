"""Nova's calls on the volumes and ports of a server."""

import falcon

from openstack_simulator.compute import bodies, devices
from openstack_simulator.compute.base import ServerView
from openstack_simulator.compute.servers import Disk, Server
from openstack_simulator.errors import NotFound
from openstack_simulator.network.records import Port
from openstack_simulator.paging import Query, page
from openstack_simulator.web import body, caller_of, document, request_id_of, version_of


class VolumeAttachments(ServerView):
    """``/servers/{}/os-volume_attachments``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List a server's volumes."""
        server = self.find(req, server_id)
        shown, _ = page(server.disks, Query.of(req), key=lambda one: one.volume_id)
        resp.media = {"volumeAttachments": [bodies.volume_attachment(server, one, version_of(req)) for one in shown]}

    def on_post(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Start attaching a volume."""
        server = self.find(req, server_id)
        disk = devices.attach_volume(self.store, caller_of(req), server, body(req, "volumeAttachment"))
        self.store.note(server, caller_of(req), "attach_volume", request_id_of(req))
        resp.media = {"volumeAttachment": bodies.volume_attachment(server, disk, version_of(req))}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, volume_id: str) -> None:
        """Show a volume's attachment."""
        server = self.find(req, server_id)
        resp.media = {
            "volumeAttachment": bodies.volume_attachment(server, self._disk(server, volume_id), version_of(req))
        }

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, volume_id: str) -> None:
        """Change whether the volume is deleted with the server."""
        values = body(req, "volumeAttachment")
        disk = self._disk(self.find(req, server_id), volume_id)
        disk.delete_on_termination = bool(values.get("delete_on_termination", disk.delete_on_termination))
        resp.status = 202

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, volume_id: str) -> None:
        """Start detaching a volume."""
        server = self.find(req, server_id)
        devices.detach_volume(self.store, server, volume_id)
        self.store.note(server, caller_of(req), "detach_volume", request_id_of(req))
        resp.status = 202

    @staticmethod
    def _disk(server: Server, volume_id: str) -> Disk:
        disk = server.disk_of(volume_id)
        if disk is None:
            raise NotFound(f"Instance {server.id} is not attached to volume {volume_id}")
        return disk


class Interfaces(ServerView):
    """``/servers/{}/os-interface``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """List a server's ports."""
        found = self.store.network.ports_of(self.find(req, server_id).id)
        resp.media = {"interfaceAttachments": [bodies.interface(port, version_of(req)) for port in found]}

    def on_post(self, req: falcon.Request, resp: falcon.Response, server_id: str) -> None:
        """Plug a port in."""
        server = self.find(req, server_id)
        sent = document(req).get("interfaceAttachment")
        port = devices.attach_interface(self.store, caller_of(req), server, sent or {})
        self.store.note(server, caller_of(req), "attach_interface", request_id_of(req))
        resp.media = {"interfaceAttachment": bodies.interface(port, version_of(req))}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, port_id: str) -> None:
        """Show a port."""
        resp.media = {
            "interfaceAttachment": bodies.interface(self._port(self.find(req, server_id), port_id), version_of(req))
        }

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, server_id: str, port_id: str) -> None:
        """Start unplugging a port."""
        server = self.find(req, server_id)
        devices.detach_interface(self.store, server, port_id)
        self.store.note(server, caller_of(req), "detach_interface", request_id_of(req))
        resp.status = 202

    def _port(self, server: Server, port_id: str) -> Port:
        port = self.store.network.ports.find(port_id)
        if port is None or port.device_id != server.id:
            raise NotFound(f"Instance {server.id} does not have port {port_id} attached")
        return port
