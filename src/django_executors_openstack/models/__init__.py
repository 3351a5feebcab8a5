"""The rows that mirror a cloud."""

from .cloud import Cloud
from .flavor import Flavor
from .floating_ip import FloatingIP
from .image import Image
from .instance import Instance
from .key_pair import KeyPair
from .network import Network, Subnet
from .port import Port
from .security_group import SecurityGroup, SecurityGroupRule
from .server_group import ServerGroup
from .tenant import Tenant
from .volume import Volume
from .volume_type import VolumeType

__all__ = [
    "Cloud",
    "Flavor",
    "FloatingIP",
    "Image",
    "Instance",
    "KeyPair",
    "Network",
    "Port",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServerGroup",
    "Subnet",
    "Tenant",
    "Volume",
    "VolumeType",
]
