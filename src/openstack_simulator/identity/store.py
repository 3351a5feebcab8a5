"""Keystone's state: domains, projects, users, roles, who has which, tokens and the catalog."""

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from openstack_simulator.errors import BadRequest, Conflict, Forbidden, Unauthorized
from openstack_simulator.lifecycle import Lifecycle
from openstack_simulator.records import Caller, Collection, Record
from openstack_simulator.versions import ROOTS

REGION = "RegionOne"
INTERFACES = ("public", "internal", "admin")

CATALOG = (
    ("keystone", "identity", ROOTS["identity"]),
    ("glance", "image", ROOTS["image"]),
    ("nova", "compute", ROOTS["compute"] + "/v2.1"),
    ("neutron", "network", ROOTS["network"]),
    ("cinderv3", "volumev3", ROOTS["block_storage"] + "/v3/{project_id}"),
    ("cinder", "block-storage", ROOTS["block_storage"] + "/v3/{project_id}"),
    ("placement", "placement", ROOTS["placement"]),
)
"""Name, type and path of every service."""


def hex_id() -> str:
    """A new id as Keystone writes them, a UUID without dashes."""
    return uuid.uuid4().hex


@dataclass(kw_only=True)
class Domain(Record):
    """A domain; there is one, ``default``, unless a client makes more."""

    description: str = ""
    enabled: bool = True


@dataclass(kw_only=True)
class Project(Record):
    """A project; ``project_id`` of the record is not used."""

    domain_id: str = "default"
    description: str = ""
    enabled: bool = True
    tags: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class User(Record):
    """A user with a password in clear: no secret is safe in a simulator."""

    domain_id: str = "default"
    password: str = ""
    email: str | None = None
    description: str = ""
    enabled: bool = True
    default_project_id: str | None = None


@dataclass(kw_only=True)
class Role(Record):
    """A role; only ``admin`` gives rights, any other role lets its holder use the project."""

    description: str | None = None


@dataclass(kw_only=True)
class ApplicationCredential(Record):
    """A secret that stands for a user in one project."""

    user_id: str
    secret: str
    roles: tuple[str, ...]
    description: str = ""
    expires_at: float | None = None


@dataclass(frozen=True)
class Assignment:
    """One user's role on a project or a domain."""

    user_id: str
    target_id: str
    role_id: str
    on_domain: bool = False


@dataclass
class Token:
    """A token and what it is good for."""

    id: str
    user: User
    project: Project | None
    domain: Domain | None
    roles: list[Role]
    methods: list[str]
    issued_at: float
    expires_at: float
    audit_id: str


