"""Query strings of list calls: filters, ``limit`` and ``marker``, and the link to the next page."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import falcon

from openstack_simulator.errors import BadRequest

T = TypeVar("T")

MAXIMUM_PAGE = 1000
"""As in Nova and Cinder: no page is longer, whatever the client asks for."""


class Query:
    """The query string of a request, with every value of a repeated key."""

    def __init__(self, query_string: str) -> None:
        self.pairs = parse_qsl(query_string, keep_blank_values=True)

    @classmethod
    def of(cls, req: falcon.Request) -> "Query":
        """The query of a request."""
        return cls(req.query_string)

    def get(self, key: str) -> str | None:
        """The last value of a key, ``None`` when it is absent."""
        values = self.all(key)
        return values[-1] if values else None

    def all(self, key: str) -> list[str]:
        """All values of a key."""
        return [value for name, value in self.pairs if name == key]

    def flag(self, key: str) -> bool | None:
        """A yes or no in any of the spellings that clients use; ``None`` when the key is absent or unreadable."""
        return as_bool(self.get(key))

    def number(self, key: str) -> int | None:
        """A whole number, 0 or more.

        Raises:
            BadRequest: The value is something else.
        """
        text = self.get(key)
        if text is None or text == "":
            return None
        if not text.isdigit():
            raise BadRequest(f"Invalid input for query parameters {key}. Value: {text}. {key} must be an integer.")
        return int(text)

    def with_marker(self, marker: str) -> str:
        """The query string of the next page."""
        return urlencode([(key, value) for key, value in self.pairs if key != "marker"] + [("marker", marker)])


def as_bool(text: str | None) -> bool | None:
    """Read a yes or no; ``None`` for what is neither."""
    if text is None:
        return None
    if text.lower() in ("1", "t", "true", "on", "y", "yes"):
        return True
    return False if text.lower() in ("0", "f", "false", "off", "n", "no") else None


def page(
    items: Sequence[T],
    query: Query,
    *,
    key: Callable[[T], str],
    maximum: int | None = MAXIMUM_PAGE,
    missing_marker: str = "marker [{marker}] not found",
) -> tuple[Sequence[T], str | None]:
    """Cut one page out of a list; returns it and the marker of the next one, ``None`` on the last.

    Raises:
        BadRequest: The marker is not in the list, or the limit is no number.
    """
    limit, marker = query.number("limit"), query.get("marker")
    if marker:
        for index, item in enumerate(items):
            if key(item) == marker:
                items = items[index + 1 :]
                break
        else:
            raise BadRequest(missing_marker.format(marker=marker))
    if limit is None or (maximum is not None and limit > maximum):
        limit = maximum
    if limit is None or len(items) <= limit or limit == 0:
        # Nova and Cinder put the link on a full last page too; that costs one more request and is left out here.
        return items, None
    shown = items[:limit]
    return shown, key(shown[-1])


def next_link(req: falcon.Request, kind: str, marker: str | None) -> dict[str, Any]:
    """The part of a list's body that leads to the next page; empty on the last page."""
    if not marker:
        return {}
    link = f"{req.prefix}{req.path}?{Query.of(req).with_marker(marker)}"
    return {f"{kind}_links": [{"rel": "next", "href": link}]}


def sort(
    items: Iterable[T], query: Query, value_of: Callable[[T, str], Any], default: str = "created_at:desc"
) -> list[T]:
    """Order a list by ``sort=name:asc,...`` or by ``sort_key`` with ``sort_dir``; the last created comes first."""
    keys = [
        (key, direction or "desc")
        for text in (query.get("sort") or "").split(",")
        if text
        for key, _, direction in [text.partition(":")]
    ]
    directions = query.all("sort_dir")
    for index, key in enumerate(query.all("sort_key")):
        keys.append((key, directions[index] if index < len(directions) else "desc"))
    if not keys:
        key, _, direction = default.partition(":")
        keys = [(key, direction)]
    ordered = list(items)
    if keys[0][1] == "desc":
        # Newest first among equals too, as a database's descending index gives them.
        ordered.reverse()
    for key, direction in reversed(keys):
        ranks = {id(item): _rank(value_of(item, key)) for item in ordered}
        ordered.sort(key=lambda item, ranks=ranks: ranks[id(item)], reverse=direction == "desc")  # type: ignore[misc]
    return ordered


def _rank(value: Any) -> tuple[int, Any]:
    """Something to sort by that never fails: nothing first, then numbers, then text."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))
