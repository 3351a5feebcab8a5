"""What all services of the backend share: the tenant they act in, and how pulled objects become rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.db import models, transaction
from openstack.connection import Connection

from django_executors.context import current_step
from django_executors.exceptions import BackendRejected
from django_executors.states import ResourceState

from ..models import Tenant
from .session import connection

__all__ = ["GONE", "ServiceBackend", "store"]

GONE = "not found"
"""Runtime state of a row whose object the cloud no longer lists."""

M = TypeVar("M", bound=models.Model)


class ServiceBackend:
    """One service of a cloud, seen from one tenant. All methods may run twice and from several threads at once."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant

    @property
    def cloud(self) -> Connection:
        """The SDK's connection, in the tenant's project."""
        tenant = self.tenant
        if tenant.cloud_name:
            return connection(tenant.cloud_name, tenant.cloud.region)
        return connection(tenant.cloud.cloud_name, tenant.cloud.region, tenant.backend_id)

    @property
    def project_id(self) -> str:
        """Id of the project that the requests act in."""
        return self.tenant.backend_id or str(self.cloud.current_project_id or "")

    @staticmethod
    def require_id(row: Any) -> str:
        """Return the row's id in the cloud.

        Raises:
            BackendRejected: The row has none, so it was never made.
        """
        if not row.backend_id:
            raise BackendRejected(f"{row._meta.verbose_name} {row} was never made in the cloud")
        return str(row.backend_id)

    def pull_catalog(self, model: type[M], found: Iterable[Mapping[str, Any]]) -> list[M]:
        """Make the tenant's rows of what the cloud offers equal to what it offers now.

        Args:
            model: A catalog model.
            found: For each offer the fields of its row, ``backend_id`` among them.
        """
        rows = self._pull_rows(model, found, {})
        gone = model._default_manager.filter(tenant=self.tenant).exclude(pk__in=[row.pk for row in rows])
        gone.delete()
        return rows

    def pull_resources(self, model: type[M], found: Iterable[Mapping[str, Any]]) -> list[M]:
        """Bring the tenant's rows up to date with the cloud's list, and make rows for what has none.

        Rows without an object keep everything but their runtime state, which says so. Rows that an operation is
        changing are left alone: its own pulls know better than a list that may be older.
        """
        rows = self._pull_rows(model, found, {"state": ResourceState.OK})
        if any(field.name == "runtime_state" for field in model._meta.concrete_fields):
            settled = model._default_manager.filter(
                tenant=self.tenant, state__in=(ResourceState.OK, ResourceState.ERRED)
            )
            settled.exclude(backend_id="").exclude(pk__in=[row.pk for row in rows]).update(runtime_state=GONE)
        return rows

    def _pull_rows(self, model: type[M], found: Iterable[Mapping[str, Any]], new: Mapping[str, Any]) -> list[M]:
        offers = {str(fields["backend_id"]): fields for fields in found}
        rows: list[M] = []
        with transaction.atomic():
            # The lock on the tenant keeps two pulls from making two rows of one object.
            Tenant.objects.select_for_update().get(pk=self.tenant.pk)
            known = {
                row.backend_id: row  # type: ignore[attr-defined]
                for row in model._default_manager.filter(tenant=self.tenant).exclude(backend_id="").order_by("-pk")
            }
            for backend_id, fields in offers.items():
                row = known.get(backend_id)
                if row is None:
                    rows.append(model._default_manager.create(tenant=self.tenant, **new, **fields))
                    continue
                if getattr(row, "state", ResourceState.OK) in (ResourceState.OK, ResourceState.ERRED):
                    store(row, **fields)
                rows.append(row)
        return rows


def store(row: models.Model, **fields: Any) -> None:
    """Write fields of a row, those that differ from what it has; the others stay as they are in the database.

    Raises:
        LeaseLost: Another worker may have taken over, and knows better; nothing was written.
    """
    current_step().ensure_lease()
    changed = [name for name, value in fields.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, fields[name])
    if changed:
        automatic = [f.name for f in row._meta.concrete_fields if getattr(f, "auto_now", False)]
        row.save(update_fields=[*changed, *automatic])
