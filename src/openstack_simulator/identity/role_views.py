"""Keystone's calls on roles and who has them."""

from typing import Any

import falcon

from openstack_simulator.errors import NotFound
from openstack_simulator.identity.base import View, admins_only, itself, listing
from openstack_simulator.identity.store import (
    Assignment,
    Domain,
    Project,
    Role,
    hex_id,
)
from openstack_simulator.paging import Query
from openstack_simulator.web import body, caller_of, required


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
