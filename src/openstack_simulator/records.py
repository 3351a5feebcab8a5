"""What every stored object has, and collections of them that know who may see what."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from openstack_simulator.errors import ApiError, NotFound
from openstack_simulator.lifecycle import Lifecycle


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the user and project of the token."""

    user_id: str
    user_name: str
    project_id: str
    project_name: str = ""
    roles: tuple[str, ...] = ()
    token: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the token carries the role ``admin``."""
        return "admin" in self.roles

    def may_see(self, project_id: str) -> bool:
        """Whether an object of that project exists as far as this caller is told."""
        return self.is_admin or project_id in ("", self.project_id)


def new_id() -> str:
    """A new object's id, a UUID in its long form."""
    return str(uuid.uuid4())


@dataclass(kw_only=True)
class Record:
    """An object of the cloud. Times are seconds since the epoch on the cloud's clock."""

    id: str
    name: str = ""
    project_id: str = ""
    created_at: float = 0.0
    updated_at: float | None = None
    hidden_until: float = 0.0
    """Clients are told "not found" before this time; only a fault sets it."""


R = TypeVar("R", bound=Record)


class Collection(Generic[R]):
    """The objects of one kind by id, in the order of creation."""

    def __init__(self, lifecycle: Lifecycle, not_found: str, kind: str = "NotFound") -> None:
        """Make an empty collection.

        Args:
            not_found: The service's message for an unknown id, with ``{id}`` in it.
            kind: Neutron's exception type that goes with it.
        """
        self._lifecycle = lifecycle
        self._records: dict[str, R] = {}
        self._not_found = not_found
        self._kind = kind

    def __getitem__(self, record_id: str) -> R:
        return self._records[record_id]

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._records

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def find(self, record_id: str | None) -> R | None:
        """The record with this id, or ``None``; looks at nobody's rights."""
        return self._records.get(record_id or "")

    def named(self, name: str) -> list[R]:
        """All records with this name."""
        return [record for record in self if record.name == name]

    def add(self, record: R) -> R:
        """Store a new record, hidden for a while if a fault wants it so."""
        now = self._lifecycle.now()
        record.created_at = record.created_at or now
        if self._lifecycle.effects.stale:
            record.hidden_until = now + self._lifecycle.effects.stale
        self._records[record.id] = record
        return record

    def remove(self, record_id: str) -> None:
        """Forget a record and the changes under way of it."""
        self._lifecycle.drop(record_id)
        self._records.pop(record_id, None)

    def missing(self, record_id: str) -> ApiError:
        """The error for an unknown id."""
        return NotFound(self._not_found.format(id=record_id), kind=self._kind)

    def get(self, caller: Caller, record_id: str, may_see: Callable[[R], bool] | None = None) -> R:
        """The record with this id, if the caller may see it.

        Args:
            may_see: Decides instead of the project, for shared or public objects.

        Raises:
            NotFound: There is none, or it belongs to another project.
        """
        record = self._records.get(record_id)
        if record is None or not self._shown(record):
            raise self.missing(record_id)
        if not (may_see(record) if may_see else caller.may_see(record.project_id)):
            raise self.missing(record_id)
        return record

    def visible(self, keep: Callable[[R], bool]) -> Iterable[R]:
        """The records that are shown to clients and pass the test, oldest first."""
        return [record for record in self if self._shown(record) and keep(record)]

    def of_project(self, project_id: str) -> list[R]:
        """All records of a project, hidden ones too: a quota counts them."""
        return [record for record in self if record.project_id == project_id]

    def _shown(self, record: R) -> bool:
        return not record.hidden_until or record.hidden_until <= self._lifecycle.clock.now()
