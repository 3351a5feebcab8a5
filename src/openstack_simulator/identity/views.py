"""Keystone's other calls: projects, users, roles, assignments, domains and the catalog's parts."""

from collections.abc import Iterable
from typing import Any

import falcon

from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, Forbidden, NotFound
from openstack_simulator.identity import tokens
from openstack_simulator.identity.store import (
    CATALOG,
    INTERFACES,
    REGION,
    ApplicationCredential,
    Assignment,
    Domain,
    Identity,
    Project,
    Role,
    User,
    endpoint_id,
    hex_id,
    service_id,
)
from openstack_simulator.paging import Query
from openstack_simulator.web import App, body, caller_of, required

Bodies = Iterable[dict[str, Any]]


def admins_only(req: falcon.Request, rule: str) -> None:
    """Raises:
    Forbidden: The caller is no admin, in Keystone's words.
    """
    if not caller_of(req).is_admin:
        raise Forbidden(f"You are not authorized to perform the requested action: identity:{rule}.")


def listing(req: falcon.Request, resp: falcon.Response, key: str, bodies: Bodies) -> None:
    """Answer with those bodies that pass the filters in the query string."""
    query = Query.of(req)
    chosen = list(bodies)
    for name in ("name", "domain_id", "enabled", "type", "service_id", "interface", "region_id"):
        wanted = query.get(name)
        if wanted is not None:
            chosen = [one for one in chosen if str(one.get(name, "")).lower() == wanted.lower()]
    resp.media = {key: chosen, "links": {"next": None, "self": req.uri, "previous": None}}


def itself(req: falcon.Request, path: str) -> dict[str, str]:
    """The ``links`` of a body."""
    return {"self": f"{req.prefix}/identity/v3/{path}"}


class View:
    """Shared by the views below: they work on the identity store."""

    def __init__(self, store: Identity) -> None:
        self.store = store


