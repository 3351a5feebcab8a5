"""What a project may have, one table per service; -1 means without limit."""

from collections.abc import Mapping


class Quotas:
    """Limits by project, over defaults that hold for every project without its own."""

    def __init__(self, defaults: Mapping[str, int]) -> None:
        self.defaults = dict(defaults)
        self._own: dict[str, dict[str, int]] = {}

    def of(self, project_id: str) -> dict[str, int]:
        """All limits of a project."""
        return self.defaults | self._own.get(project_id, {})

    def set(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Change some limits of a project; names that the service does not have are ignored, as the services do."""
        own = self._own.setdefault(project_id, {})
        own.update({name: int(limit) for name, limit in limits.items() if name in self.defaults})

    def reset(self, project_id: str) -> None:
        """Go back to the defaults for a project."""
        self._own.pop(project_id, None)

    def lift(self) -> None:
        """Make every default unlimited."""
        self.defaults = dict.fromkeys(self.defaults, -1)

    def allows(self, project_id: str, name: str, used: int, wanted: int = 1) -> bool:
        """Whether ``wanted`` more still fit."""
        limit = self.of(project_id)[name]
        return limit < 0 or used + wanted <= limit
