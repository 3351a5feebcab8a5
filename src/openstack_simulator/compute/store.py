"""Nova's state, and the questions every part of it asks."""

import base64
import binascii
import hashlib
import secrets
import struct

from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.compute.servers import Flavor, InstanceAction, KeyPair, Server, ServerGroup
from openstack_simulator.errors import BadRequest, Forbidden, NotFound
from openstack_simulator.identity.store import Identity
from openstack_simulator.image.store import ImageService
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.network.store import Networking
from openstack_simulator.quotas import Quotas
from openstack_simulator.records import Caller, Collection

QUOTAS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
}


class Compute:
    """The compute service's state, and the services it works with."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        identity: Identity,
        images: ImageService,
        block_storage: BlockStorage,
        network: Networking,
    ) -> None:
        self.lifecycle = lifecycle
        self.identity = identity
        self.images = images
        self.block_storage = block_storage
        self.network = network
        self.servers: Collection[Server] = Collection(lifecycle, "Instance {id} could not be found.")
        self.flavors: Collection[Flavor] = Collection(lifecycle, "Flavor {id} could not be found.")
        self.server_groups: Collection[ServerGroup] = Collection(lifecycle, "Instance group {id} could not be found.")
        self.keypairs: dict[tuple[str, str], KeyPair] = {}
        """By user and name."""
        self.quotas = Quotas(QUOTAS)

    def usage(self, project_id: str) -> dict[str, int]:
        """How much of each quota a project uses."""
        servers = self.servers.of_project(project_id)
        used = dict.fromkeys(QUOTAS, 0)
        used["instances"] = len(servers)
        used["cores"] = sum(server.flavor.vcpus for server in servers)
        used["ram"] = sum(server.flavor.ram for server in servers)
        used["server_groups"] = len(self.server_groups.of_project(project_id))
        return used

    def check_quota(self, project_id: str, wanted: dict[str, int]) -> None:
        """Make sure that a project may have more.

        Raises:
            Forbidden: What is wanted is more than the project may have.
        """
        used, limits = self.usage(project_id), self.quotas.of(project_id)
        over = [name for name, more in wanted.items() if not self.quotas.allows(project_id, name, used[name], more)]
        if over:
            asked = ", ".join(str(wanted[name]) for name in over)
            have = ", ".join(str(used[name]) for name in over)
            most = ", ".join(str(limits[name]) for name in over)
            names = ", ".join(over)
            raise Forbidden(f"Quota exceeded for {names}: Requested {asked}, but already used {have} of {most} {names}")

    def note(self, server: Server, caller: Caller, action: str, request_id: str) -> None:
        """Write into a server's log."""
        server.log.append(InstanceAction(action, request_id, caller.user_id, caller.project_id, self.lifecycle.now()))

    def touch(self, server: Server) -> None:
        """Note that a server was changed."""
        server.updated_at = self.lifecycle.now()

    def keypair(self, user_id: str, name: str) -> KeyPair:
        """A user's key pair.

        Raises:
            NotFound: There is none with this name.
        """
        if (user_id, name) not in self.keypairs:
            raise NotFound(f"Keypair {name} not found for user {user_id}")
        return self.keypairs[user_id, name]


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint of an OpenSSH public key.

    Raises:
        BadRequest: It is none.
    """
    try:
        blob = base64.b64decode(public_key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        raise BadRequest("Keypair data is invalid: failed to generate fingerprint") from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def made_up_keys() -> tuple[str, str]:
    """A public and a private key of the right looks; the private one opens nothing, for no guest ever runs."""
    kind = b"ssh-ed25519"
    blob = struct.pack(">I", len(kind)) + kind + struct.pack(">I", 32) + secrets.token_bytes(32)
    public = f"ssh-ed25519 {base64.b64encode(blob).decode()} Generated-by-Nova"
    text = base64.encodebytes(secrets.token_bytes(400)).decode()
    return public, f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n"
