"""The operations on OpenStack resources; class names are resource, verb and ``Executor``."""

from .floating_ips import (
    FloatingIPAttachExecutor,
    FloatingIPCreateExecutor,
    FloatingIPDeleteExecutor,
    FloatingIPDetachExecutor,
    FloatingIPPullExecutor,
)
from .instances import (
    InstanceCreateExecutor,
    InstanceDeleteExecutor,
    InstancePullExecutor,
    InstanceStartExecutor,
    InstanceStopExecutor,
)
from .ports import PortCreateExecutor, PortDeleteExecutor, PortPullExecutor
from .security_groups import (
    SecurityGroupCreateExecutor,
    SecurityGroupDeleteExecutor,
    SecurityGroupPullExecutor,
    SecurityGroupPushRulesExecutor,
)
from .server_groups import ServerGroupCreateExecutor, ServerGroupDeleteExecutor, ServerGroupPullExecutor
from .volumes import (
    VolumeAttachExecutor,
    VolumeCreateExecutor,
    VolumeDeleteExecutor,
    VolumeDetachExecutor,
    VolumePullExecutor,
)

__all__ = [
    "FloatingIPAttachExecutor",
    "FloatingIPCreateExecutor",
    "FloatingIPDeleteExecutor",
    "FloatingIPDetachExecutor",
    "FloatingIPPullExecutor",
    "InstanceCreateExecutor",
    "InstanceDeleteExecutor",
    "InstancePullExecutor",
    "InstanceStartExecutor",
    "InstanceStopExecutor",
    "PortCreateExecutor",
    "PortDeleteExecutor",
    "PortPullExecutor",
    "SecurityGroupCreateExecutor",
    "SecurityGroupDeleteExecutor",
    "SecurityGroupPullExecutor",
    "SecurityGroupPushRulesExecutor",
    "ServerGroupCreateExecutor",
    "ServerGroupDeleteExecutor",
    "ServerGroupPullExecutor",
    "VolumeAttachExecutor",
    "VolumeCreateExecutor",
    "VolumeDeleteExecutor",
    "VolumeDetachExecutor",
    "VolumePullExecutor",
]
