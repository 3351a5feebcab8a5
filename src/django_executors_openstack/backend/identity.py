"""The project, in Keystone's words."""

from __future__ import annotations

from typing import Any

from ..models import Tenant
from .base import ServiceBackend, store
from .errors import translated

__all__ = ["Identity"]

SERVICE = "identity"


class Identity(ServiceBackend):
    """Keystone."""

    @translated(SERVICE)
    def pull_tenant(self, tenant: Tenant) -> None:
        """Read the project's id, name, description and whether it is enabled.

        A tenant without ``backend_id`` takes the project of its credentials.
        """
        project_id = tenant.backend_id or str(self.cloud.current_project_id or "")
        keystone: Any = self.cloud.identity  # the SDK's type still allows for the API before projects
        found = keystone.get_project(project_id)
        store(
            tenant,
            backend_id=found.id,
            name=found.name or tenant.name,
            description=found.description or "",
            runtime_state="enabled" if found.is_enabled else "disabled",
        )
        self.tenant = tenant
