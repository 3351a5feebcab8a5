"""Nova's calls on what servers are made with (key pairs, groups) and on quotas, limits, zones and hosts."""

import uuid
import zlib
from typing import Any

import falcon

from openstack_simulator.clock import in_microseconds
from openstack_simulator.compute.flavor_views import Flavors
from openstack_simulator.compute.servers import HOST, ZONE, KeyPair, ServerGroup
from openstack_simulator.compute.store import Compute, fingerprint, made_up_keys
from openstack_simulator.errors import BadRequest, Conflict, Forbidden, NotFound
from openstack_simulator.paging import Query, next_link, page
from openstack_simulator.records import new_id
from openstack_simulator.web import App, body, caller_of, must_be_admin, required, version_of

Body = dict[str, Any]
POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")


class KeyPairs:
    """``/os-keypairs``."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    @staticmethod
    def render(req: falcon.Request, keypair: KeyPair) -> Body:
        """A key pair's body."""
        shown: Body = {
            "name": keypair.name,
            "public_key": keypair.public_key,
            "fingerprint": keypair.fingerprint,
        }
        if version_of(req) >= (2, 2):
            shown["type"] = keypair.kind
        return shown

    def _user(self, req: falcon.Request) -> str:
        wanted = Query.of(req).get("user_id")
        if wanted and wanted != caller_of(req).user_id:
            must_be_admin(req, "os_compute_api:os-keypairs:index")
            return wanted
        return caller_of(req).user_id

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List a user's key pairs."""
        user_id = self._user(req)
        mine = sorted((one for one in self.store.keypairs.values() if one.user_id == user_id), key=lambda one: one.name)
        shown, marker = page(mine, Query.of(req), key=lambda one: one.name)
        entries = [{"keypair": self.render(req, one)} for one in shown]
        resp.media = {"keypairs": entries} | next_link(req, "keypairs", marker)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take a public key, or make a pair when none is sent (until 2.91)."""
        values, caller = body(req, "keypair"), caller_of(req)
        name, user_id = str(required(values, "name")), str(values.get("user_id") or caller.user_id)
        if user_id != caller.user_id:
            must_be_admin(req, "os_compute_api:os-keypairs:create")
        if (user_id, name) in self.store.keypairs:
            raise Conflict(f"Key pair '{name}' already exists.")
        used = sum(1 for owner, _ in self.store.keypairs if owner == user_id)
        if not self.store.quotas.allows(caller.project_id, "key_pairs", used):
            raise Forbidden("Quota exceeded, too many key pairs.")
        public, private = values.get("public_key"), None
        if not public:
            if version_of(req) >= (2, 92):
                raise BadRequest("Invalid input for field/attribute keypair. 'public_key' is a required property")
            public, private = made_up_keys()
        made = KeyPair(
            id=name,
            name=name,
            user_id=user_id,
            public_key=str(public),
            fingerprint=fingerprint(str(public)),
            kind=str(values.get("type") or "ssh"),
            created_at=self.store.lifecycle.now(),
        )
        self.store.keypairs[user_id, name] = made
        shown = self.render(req, made) | {"user_id": user_id}
        if private:
            shown["private_key"] = private
        resp.status, resp.media = 201 if version_of(req) >= (2, 2) else 200, {"keypair": shown}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Show a key pair."""
        keypair = self.store.keypair(self._user(req), name)
        resp.media = {
            "keypair": self.render(req, keypair)
            | {
                "id": zlib.crc32(f"{keypair.user_id}{name}".encode()),
                "user_id": keypair.user_id,
                "created_at": in_microseconds(keypair.created_at),
                "updated_at": None,
                "deleted": False,
                "deleted_at": None,
            }
        }

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a key pair."""
        keypair = self.store.keypair(self._user(req), name)
        del self.store.keypairs[keypair.user_id, keypair.name]
        resp.status = 204 if version_of(req) >= (2, 2) else 202


class ServerGroups:
    """``/os-server-groups``."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    @staticmethod
    def render(req: falcon.Request, group: ServerGroup) -> Body:
        """A group's body; one ``policy`` from 2.64 on, a list of ``policies`` before."""
        shown: Body = {"id": group.id, "name": group.name, "members": group.members}
        version = version_of(req)
        if version >= (2, 64):
            shown |= {"policy": group.policy, "rules": group.rules}
        else:
            shown |= {"policies": [group.policy], "metadata": {}}
        if version >= (2, 13):
            shown |= {"project_id": group.project_id, "user_id": group.user_id}
        return shown

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List groups."""
        query, caller = Query.of(req), caller_of(req)
        everyone = caller.is_admin and "all_projects" in [key for key, _ in query.pairs]
        groups = self.store.server_groups.visible(lambda one: everyone or one.project_id == caller.project_id)
        shown, _ = page(list(groups), query, key=lambda one: one.id)
        resp.media = {"server_groups": [self.render(req, one) for one in shown]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a group."""
        values, caller = body(req, "server_group"), caller_of(req)
        if version_of(req) >= (2, 64):
            policy = values.get("policy")
        else:
            policy = next(iter(values.get("policies") or []), None)
        if policy not in POLICIES:
            raise BadRequest(
                f"Invalid input for field/attribute policy. Value: {policy}. {policy!r} is not one of {list(POLICIES)}"
            )
        used = len(self.store.server_groups.of_project(caller.project_id))
        if not self.store.quotas.allows(caller.project_id, "server_groups", used):
            raise Forbidden("Quota exceeded, too many server groups.")
        group = self.store.server_groups.add(
            ServerGroup(
                id=new_id(),
                name=str(required(values, "name")),
                project_id=caller.project_id,
                user_id=caller.user_id,
                policy=str(policy),
                rules=dict(values.get("rules") or {}),
            )
        )
        resp.media = {"server_group": self.render(req, group)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, group_id: str) -> None:
        """Show a group."""
        resp.media = {"server_group": self.render(req, self.store.server_groups.get(caller_of(req), group_id))}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, group_id: str) -> None:
        """Delete a group; its servers stay."""
        self.store.server_groups.get(caller_of(req), group_id)
        self.store.server_groups.remove(group_id)
        resp.status = 204


