"""The only code that talks to a cloud. Nothing outside of this package imports the SDK."""

from __future__ import annotations

from .block_storage import BlockStorage
from .compute import Compute
from .identity import Identity
from .image import Images
from .network import Networking

__all__ = ["OpenStackBackend"]


class OpenStackBackend(Compute, BlockStorage, Networking, Images, Identity):
    """An OpenStack cloud, seen from one tenant. A method is named after the verb and the row it is about.

    A method may run twice and looks first for what an earlier run left. It stores the external id as soon as the cloud
    accepts, and raises only errors of `django_executors.exceptions`.
    """

    def pull_properties(self) -> None:
        """Read everything a new server can be made of: flavors, images, volume types, networks, security groups."""
        self.pull_tenant(self.tenant)
        self.pull_flavors()
        self.pull_images()
        self.pull_volume_types()
        self.pull_networks()
        self.pull_subnets()
        self.pull_security_groups()
        self.pull_server_groups()
        self.pull_floating_ips()
        self.detect_external_network()
