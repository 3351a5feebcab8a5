"""What a new cloud has from the start: people, projects, an image, flavors, networks and volume types.

Names and sizes are those of the real cloud that the contract suite can also be run against.
"""

from openstack_simulator.block_storage.volumes import VolumeType
from openstack_simulator.cloud import Cloud
from openstack_simulator.compute.servers import Flavor
from openstack_simulator.identity.store import Domain, Project, User, hex_id
from openstack_simulator.image.store import Image
from openstack_simulator.network import networks, routers, security_groups
from openstack_simulator.records import Caller, new_id

ADMIN, DEMO = "admin", "demo"
"""Users and projects of these names; each password is the user's name."""

FLAVORS = (("1", "m1.tiny", 1, 512, 1), ("2", "m1.small", 1, 2048, 20), ("3", "m1.medium", 2, 4096, 40))
"""Id, name, CPUs, MiB of memory, GiB of disk."""

VOLUME_TYPES = ("fake-ssd", "fake-hdd")
"""The first one is the default."""


def fill(cloud: Cloud) -> None:
    """Put everything into an empty cloud."""
    admin, demo = _people(cloud)
    public = Image(
        id=new_id(),
        name="tiny",
        project_id=admin.project_id,
        visibility="public",
        disk_format="raw",
        container_format="bare",
        properties={"os_distro": "none"},
    )
    cloud.image.images.add(public)
    cloud.image.upload(public, b"a few bytes that no guest will ever boot\n")
    for flavor_id, name, vcpus, ram, disk in FLAVORS:
        cloud.compute.flavors.add(Flavor(id=flavor_id, name=name, vcpus=vcpus, ram=ram, disk=disk))
    for name in VOLUME_TYPES:
        cloud.block_storage.types.add(VolumeType(id=new_id(), name=name))
    _network(cloud, admin, demo)
    # What is there from the start is nobody's doing; counts begin with the first request.
    cloud.lifecycle.settle()
    cloud.lifecycle.forget_counts()


def _people(cloud: Cloud) -> tuple[Caller, Caller]:
    identity = cloud.identity
    identity.domains.add(Domain(id="default", name="Default", description="The default domain"))
    for name in ("admin", "member", "reader"):
        identity.role_named(name)
    callers = []
    for name in (ADMIN, DEMO):
        project = identity.projects.add(Project(id=hex_id(), name=name, description=f"The project {name}"))
        user = identity.users.add(User(id=hex_id(), name=name, password=name, default_project_id=project.id))
        roles = ("admin", "member", "reader") if name == ADMIN else ("member", "reader")
        identity.grant(user, project, *roles)
        callers.append(Caller(user.id, user.name, project.id, project.name, roles))
    boss = identity.users[callers[0].user_id]
    identity.grant(boss, identity.project_named(DEMO), "admin", "member")
    identity.grant(boss, identity.domains["default"], "admin")
    return callers[0], callers[1]


def _network(cloud: Cloud, admin: Caller, demo: Caller) -> None:
    store = cloud.network
    public = networks.create_network(store, admin, {"name": "public", "router:external": True, "is_default": True})
    outside = {
        "network_id": public.id,
        "name": "public-subnet",
        "cidr": "203.0.113.0/24",
        "gateway_ip": "203.0.113.1",
        "allocation_pools": [{"start": "203.0.113.10", "end": "203.0.113.250"}],
        "enable_dhcp": False,
    }
    networks.create_subnet(store, admin, outside)
    private = networks.create_network(store, demo, {"name": "private"})
    inside = {"network_id": private.id, "name": "private-subnet", "cidr": "10.20.0.0/20"}
    subnet = networks.create_subnet(store, demo, inside)
    router = routers.create_router(store, demo, {"name": "router", "external_gateway_info": {"network_id": public.id}})
    routers.add_interface(store, demo, router, {"subnet_id": subnet.id})
    web = security_groups.create_group(store, demo, {"name": "web", "description": "SSH and HTTP"})
    for port in (22, 80):
        rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": port, "port_range_max": port}
        security_groups.create_rule(store, demo, {"security_group_id": web.id, "remote_ip_prefix": "0.0.0.0/0"} | rule)
