"""Cinder's calls on what is set up rather than made: types, quotas, limits, zones and services."""

from typing import Any

import falcon

from openstack_simulator.block_storage.store import BlockStorage
from openstack_simulator.block_storage.volumes import ZONE, VolumeType, strings
from openstack_simulator.clock import in_microseconds
from openstack_simulator.errors import Conflict, Forbidden, NotFound
from openstack_simulator.paging import Query
from openstack_simulator.records import new_id
from openstack_simulator.web import App, body, caller_of, must_be_admin, required

Body = dict[str, Any]


class Types:
    """``/types``."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    @staticmethod
    def render(one: VolumeType) -> Body:
        """A type's body."""
        return {
            "id": one.id,
            "name": one.name,
            "description": one.description,
            "is_public": True,
            "os-volume-type-access:is_public": True,
            "extra_specs": one.extra_specs,
            "qos_specs_id": None,
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List types."""
        resp.media = {"volume_types": [self.render(one) for one in self.store.types]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a type; admins only."""
        must_be_admin(req, "volume_extension:type_create")
        values = body(req, "volume_type")
        name = str(required(values, "name"))
        if self.store.types.named(name):
            raise Conflict(f"Volume Type {name} already exists.")
        made = VolumeType(
            id=new_id(),
            name=name,
            description=values.get("description"),
            extra_specs=strings(values.get("extra_specs")),
        )
        resp.media = {"volume_type": self.render(self.store.types.add(made))}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Show a type; ``default`` is the one that volumes get when they name none."""
        one = self.store.type_of(None) if type_id == "default" else self.store.types.get(caller_of(req), type_id)
        resp.media = {"volume_type": self.render(one)}

    def on_put_one(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Change a type's name or description; admins only."""
        must_be_admin(req, "volume_extension:type_update")
        one = self.store.types.get(caller_of(req), type_id)
        values = body(req, "volume_type")
        one.name, one.description = values.get("name") or one.name, values.get("description", one.description)
        resp.media = {"volume_type": self.render(one)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Delete a type; admins only."""
        must_be_admin(req, "volume_extension:type_delete")
        self.store.types.get(caller_of(req), type_id)
        self.store.types.remove(type_id)
        resp.status = 202

    def on_get_specs(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Show a type's extra specs."""
        resp.media = {"extra_specs": self.store.types.get(caller_of(req), type_id).extra_specs}

    def on_post_specs(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Add extra specs; admins only."""
        must_be_admin(req, "volume_extension:types_extra_specs:create")
        one = self.store.types.get(caller_of(req), type_id)
        one.extra_specs |= strings(body(req, "extra_specs"))
        resp.media = {"extra_specs": one.extra_specs}

    def on_get_encryption(self, req: falcon.Request, resp: falcon.Response, type_id: str) -> None:
        """Show a type's encryption: none has any."""
        self.store.types.get(caller_of(req), type_id)
        resp.media = {}


class QuotaSets:
    """``/os-quota-sets``."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show a project's limits, with usage when asked."""
        if not caller_of(req).may_see(project_id):
            raise Forbidden("Policy doesn't allow volume_extension:quotas:show to be performed.")
        limits: Body = dict(self.store.quotas.of(project_id))
        if Query.of(req).flag("usage"):
            used = self.store.usage(project_id)
            limits = {
                name: {"limit": limit, "in_use": used[name], "reserved": 0, "allocated": 0}
                for name, limit in limits.items()
            }
        resp.media = {"quota_set": {"id": project_id} | limits}

    def on_put(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Change a project's limits; admins only."""
        must_be_admin(req, "volume_extension:quotas:update")
        self.store.quotas.set(project_id, body(req, "quota_set"))
        resp.media = {"quota_set": self.store.quotas.of(project_id)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Go back to the defaults; admins only."""
        must_be_admin(req, "volume_extension:quotas:delete")
        self.store.quotas.reset(project_id)

    def on_get_defaults(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show the defaults."""
        resp.media = {"quota_set": {"id": project_id} | self.store.quotas.defaults}


class Settings:
    """Limits, zones, services and lists that are always empty."""

    def __init__(self, store: BlockStorage) -> None:
        self.store = store

    def on_get_limits(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the caller's limits beside what is used of them."""
        project_id = caller_of(req).project_id
        limits, used = self.store.quotas.of(project_id), self.store.usage(project_id)
        resp.media = {
            "limits": {
                "rate": [],
                "absolute": {
                    "maxTotalVolumes": limits["volumes"],
                    "totalVolumesUsed": used["volumes"],
                    "maxTotalSnapshots": limits["snapshots"],
                    "totalSnapshotsUsed": used["snapshots"],
                    "maxTotalVolumeGigabytes": limits["gigabytes"],
                    "totalGigabytesUsed": used["gigabytes"],
                    "maxTotalBackups": limits["backups"],
                    "totalBackupsUsed": 0,
                    "maxTotalBackupGigabytes": limits["backup_gigabytes"],
                    "totalBackupGigabytesUsed": 0,
                },
            }
        }

    def on_get_zones(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List availability zones."""
        resp.media = {"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": True}}]}

    def on_get_services(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List Cinder's services; admins only."""
        must_be_admin(req, "volume_extension:services:index")
        resp.media = {
            "services": [
                {
                    "binary": binary,
                    "host": host,
                    "zone": ZONE,
                    "status": "enabled",
                    "state": "up",
                    "updated_at": in_microseconds(self.store.lifecycle.clock.now()),
                    "disabled_reason": None,
                }
                for binary, host in (("cinder-scheduler", "control1"), ("cinder-volume", "block1@fake"))
            ]
        }

    def on_get_extensions(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List extensions: all are part of the service today."""
        resp.media = {"extensions": []}

    def on_get_filters(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List what lists can be filtered by."""
        filters = {
            "volume": ["name", "status", "metadata", "bootable", "availability_zone"],
            "snapshot": ["name", "status", "volume_id", "metadata"],
        }
        resp.media = {"resource_filters": [{"resource": kind, "filters": names} for kind, names in filters.items()]}


class Nothing:
    """A kind of object that the simulator has none of: lists are empty and nothing is found."""

    def __init__(self, plural: str) -> None:
        self.plural = plural

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List nothing."""
        resp.media = {self.plural: []}

    on_get_detail = on_get

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, record_id: str) -> None:
        """Find nothing."""
        raise NotFound(f"{self.plural.rstrip('s').title()} {record_id} could not be found.")


def add_routes(app: App, store: BlockStorage, root: str) -> None:
    """Serve these calls."""
    types, quotas, settings = Types(store), QuotaSets(store), Settings(store)
    app.add_route(f"{root}/types", types)
    app.add_route(f"{root}/types/{{type_id}}", types, suffix="one")
    app.add_route(f"{root}/types/{{type_id}}/extra_specs", types, suffix="specs")
    app.add_route(f"{root}/types/{{type_id}}/encryption", types, suffix="encryption")
    app.add_route(f"{root}/os-quota-sets/{{project_id}}", quotas)
    app.add_route(f"{root}/os-quota-sets/{{project_id}}/defaults", quotas, suffix="defaults")
    app.add_route(f"{root}/limits", settings, suffix="limits")
    app.add_route(f"{root}/os-availability-zone", settings, suffix="zones")
    app.add_route(f"{root}/os-services", settings, suffix="services")
    app.add_route(f"{root}/extensions", settings, suffix="extensions")
    app.add_route(f"{root}/resource_filters", settings, suffix="filters")
    for path, plural in (
        ("backups", "backups"),
        ("volume-transfers", "transfers"),
        ("os-volume-transfer", "transfers"),
        ("qos-specs", "qos_specs"),
        ("groups", "groups"),
        ("group_types", "group_types"),
        ("messages", "messages"),
    ):
        nothing = Nothing(plural)
        app.add_route(f"{root}/{path}", nothing)
        app.add_route(f"{root}/{path}/detail", nothing, suffix="detail")
        app.add_route(f"{root}/{path}/{{record_id}}", nothing, suffix="one")