class Identity:
    """The identity service's state."""

    token_seconds = 3600.0
    """How long a token lives, on the cloud's clock."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.domains: Collection[Domain] = Collection(lifecycle, "Could not find domain: {id}.")
        self.projects: Collection[Project] = Collection(lifecycle, "Could not find project: {id}.")
        self.users: Collection[User] = Collection(lifecycle, "Could not find user: {id}.")
        self.roles: Collection[Role] = Collection(lifecycle, "Could not find role: {id}.")
        self.credentials: Collection[ApplicationCredential] = Collection(
            lifecycle, "Could not find Application Credential: {id}."
        )
        self.assignments: dict[Assignment, None] = {}
        self.tokens: dict[str, Token] = {}

    def project_named(self, name: str) -> Project:
        """The project with this name.

        Raises:
            LookupError: There is none.
        """
        for project in self.projects.named(name):
            return project
        raise LookupError(f"no project {name}")

    def role_named(self, name: str) -> Role:
        """The role with this name, made if there is none."""
        for role in self.roles.named(name):
            return role
        return self.roles.add(Role(id=hex_id(), name=name))

    def grant(self, user: User, target: Project | Domain, *role_names: str) -> None:
        """Give a user roles on a project or a domain."""
        for name in role_names:
            role = self.role_named(name)
            self.assignments[Assignment(user.id, target.id, role.id, isinstance(target, Domain))] = None

    def roles_of(self, user_id: str, target_id: str) -> list[Role]:
        """The roles a user has on a project or a domain."""
        return [
            self.roles[one.role_id]
            for one in self.assignments
            if one.user_id == user_id and one.target_id == target_id and one.role_id in self.roles
        ]

    def projects_of(self, user_id: str) -> list[Project]:
        """The projects that a user has a role on."""
        ids = {one.target_id for one in self.assignments if one.user_id == user_id}
        return [project for project in self.projects if project.id in ids]

    def unique_name(self, records: Iterable[Record], kind: str, name: str, domain_id: str) -> None:
        """Check that a name is free in its domain.

        Raises:
            Conflict: It is taken.
        """
        if any(one.name == name and getattr(one, "domain_id", domain_id) == domain_id for one in records):
            raise Conflict(
                f"Conflict occurred attempting to store {kind} - "
                f"Duplicate entry found with name {name} at domain ID {domain_id}."
            )

    def forget_project(self, project_id: str) -> None:
        """Delete a project and the roles on it; its servers and volumes stay, as in a real cloud."""
        self.projects.remove(project_id)
        self._forget_assignments(lambda one: one.target_id == project_id)
        for token in [one for one in self.tokens.values() if one.project and one.project.id == project_id]:
            del self.tokens[token.id]

    def forget_user(self, user_id: str) -> None:
        """Delete a user, the user's roles and tokens."""
        self.users.remove(user_id)
        self._forget_assignments(lambda one: one.user_id == user_id)
        self.revoke_tokens(user_id)

    def forget_role(self, role_id: str) -> None:
        """Delete a role and take it from all who have it."""
        self.roles.remove(role_id)
        self._forget_assignments(lambda one: one.role_id == role_id)

    def _forget_assignments(self, chosen: Callable[[Assignment], bool]) -> None:
        for assignment in [one for one in self.assignments if chosen(one)]:
            del self.assignments[assignment]

    def revoke_tokens(self, user_id: str) -> None:
        """End all tokens of a user, as a change of the password does."""
        for token in [one for one in self.tokens.values() if one.user.id == user_id]:
            del self.tokens[token.id]

    def authenticate(self, token_id: str | None) -> Caller:
        """Who a token stands for.

        Raises:
            Unauthorized: No token was sent, or it is unknown or has expired.
        """
        token = self.find_token(token_id)
        if token is None:
            raise Unauthorized
        return Caller(
            user_id=token.user.id,
            user_name=token.user.name,
            project_id=token.project.id if token.project else "",
            project_name=token.project.name if token.project else "",
            roles=tuple(role.name for role in token.roles),
            token=token.id,
        )

    def find_token(self, token_id: str | None) -> Token | None:
        """A token that is still good, or ``None``."""
        token = self.tokens.get(token_id or "")
        if token is not None and token.expires_at <= self.lifecycle.clock.now():
            del self.tokens[token.id]
            return None
        return token

    def issue(
        self,
        user: User,
        methods: list[str],
        project: Project | None = None,
        domain: Domain | None = None,
        *,
        expires_at: float | None = None,
        only_roles: tuple[str, ...] | None = None,
    ) -> Token:
        """Make a token for a user.

        Raises:
            Unauthorized: The user is disabled or has no role where the token is to be good for.
        """
        if not user.enabled:
            raise Unauthorized
        target = project or domain
        roles = self.roles_of(user.id, target.id) if target else []
        if only_roles is not None:
            roles = [role for role in roles if role.name in only_roles]
        if target is not None and (not roles or not target.enabled):
            raise Unauthorized
        now = self.lifecycle.clock.now()
        token = Token(
            id="gAAAAAB" + secrets.token_urlsafe(60),
            user=user,
            project=project,
            domain=domain,
            roles=roles,
            methods=methods,
            issued_at=now,
            expires_at=expires_at or now + self.token_seconds,
            audit_id=secrets.token_urlsafe(16),
        )
        self.tokens[token.id] = token
        return token

    def catalog(self, base: str, project_id: str) -> list[dict[str, object]]:
        """The service catalog of a token, with addresses under ``base``."""
        return [
            {
                "id": service_id(name),
                "name": name,
                "type": kind,
                "endpoints": [
                    {
                        "id": endpoint_id(name, interface),
                        "interface": interface,
                        "region": REGION,
                        "region_id": REGION,
                        "url": base + path.format(project_id=project_id),
                    }
                    for interface in INTERFACES
                ],
            }
            for name, kind, path in CATALOG
        ]

    def application_credential(self, user: User, caller: Caller, values: dict[str, object]) -> ApplicationCredential:
        """Make an application credential for the caller's project.

        Raises:
            Forbidden: It is for somebody else.
            BadRequest: The token is not for a project.
        """
        if user.id != caller.user_id:
            raise Forbidden("You are not authorized to perform the requested action.")
        if not caller.project_id:
            raise BadRequest("Project-scoped token required.")
        asked = values.get("roles")
        names = (
            tuple(str(one.get("name", "")) for one in asked if isinstance(one, dict)) if isinstance(asked, list) else ()
        )
        return self.credentials.add(
            ApplicationCredential(
                id=hex_id(),
                name=str(values.get("name") or ""),
                project_id=caller.project_id,
                user_id=user.id,
                secret=str(values.get("secret") or secrets.token_urlsafe(32)),
                roles=tuple(name for name in names if name in caller.roles) or caller.roles,
                description=str(values.get("description") or ""),
            )
        )


def service_id(name: str) -> str:
    """The fixed id of a service in the catalog."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, name).hex


def endpoint_id(name: str, interface: str) -> str:
    """The fixed id of an endpoint in the catalog."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{interface}").hex