class QuotaSets:
    """``/os-quota-sets``."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show a project's limits."""
        self._check(req, project_id)
        resp.media = {"quota_set": {"id": project_id} | self.store.quotas.of(project_id)}

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show limits beside what is used of them."""
        self._check(req, project_id)
        used = self.store.usage(project_id)
        shown: Body = {
            name: {"limit": limit, "in_use": used[name], "reserved": 0}
            for name, limit in self.store.quotas.of(project_id).items()
        }
        resp.media = {"quota_set": {"id": project_id} | shown}

    def on_put(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Change a project's limits; admins only."""
        must_be_admin(req, "os_compute_api:os-quota-sets:update")
        self.store.quotas.set(project_id, {k: v for k, v in body(req, "quota_set").items() if k != "force"})
        resp.media = {"quota_set": self.store.quotas.of(project_id)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Go back to the defaults; admins only."""
        must_be_admin(req, "os_compute_api:os-quota-sets:delete")
        self.store.quotas.reset(project_id)
        resp.status = 202

    def on_get_defaults(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show the defaults."""
        resp.media = {"quota_set": {"id": project_id} | self.store.quotas.defaults}

    @staticmethod
    def _check(req: falcon.Request, project_id: str) -> None:
        if not caller_of(req).may_see(project_id):
            raise Forbidden("Policy doesn't allow os_compute_api:os-quota-sets:show to be performed.")


class Settings:
    """Limits, availability zones, services and hypervisors."""

    def __init__(self, store: Compute) -> None:
        self.store = store

    def on_get_limits(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show limits beside what is used of them."""
        project_id = caller_of(req).project_id
        if caller_of(req).is_admin:
            project_id = Query.of(req).get("tenant_id") or project_id
        limits, used = self.store.quotas.of(project_id), self.store.usage(project_id)
        resp.media = {
            "limits": {
                "rate": [],
                "absolute": {
                    "maxTotalInstances": limits["instances"],
                    "totalInstancesUsed": used["instances"],
                    "maxTotalCores": limits["cores"],
                    "totalCoresUsed": used["cores"],
                    "maxTotalRAMSize": limits["ram"],
                    "totalRAMUsed": used["ram"],
                    "maxTotalKeypairs": limits["key_pairs"],
                    "maxServerMeta": limits["metadata_items"],
                    "maxServerGroups": limits["server_groups"],
                    "totalServerGroupsUsed": used["server_groups"],
                    "maxServerGroupMembers": limits["server_group_members"],
                },
            }
        }

    def on_get_zones(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List availability zones."""
        resp.media = {"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": True}, "hosts": None}]}

    def on_get_zones_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List availability zones with their hosts; admins only."""
        must_be_admin(req, "os_compute_api:os-availability-zone:detail")
        self.on_get_zones(req, resp)

    def on_get_services(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List Nova's services; admins only."""
        must_be_admin(req, "os_compute_api:os-services:list")
        now = in_microseconds(self.store.lifecycle.clock.now())
        resp.media = {
            "services": [
                {
                    "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{binary}.{host}")),
                    "binary": binary,
                    "host": host,
                    "zone": zone,
                    "status": "enabled",
                    "state": "up",
                    "updated_at": now,
                    "disabled_reason": None,
                    "forced_down": False,
                }
                for binary, host, zone in (
                    ("nova-scheduler", "control1", "internal"),
                    ("nova-conductor", "control1", "internal"),
                    ("nova-compute", HOST, ZONE),
                )
            ]
        }

    def on_get_hypervisors(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List hypervisors; admins only."""
        must_be_admin(req, "os_compute_api:os-hypervisors:list")
        one: Body = {"id": HOST, "hypervisor_hostname": HOST, "state": "up", "status": "enabled"}
        if req.path.endswith("/detail"):
            one |= {
                "hypervisor_type": "fake",
                "hypervisor_version": 1000,
                "host_ip": "127.0.0.1",
                "service": {"id": HOST, "host": HOST, "disabled_reason": None},
                "uptime": None,
                "servers": [],
            }
        resp.media = {"hypervisors": [one]}

    def on_get_extensions(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List extensions: all are part of the service today."""
        resp.media = {"extensions": []}

    def on_get_usage(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Refuse: usage over time is not kept."""
        raise NotFound("The simulator keeps no usage over time.")


def add_routes(app: App, store: Compute, root: str) -> None:
    """Serve these calls."""
    flavors, keypairs, groups = Flavors(store), KeyPairs(store), ServerGroups(store)
    app.add_route(f"{root}/flavors", flavors)
    app.add_route(f"{root}/flavors/detail", flavors, suffix="detail")
    app.add_route(f"{root}/flavors/{{flavor_id}}", flavors, suffix="one")
    app.add_route(f"{root}/flavors/{{flavor_id}}/os-extra_specs", flavors, suffix="specs")
    app.add_route(f"{root}/os-keypairs", keypairs)
    app.add_route(f"{root}/os-keypairs/{{name}}", keypairs, suffix="one")
    app.add_route(f"{root}/os-server-groups", groups)
    app.add_route(f"{root}/os-server-groups/{{group_id}}", groups, suffix="one")
    quotas, settings = QuotaSets(store), Settings(store)
    app.add_route(f"{root}/os-quota-sets/{{project_id}}", quotas)
    app.add_route(f"{root}/os-quota-sets/{{project_id}}/detail", quotas, suffix="detail")
    app.add_route(f"{root}/os-quota-sets/{{project_id}}/defaults", quotas, suffix="defaults")
    app.add_route(f"{root}/limits", settings, suffix="limits")
    app.add_route(f"{root}/os-availability-zone", settings, suffix="zones")
    app.add_route(f"{root}/os-availability-zone/detail", settings, suffix="zones_detail")
    app.add_route(f"{root}/os-services", settings, suffix="services")
    app.add_route(f"{root}/os-hypervisors", settings, suffix="hypervisors")
    app.add_route(f"{root}/os-hypervisors/detail", settings, suffix="hypervisors")
    app.add_route(f"{root}/extensions", settings, suffix="extensions")
    app.add_route(f"{root}/os-simple-tenant-usage/{{project_id}}", settings, suffix="usage")
