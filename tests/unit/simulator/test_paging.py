import pytest

from openstack_simulator.errors import BadRequest
from openstack_simulator.paging import Query, page, sort

LETTERS = list("abcdefg")


def pages(limit: int) -> list[list[str]]:
    seen, marker = [], None
    while True:
        query = Query(f"limit={limit}" + (f"&marker={marker}" if marker else ""))
        shown, marker = page(LETTERS, query, key=str)
        seen.append(list(shown))
        if marker is None:
            return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_pages_together_are_the_whole_list_in_order_and_none_is_too_long(limit):
    seen = pages(limit)
    assert [one for part in seen for one in part] == LETTERS
    assert all(len(part) <= limit for part in seen)


def test_an_unknown_marker_and_an_odd_limit_are_refused():
    with pytest.raises(BadRequest, match="marker"):
        page(LETTERS, Query("marker=zzz"), key=str)
    with pytest.raises(BadRequest, match="integer"):
        page(LETTERS, Query("limit=many"), key=str)


def test_the_newest_comes_first_also_among_those_of_the_same_moment():
    made = [("old", 1), ("new", 2), ("newer", 2)]
    assert [name for name, _ in sort(made, Query(""), lambda one, _key: one[1])] == ["newer", "new", "old"]


def test_a_list_can_be_sorted_by_several_keys_and_copes_with_missing_values():
    rows = [{"a": 1, "b": "y"}, {"a": 1, "b": "x"}, {"a": None, "b": "z"}]
    ordered = sort(rows, Query("sort=a:asc,b:asc"), lambda one, key: one[key])
    assert [row["b"] for row in ordered] == ["z", "x", "y"]
    ordered = sort(rows, Query("sort_key=b&sort_dir=desc"), lambda one, key: one[key])
    assert [row["b"] for row in ordered] == ["z", "y", "x"]


def test_a_long_list_of_servers_is_read_page_by_page_through_its_links(quick, admin):
    quick.lift_quotas()
    quick.cloud.compute.quotas.lift()
    names = [f"n-{number}" for number in range(5)]
    for name in names:
        admin.make_server(name, networks="none")
    path, seen = "/servers/detail?limit=2&sort_key=display_name&sort_dir=asc", []
    while path:
        body = admin.compute("GET", path).json
        seen += [one["name"] for one in body["servers"]]
        links = [one["href"] for one in body.get("servers_links", []) if one["rel"] == "next"]
        path = links[0].partition("/compute/v2.1")[2] if links else ""
    assert seen == names