class Projects(View):
    """``/v3/projects``."""

    def render(self, req: falcon.Request, project: Project) -> dict[str, Any]:
        """A project's body."""
        return {
            "id": project.id,
            "name": project.name,
            "domain_id": project.domain_id,
            "description": project.description,
            "enabled": project.enabled,
            "parent_id": project.domain_id,
            "is_domain": False,
            "tags": project.tags,
            "options": {},
            "links": itself(req, f"projects/{project.id}"),
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List projects; admins only."""
        admins_only(req, "list_projects")
        listing(req, resp, "projects", (self.render(req, one) for one in self.store.projects))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a project."""
        admins_only(req, "create_project")
        values = body(req, "project")
        name, domain_id = str(required(values, "name")), str(values.get("domain_id") or "default")
        self.store.domains.get(caller_of(req), domain_id)
        self.store.unique_name(self.store.projects, "project", name, domain_id)
        project = self.store.projects.add(
            Project(
                id=hex_id(),
                name=name,
                domain_id=domain_id,
                description=values.get("description") or "",
                enabled=values.get("enabled", True),
                tags=list(values.get("tags") or []),
            )
        )
        resp.status, resp.media = 201, {"project": self.render(req, project)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show a project: one's own, or any to admins."""
        if project_id != caller_of(req).project_id:
            admins_only(req, "get_project")
        resp.media = {"project": self.render(req, self.store.projects.get(caller_of(req), project_id))}

    def on_patch_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Change a project."""
        admins_only(req, "update_project")
        project = self.store.projects.get(caller_of(req), project_id)
        values = body(req, "project")
        if values.get("name", project.name) != project.name:
            self.store.unique_name(self.store.projects, "project", values["name"], project.domain_id)
        for key in ("name", "description", "enabled", "tags"):
            if key in values:
                setattr(project, key, values[key])
        resp.media = {"project": self.render(req, project)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Delete a project."""
        admins_only(req, "delete_project")
        self.store.projects.get(caller_of(req), project_id)
        self.store.forget_project(project_id)
        resp.status = 204

    def on_get_own(self, req: falcon.Request, resp: falcon.Response, user_id: str = "") -> None:
        """List the projects that a user, without an id the caller, has a role on."""
        caller = caller_of(req)
        if user_id and user_id != caller.user_id:
            admins_only(req, "list_user_projects")
        projects = self.store.projects_of(user_id or caller.user_id)
        listing(req, resp, "projects", (self.render(req, one) for one in projects))


class Users(View):
    """``/v3/users``."""

    def render(self, req: falcon.Request, user: User) -> dict[str, Any]:
        """A user's body."""
        shown: dict[str, Any] = {
            "id": user.id,
            "name": user.name,
            "domain_id": user.domain_id,
            "enabled": user.enabled,
            "description": user.description,
            "password_expires_at": None,
            "options": {},
            "links": itself(req, f"users/{user.id}"),
        }
        if user.email is not None:
            shown["email"] = user.email
        if user.default_project_id:
            shown["default_project_id"] = user.default_project_id
        return shown

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List users; admins only."""
        admins_only(req, "list_users")
        listing(req, resp, "users", (self.render(req, one) for one in self.store.users))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a user."""
        admins_only(req, "create_user")
        values = body(req, "user")
        name, domain_id = str(required(values, "name")), str(values.get("domain_id") or "default")
        self.store.unique_name(self.store.users, "user", name, domain_id)
        user = self.store.users.add(User(id=hex_id(), name=name, domain_id=domain_id))
        self._take(user, values)
        resp.status, resp.media = 201, {"user": self.render(req, user)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Show a user: oneself, or any to admins."""
        if user_id != caller_of(req).user_id:
            admins_only(req, "get_user")
        resp.media = {"user": self.render(req, self.store.users.get(caller_of(req), user_id))}

    def on_patch_one(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Change a user; a new password ends the user's tokens."""
        admins_only(req, "update_user")
        user = self.store.users.get(caller_of(req), user_id)
        values = body(req, "user")
        if values.get("name", user.name) != user.name:
            self.store.unique_name(self.store.users, "user", values["name"], user.domain_id)
        self._take(user, values)
        if "password" in values or values.get("enabled") is False:
            self.store.revoke_tokens(user.id)
        resp.media = {"user": self.render(req, user)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Delete a user."""
        admins_only(req, "delete_user")
        self.store.users.get(caller_of(req), user_id)
        self.store.forget_user(user_id)
        resp.status = 204

    def on_post_password(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Let a user change the own password."""
        user = self.store.users.get(caller_of(req), user_id)
        values = body(req, "user")
        if values.get("original_password") != user.password:
            raise Forbidden("Password does not match.")
        user.password = str(required(values, "password"))
        self.store.revoke_tokens(user.id)
        resp.status = 204

    @staticmethod
    def _take(user: User, values: dict[str, Any]) -> None:
        for key in ("name", "password", "email", "description", "enabled", "default_project_id"):
            if key in values:
                setattr(user, key, values[key])


class Roles(View):
    """``/v3/roles`` and who has them."""

    def render(self, req: falcon.Request, role: Role) -> dict[str, Any]:
        """A role's body."""
        return {
            "id": role.id,
            "name": role.name,
            "domain_id": None,
            "description": role.description,
            "options": {},
            "links": itself(req, f"roles/{role.id}"),
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List roles."""
        admins_only(req, "list_roles")
        listing(req, resp, "roles", (self.render(req, one) for one in self.store.roles))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a role."""
        admins_only(req, "create_role")
        values = body(req, "role")
        name = str(required(values, "name"))
        self.store.unique_name(self.store.roles, "role", name, "default")
        role = self.store.roles.add(Role(id=hex_id(), name=name, description=values.get("description")))
        resp.status, resp.media = 201, {"role": self.render(req, role)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, role_id: str) -> None:
        """Show a role."""
        admins_only(req, "get_role")
        resp.media = {"role": self.render(req, self.store.roles.get(caller_of(req), role_id))}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, role_id: str) -> None:
        """Delete a role."""
        admins_only(req, "delete_role")
        self.store.roles.get(caller_of(req), role_id)
        self.store.forget_role(role_id)
        resp.status = 204


class Grants(View):
    """``/v3/projects/{}/users/{}/roles`` and the same for domains."""

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, user_id: str, project_id: str = "", domain_id: str = ""
    ) -> None:
        """List the roles of a user on a target."""
        admins_only(req, "list_grants")
        self._check(req, user_id, project_id, domain_id)
        roles = Roles(self.store)
        listing(
            req,
            resp,
            "roles",
            (roles.render(req, one) for one in self.store.roles_of(user_id, project_id or domain_id)),
        )

    def on_put_one(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        user_id: str,
        role_id: str,
        project_id: str = "",
        domain_id: str = "",
    ) -> None:
        """Give a role."""
        admins_only(req, "create_grant")
        self._check(req, user_id, project_id, domain_id)
        self.store.roles.get(caller_of(req), role_id)
        self.store.assignments[Assignment(user_id, project_id or domain_id, role_id, bool(domain_id))] = None
        resp.status = 204

    def on_get_one(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        user_id: str,
        role_id: str,
        project_id: str = "",
        domain_id: str = "",
    ) -> None:
        """Check a role; HEAD asks the same."""
        admins_only(req, "check_grant")
        self._known(Assignment(user_id, project_id or domain_id, role_id, bool(domain_id)))
        resp.status = 204

    on_head_one = on_get_one

    def on_delete_one(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        user_id: str,
        role_id: str,
        project_id: str = "",
        domain_id: str = "",
    ) -> None:
        """Take a role away."""
        admins_only(req, "revoke_grant")
        del self.store.assignments[self._known(Assignment(user_id, project_id or domain_id, role_id, bool(domain_id)))]
        resp.status = 204

    def _check(self, req: falcon.Request, user_id: str, project_id: str, domain_id: str) -> None:
        if domain_id:
            self.store.domains.get(caller_of(req), domain_id)
        else:
            self.store.projects.get(caller_of(req), project_id)
        self.store.users.get(caller_of(req), user_id)

    def _known(self, assignment: Assignment) -> Assignment:
        if assignment not in self.store.assignments:
            raise NotFound(
                f"Could not find role assignment with role: {assignment.role_id}, "
                f"user or group: {assignment.user_id}, project, domain, or system: {assignment.target_id}."
            )
        return assignment


class RoleAssignments(View):
    """``/v3/role_assignments``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List who has which role where."""
        query = Query.of(req)
        wanted = {
            "user": query.get("user.id"),
            "role": query.get("role.id"),
            "project": query.get("scope.project.id"),
            "domain": query.get("scope.domain.id"),
        }
        if wanted["user"] != caller_of(req).user_id:
            admins_only(req, "list_role_assignments")
        with_names = query.flag("include_names") or query.get("include_names") == ""
        shown = []
        for one in self.store.assignments:
            scope = "domain" if one.on_domain else "project"
            its = {"user": one.user_id, "role": one.role_id, scope: one.target_id}
            if all(value is None or its.get(key) == value for key, value in wanted.items()):
                shown.append(self._render(req, one, scope, with_names=with_names))
        listing(req, resp, "role_assignments", shown)

    def _render(self, req: falcon.Request, assignment: Assignment, scope: str, *, with_names: bool) -> dict[str, Any]:
        user, role = self.store.users[assignment.user_id], self.store.roles[assignment.role_id]
        target: Project | Domain
        if assignment.on_domain:
            target = self.store.domains[assignment.target_id]
        else:
            target = self.store.projects[assignment.target_id]
        shown_user: dict[str, Any] = {"id": user.id}
        shown_role: dict[str, Any] = {"id": role.id}
        shown_target: dict[str, Any] = {"id": target.id}
        if with_names:
            domain = {"id": "default", "name": "Default"}
            shown_user |= {"name": user.name, "domain": domain}
            shown_role |= {"name": role.name}
            shown_target |= {"name": target.name} | ({} if assignment.on_domain else {"domain": domain})
        path = f"{scope}s/{target.id}/users/{user.id}/roles/{role.id}"
        return {
            "role": shown_role,
            "user": shown_user,
            "scope": {scope: shown_target},
            "links": {"assignment": itself(req, path)["self"]},
        }


class Domains(View):
    """``/v3/domains``."""

    def render(self, req: falcon.Request, domain: Domain) -> dict[str, Any]:
        """A domain's body."""
        return {
            "id": domain.id,
            "name": domain.name,
            "description": domain.description,
            "enabled": domain.enabled,
            "tags": [],
            "options": {},
            "links": itself(req, f"domains/{domain.id}"),
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List domains."""
        admins_only(req, "list_domains")
        listing(req, resp, "domains", (self.render(req, one) for one in self.store.domains))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a domain."""
        admins_only(req, "create_domain")
        values = body(req, "domain")
        domain = self.store.domains.add(
            Domain(id=hex_id(), name=str(required(values, "name")), description=values.get("description") or "")
        )
        resp.status, resp.media = 201, {"domain": self.render(req, domain)}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, domain_id: str) -> None:
        """Show a domain."""
        admins_only(req, "get_domain")
        resp.media = {"domain": self.render(req, self.store.domains.get(caller_of(req), domain_id))}


class CatalogParts(View):
    """Regions, services and endpoints; they are fixed."""

    def services(self, req: falcon.Request) -> list[dict[str, Any]]:
        """All services."""
        return [
            {
                "id": service_id(name),
                "name": name,
                "type": kind,
                "enabled": True,
                "description": f"OpenStack {kind}",
                "links": itself(req, f"services/{service_id(name)}"),
            }
            for name, kind, _ in CATALOG
        ]

    def endpoints(self, req: falcon.Request) -> list[dict[str, Any]]:
        """All endpoints."""
        return [
            {
                "id": endpoint_id(name, interface),
                "interface": interface,
                "region": REGION,
                "region_id": REGION,
                "service_id": service_id(name),
                "url": req.prefix + path.format(project_id="%(project_id)s"),
                "enabled": True,
                "links": itself(req, f"endpoints/{endpoint_id(name, interface)}"),
            }
            for name, _, path in CATALOG
            for interface in INTERFACES
        ]

    def regions(self, req: falcon.Request) -> list[dict[str, Any]]:
        """The one region."""
        return [{"id": REGION, "description": "", "parent_region_id": None, "links": itself(req, f"regions/{REGION}")}]

    def on_get_services(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List services."""
        admins_only(req, "list_services")
        listing(req, resp, "services", self.services(req))

    def on_get_service(self, req: falcon.Request, resp: falcon.Response, service_id: str) -> None:
        """Show a service."""
        admins_only(req, "get_service")
        resp.media = {"service": _one(self.services(req), service_id, "service")}

    def on_get_endpoints(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List endpoints."""
        admins_only(req, "list_endpoints")
        listing(req, resp, "endpoints", self.endpoints(req))

    def on_get_endpoint(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show an endpoint."""
        admins_only(req, "get_endpoint")
        resp.media = {"endpoint": _one(self.endpoints(req), endpoint_id, "endpoint")}

    def on_get_regions(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List regions."""
        listing(req, resp, "regions", self.regions(req))

    def on_get_region(self, req: falcon.Request, resp: falcon.Response, region_id: str) -> None:
        """Show a region."""
        resp.media = {"region": _one(self.regions(req), region_id, "region")}

    def on_get_catalog(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The catalog of the caller's token."""
        catalog = self.store.catalog(req.prefix, caller_of(req).project_id)
        resp.media = {"catalog": catalog, "links": {"self": req.uri}}


def _one(bodies: list[dict[str, Any]], wanted: str, kind: str) -> dict[str, Any]:
    for one in bodies:
        if one["id"] == wanted:
            return one
    raise NotFound(f"Could not find {kind}: {wanted}.")


class ApplicationCredentials(View):
    """``/v3/users/{}/application_credentials``."""

    def render(self, credential: ApplicationCredential) -> dict[str, Any]:
        """A credential's body, without the secret."""
        return {
            "id": credential.id,
            "name": credential.name,
            "description": credential.description,
            "project_id": credential.project_id,
            "roles": [{"id": self.store.role_named(name).id, "name": name} for name in credential.roles],
            "expires_at": None,
            "unrestricted": False,
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """List a user's credentials."""
        self._own(req, user_id)
        mine = [self.render(one) for one in self.store.credentials if one.user_id == user_id]
        listing(req, resp, "application_credentials", mine)

    def on_post(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Make a credential; this answer alone shows the secret."""
        user = self.store.users.get(caller_of(req), user_id)
        values = body(req, "application_credential")
        required(values, "name")
        made = self.store.application_credential(user, caller_of(req), values)
        resp.status, resp.media = 201, {"application_credential": self.render(made) | {"secret": made.secret}}

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, user_id: str, credential_id: str) -> None:
        """Show a credential."""
        self._own(req, user_id)
        found = self.store.credentials.get(caller_of(req), credential_id)
        resp.media = {"application_credential": self.render(found)}

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, user_id: str, credential_id: str) -> None:
        """Delete a credential."""
        self._own(req, user_id)
        self.store.credentials.get(caller_of(req), credential_id)
        self.store.credentials.remove(credential_id)
        resp.status = 204

    @staticmethod
    def _own(req: falcon.Request, user_id: str) -> None:
        if user_id != caller_of(req).user_id:
            admins_only(req, "list_application_credentials")


class Groups(View):
    """``/v3/groups``: there are none."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List nothing."""
        listing(req, resp, "groups", [])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse."""
        raise BadRequest("The simulator has no groups of users.")


def add_routes(app: App, cloud: Cloud) -> None:
    """Serve Keystone's calls."""
    store, root = cloud.identity, "/identity/v3"
    app.add_route(f"{root}/auth/tokens", tokens.Tokens(store))
    for path, view, key in (
        ("projects", Projects(store), "project_id"),
        ("users", Users(store), "user_id"),
        ("roles", Roles(store), "role_id"),
        ("domains", Domains(store), "domain_id"),
    ):
        app.add_route(f"{root}/{path}", view)
        app.add_route(f"{root}/{path}/{{{key}}}", view, suffix="one")
    app.add_route(f"{root}/users/{{user_id}}/password", Users(store), suffix="password")
    app.add_route(f"{root}/users/{{user_id}}/projects", Projects(store), suffix="own")
    app.add_route(f"{root}/auth/projects", Projects(store), suffix="own")
    grants = Grants(store)
    for kind, key in (("projects", "project_id"), ("domains", "domain_id")):
        app.add_route(f"{root}/{kind}/{{{key}}}/users/{{user_id}}/roles", grants)
        app.add_route(f"{root}/{kind}/{{{key}}}/users/{{user_id}}/roles/{{role_id}}", grants, suffix="one")
    app.add_route(f"{root}/role_assignments", RoleAssignments(store))
    app.add_route(f"{root}/groups", Groups(store))
    credentials = ApplicationCredentials(store)
    app.add_route(f"{root}/users/{{user_id}}/application_credentials", credentials)
    app.add_route(f"{root}/users/{{user_id}}/application_credentials/{{credential_id}}", credentials, suffix="one")
    parts = CatalogParts(store)
    app.add_route(f"{root}/auth/catalog", parts, suffix="catalog")
    for plural, singular in (("services", "service"), ("endpoints", "endpoint"), ("regions", "region")):
        app.add_route(f"{root}/{plural}", parts, suffix=plural)
        app.add_route(f"{root}/{plural}/{{{singular}_id}}", parts, suffix=singular)
