"""Keystone's calls on projects, users and domains, and the routes of the whole service."""

from typing import Any

import falcon

from openstack_simulator.cloud import Cloud
from openstack_simulator.errors import BadRequest, Forbidden
from openstack_simulator.identity import tokens
from openstack_simulator.identity.base import View, admins_only, itself, listing
from openstack_simulator.identity.catalog_views import CatalogParts
from openstack_simulator.identity.role_views import Grants, RoleAssignments, Roles
from openstack_simulator.identity.store import (
    ApplicationCredential,
    Domain,
    Project,
    User,
    hex_id,
)
from openstack_simulator.web import App, body, caller_of, required


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
