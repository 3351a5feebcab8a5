"""How Cinder's lists are filtered, sorted and linked."""

import ast
from collections.abc import Callable
from typing import Any

import falcon

from openstack_simulator.block_storage.volumes import Snapshot, Volume, strings
from openstack_simulator.paging import Query, sort
from openstack_simulator.records import Collection
from openstack_simulator.web import caller_of, service_url

Body = dict[str, Any]


def links(req: falcon.Request, kind: str, record_id: str) -> list[dict[str, str]]:
    """The ``links`` of a body."""
    base, project_id = service_url(req, "block_storage"), caller_of(req).project_id
    return [
        {"rel": "self", "href": f"{base}/v3/{project_id}/{kind}/{record_id}"},
        {"rel": "bookmark", "href": f"{base}/{project_id}/{kind}/{record_id}"},
    ]


def metadata_fit(record: Volume | Snapshot, wanted: str) -> bool:
    """Whether metadata have all the pairs of a filter, written as a dictionary: ``{'key': 'value'}``.

    What is not written so fits nothing. Cinder does it like that, and it is a trap: openstacksdk turns
    ``metadata={"key": "value"}`` into ``metadata=key``; callers pass ``properties=str({"key": "value"})``.
    """
    try:
        pairs = ast.literal_eval(wanted)
    except (ValueError, SyntaxError):
        return False
    return isinstance(pairs, dict) and strings(pairs).items() <= record.metadata.items()


def listed(
    req: falcon.Request,
    records: Collection[Any],
    query: Query,
    fits: Callable[[Any, str, str], bool],
) -> list[Any]:
    """The objects that a list call shows, in its order."""
    caller = caller_of(req)
    everyone = caller.is_admin and query.flag("all_tenants")
    project_id = query.get("project_id") if everyone else caller.project_id

    def keep(record: Any) -> bool:
        if project_id is not None and record.project_id != project_id:
            return False
        for key, wanted in query.pairs:
            if key in ("name", "id") and getattr(record, key) != wanted:
                return False
            if key in ("name~", "display_name~") and wanted.lower() not in record.name.lower():
                return False
            if key == "metadata" and not metadata_fit(record, wanted):
                return False
            if not fits(record, key, wanted):
                return False
        return True

    return sort(records.visible(keep), query, lambda one, key: getattr(one, key, None), "created_at:desc")
