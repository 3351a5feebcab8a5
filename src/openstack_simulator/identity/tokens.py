"""Logging in: the ways to prove who one is, and what a token looks like."""

from typing import Any

import falcon

from openstack_simulator.clock import in_microseconds
from openstack_simulator.errors import BadRequest, NotFound, Unauthorized
from openstack_simulator.identity.store import Domain, Identity, Project, Token, User
from openstack_simulator.web import document


def zulu(moment: float) -> str:
    """A time as Keystone writes it: ``2026-01-31T12:00:00.000000Z``."""
    return in_microseconds(moment) + "Z"


class Tokens:
    """``/v3/auth/tokens``."""

    public = True

    def __init__(self, store: Identity) -> None:
        self.store = store

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Log in."""
        asked = document(req).get("auth")
        if not isinstance(asked, dict) or not isinstance(asked.get("identity"), dict):
            raise BadRequest("Expecting to find auth in request body.")
        token = _log_in(self.store, asked)
        resp.status = 201
        resp.set_header("X-Subject-Token", token.id)
        resp.set_header("Vary", "X-Auth-Token")
        with_catalog = "nocatalog" not in req.params
        resp.media = {"token": describe(self.store, token, f"{req.prefix}", with_catalog=with_catalog)}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show a token; HEAD asks the same."""
        token = self._subject(req)
        resp.set_header("X-Subject-Token", token.id)
        resp.media = {"token": describe(self.store, token, req.prefix, with_catalog="nocatalog" not in req.params)}

    on_head = on_get

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End a token."""
        del self.store.tokens[self._subject(req).id]
        resp.status = 204

    def _subject(self, req: falcon.Request) -> Token:
        self.store.authenticate(req.get_header("X-Auth-Token"))
        token = self.store.find_token(req.get_header("X-Subject-Token"))
        if token is None:
            raise NotFound("Could not recognize Fernet token")
        return token


def describe(store: Identity, token: Token, base: str, *, with_catalog: bool = True) -> dict[str, Any]:
    """A token's body."""
    user_domain = store.domains[token.user.domain_id]
    shown: dict[str, Any] = {
        "methods": token.methods,
        "user": {
            "domain": {"id": user_domain.id, "name": user_domain.name},
            "id": token.user.id,
            "name": token.user.name,
            "password_expires_at": None,
        },
        "audit_ids": [token.audit_id],
        "expires_at": zulu(token.expires_at),
        "issued_at": zulu(token.issued_at),
    }
    if token.domain is not None:
        shown["domain"] = {"id": token.domain.id, "name": token.domain.name}
    if token.project is not None:
        domain = store.domains[token.project.domain_id]
        shown["project"] = {
            "domain": {"id": domain.id, "name": domain.name},
            "id": token.project.id,
            "name": token.project.name,
        }
        shown["is_domain"] = False
    if token.project is not None or token.domain is not None:
        shown["roles"] = [{"id": role.id, "name": role.name} for role in token.roles]
        if with_catalog:
            shown["catalog"] = store.catalog(base, token.project.id if token.project else "")
    return shown


def _log_in(store: Identity, asked: dict[str, Any]) -> Token:
    identity = asked["identity"]
    methods = [str(method) for method in identity.get("methods") or []]
    expires_at: float | None = None
    if methods == ["application_credential"]:
        return _with_application_credential(store, identity.get("application_credential") or {})
    if methods == ["password"]:
        user = _with_password(store, (identity.get("password") or {}).get("user") or {})
    elif methods == ["token"]:
        old = store.find_token((identity.get("token") or {}).get("id"))
        if old is None:
            raise Unauthorized
        # A token got from a token ends with it, so that nobody lives for ever on one log-in.
        user, expires_at = old.user, old.expires_at
        methods = sorted({"token", *old.methods})
    else:
        raise Unauthorized(f"Unable to authenticate with the methods {methods}")
    project, domain = _scope(store, asked.get("scope"), user)
    return store.issue(user, methods, project, domain, expires_at=expires_at)


def _with_password(store: Identity, asked: dict[str, Any]) -> User:
    user = store.users.find(asked.get("id")) if asked.get("id") else None
    if user is None and asked.get("name"):
        domain = _domain(store, asked.get("domain") or {})
        named = store.users.named(str(asked["name"]))
        user = next((one for one in named if domain is not None and one.domain_id == domain.id), None)
    if user is None or user.password != asked.get("password"):
        raise Unauthorized
    return user


def _with_application_credential(store: Identity, asked: dict[str, Any]) -> Token:
    credential = store.credentials.find(asked.get("id"))
    if credential is None and asked.get("name"):
        who = asked.get("user") or {}
        credential = next(
            (
                one
                for one in store.credentials.named(str(asked["name"]))
                if one.user_id == who.get("id") or store.users[one.user_id].name == who.get("name")
            ),
            None,
        )
    if credential is None or credential.secret != asked.get("secret"):
        raise Unauthorized
    user, project = store.users.find(credential.user_id), store.projects.find(credential.project_id)
    if user is None or project is None:
        raise Unauthorized
    return store.issue(user, ["application_credential"], project, only_roles=credential.roles)


def _scope(store: Identity, asked: Any, user: User) -> tuple[Project | None, Domain | None]:
    if asked == "unscoped":
        return None, None
    if not isinstance(asked, dict):
        # No scope at all means the user's own project, if there is one.
        return store.projects.find(user.default_project_id), None
    if isinstance(asked.get("domain"), dict):
        domain = _domain(store, asked["domain"])
        if domain is None:
            raise Unauthorized
        return None, domain
    wanted = asked.get("project")
    if not isinstance(wanted, dict):
        return None, None
    project = store.projects.find(wanted.get("id")) if wanted.get("id") else None
    if project is None and wanted.get("name"):
        its_domain = _domain(store, wanted.get("domain") or {})
        named = store.projects.named(str(wanted["name"]))
        project = next((one for one in named if its_domain is not None and one.domain_id == its_domain.id), None)
    if project is None:
        raise Unauthorized
    return project, None


def _domain(store: Identity, asked: dict[str, Any]) -> Domain | None:
    if asked.get("id"):
        return store.domains.find(str(asked["id"]))
    return next(iter(store.domains.named(str(asked.get("name") or "Default"))), None)
