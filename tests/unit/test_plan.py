"""A canvas becomes a plan, or is refused with a text that says what to do."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from celery import chain, chord, group, signature
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_executors.exceptions import PlanError
from django_executors.plan import check_json, flatten, nested_operations, tasks_of
from django_executors.states import ResourceState
from django_executors.tasks import EmptyTask
from tests.testapp.executors import CanvasExecutor
from tests.testapp.models import Box
from tests.testapp.tasks import collect, mark


def names(nodes: list[Any]) -> list[Any]:
    """A plan as its last arguments; branches as lists in a tuple."""
    return [
        node["args"][-1] if node["kind"] == "task" else tuple(names(branch) for branch in node["branches"])
        for node in nodes
    ]


A, B, C, D = (mark.si(letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [
        (None, []),
        (A, ["a"]),
        ([A, B], ["a", "b"]),
        ((A, None, B), ["a", "b"]),
        (chain(A, B), ["a", "b"]),
        (chain(), []),
        (A | B | C, ["a", "b", "c"]),
        (chain(A, chain(B, chain(C, D))), ["a", "b", "c", "d"]),
        (group(A, B), [(["a"], ["b"])]),
        (group(), [()]),
        (group(chain(A, B), C), [(["a", "b"], ["c"])]),
        (group([group(A, B), C]), [(["a"], ["b"], ["c"])]),
        (group([group(group(A, B), C), D]), [(["a"], ["b"], ["c"], ["d"])]),
        (group([chain(A, group(B, C)), D]), [(["a", (["b"], ["c"])], ["d"])]),
        (group([chord([A, B], C), D]), [([(["a"], ["b"]), "c"], ["d"])]),
        (chord([A, B], C), [(["a"], ["b"]), "c"]),
        (chain(group(A, B), C), [(["a"], ["b"]), "c"]),
        (chain(A, group(B, C), D), ["a", (["b"], ["c"]), "d"]),
        (chain(group(A, B), group(C, D)), [(["a"], ["b"]), (["c"], ["d"])]),
        (chord([A, chain(B, C)], chain(D, A)), [(["a"], ["b", "c"]), "d", "a"]),
        (chain(chord([A, B], C), D), [(["a"], ["b"]), "c", "d"]),
        (dict(A), ["a"]),
        (chord([], A), [(), "a"]),
        (signature(dict(chain(A, B))), ["a", "b"]),
    ],
)
def test_a_canvas_becomes_steps_in_its_own_order(canvas: Any, expected: list[Any]) -> None:
    assert names(flatten(canvas)) == expected


def test_an_empty_task_may_stand_in_a_plan_without_a_call() -> None:
    for canvas in (EmptyTask(), [EmptyTask()], EmptyTask().si()):
        assert [node["task"] for node in flatten(canvas)] == [EmptyTask.name]


def test_a_step_takes_the_previous_result_only_when_made_with_s() -> None:
    nodes = flatten(chain(mark.si("a"), collect.s("b"), collect.si("x", "c")))
    assert [node["takes_result"] for node in nodes] == [False, True, False]


def test_options_of_a_chain_reach_its_steps_and_a_steps_own_win() -> None:
    canvas = chain(mark.si("a"), mark.si("b").set(queue="heavy"), group(mark.si("c"), mark.si("d")))
    nodes = list(tasks_of(flatten(canvas.set(queue="slow", time_limit=9))))
    assert [(node["args"][0], node["options"]["queue"], node["options"]["time_limit"]) for node in nodes] == [
        ("a", "slow", 9),
        ("b", "heavy", 9),
        ("c", "slow", 9),
        ("d", "slow", 9),
    ]


def test_a_countdown_of_a_chain_delays_its_first_step_only() -> None:
    nodes = flatten(chain(mark.si("a"), mark.si("b")).set(countdown=7))
    assert [node["options"].get("countdown") for node in nodes] == [7, None]


def test_all_options_of_a_step_are_kept() -> None:
    options: dict[str, Any] = {
        "countdown": 1,
        "queue": "heavy",
        "priority": 3,
        "time_limit": 60,
        "soft_time_limit": 50,
        "max_retries": 2,
        "default_retry_delay": 4,
        "title": "Say a",
    }
    (node,) = flatten(mark.si("a").set(**options))
    assert node["options"] == options
    assert node["compensate"] is None


def test_an_undo_task_belongs_to_its_step() -> None:
    nodes = flatten(chain(mark.si("a").set(compensate=mark.si("undo a")), mark.si("b")))
    assert [node["compensate"] and node["compensate"]["args"] for node in nodes] == [["undo a"], None]


def test_flattening_leaves_the_signature_as_it_was() -> None:
    canvas = chain(mark.si("a").set(compensate=mark.si("undo a")), group(mark.si("b"), mark.si("c")))
    assert flatten(canvas) == flatten(canvas)


def test_nested_operations_are_found_at_any_depth() -> None:
    def nested(number: int, build: Any) -> Any:
        return CanvasExecutor.as_signature(Box(pk=number, name=str(number)), build=build)

    inner = nested(3, lambda ref: mark.si("in"))
    canvas = chain(
        nested(1, lambda ref: group(inner, mark.si("b"))), group(nested(2, lambda ref: mark.si("c")), mark.si("d"))
    )
    assert [plan["resource"] for plan in nested_operations(flatten(canvas))] == [
        "testapp.box:1",
        "testapp.box:3",
        "testapp.box:2",
    ]


BAD: list[tuple[str, Any, list[str]]] = [
    ("a forgotten .si()", mark, ["did you forget .si("]),
    ("a class that was not called", CanvasExecutor, ["must be a task signature", ".si("]),
    ("a text", "mark", ["must be a task signature", "not str"]),
    ("an object", mark.si(object()), ["argument 1 of", "object", "convert it to text or a number"]),
    ("a model instance", mark.si(Box(pk=1)), ["is a Box", "references.serialize", "primary key"]),
    ("a keyword with an instance", mark.si(box=Box(pk=1)), ["argument 'box'", "references.serialize"]),
    ("a datetime", mark.si(datetime(2024, 1, 1)), ["datetime", "convert it to text"]),
    ("a set", mark.si({1}), ["set", "not JSON"]),
    ("a decimal", mark.si(Decimal(1)), ["Decimal", "convert it"]),
    ("bytes", mark.si(b"x"), ["bytes", "convert it"]),
    ("not a number", mark.si(float("nan")), ["nan", "JSON does not have"]),
    ("infinity", mark.si([1, {"a": float("inf")}]), ["inf", "JSON does not have"]),
    ("a key that is no text", mark.si({1: 2}), ["key 1", "JSON keys are text"]),
    ("an object deep inside", mark.si({"a": [({"b": object()},)]}), ["object", "not JSON"]),
    ("a secret", mark.si(password="x"), ["'password'", "looks like a secret", "pass a reference"]),
    ("a secret in capitals", mark.si(API_KEY="x"), ["'API_KEY'", "secret"]),
    ("a success callback", _linked := mark.si("a"), ["link", "chain"]),
    ("an error callback", mark.si("a").on_error(mark.si("b")), ["link_error", "chain"]),
    ("an unknown option", mark.si("a").set(expires=5), ["expires", "possible are", "countdown"]),
    ("an eta", mark.si("a").set(eta=5), ["eta", "possible are"]),
    ("chunks", mark.chunks([(1,), (2,)], 1), ["celery.chunks", "use chain, group or chord"]),
    ("map", mark.map([1, 2]), ["celery.map", "use chain, group or chord"]),
    ("starmap", mark.starmap([(1,)]), ["celery.starmap", "use chain, group or chord"]),
    ("a chord without a body", chord([mark.si("a"), mark.si("b")]), ["needs a body", "group("]),
    ("a negative countdown", mark.si("a").set(countdown=-1), ["countdown=-1", "0 or more"]),
    ("a countdown in words", mark.si("a").set(countdown="soon"), ["countdown='soon'", "number of seconds"]),
    ("an endless limit", mark.si("a").set(time_limit=float("inf")), ["time_limit=inf", "number of seconds"]),
    ("a limit that is true", mark.si("a").set(soft_time_limit=True), ["soft_time_limit=True", "number of seconds"]),
    ("two undo tasks", mark.si("a").set(compensate=chain(mark.si(1), mark.si(2))), ["compensate=", "single task"]),
    ("undoing side by side", mark.si("a").set(compensate=group(mark.si(1), mark.si(2))), ["compensate=", "group"]),
    ("a secret to undo", mark.si("a").set(compensate=mark.si(password="x")), ["compensate=", "secret"]),
]
_linked.link(mark.si("b"))


@pytest.mark.parametrize(("canvas", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
@pytest.mark.parametrize("inside", ["alone", "in a chain", "in a group", "in a chord's body"])
def test_a_bad_canvas_is_refused_with_a_text_that_says_what_to_do(canvas: Any, words: list[str], inside: str) -> None:
    whole = {
        "alone": canvas,
        "in a chain": [A, canvas],
        "in a group": {**group([A, B]), "kwargs": {"tasks": [A, canvas]}},
        "in a chord's body": {**chord([A, B], C), "kwargs": {"header": [A, B], "body": canvas}},
    }[inside]
    with pytest.raises(PlanError) as refused:
        flatten(whole, what="the plan of BoxCreateExecutor", redact=("password", "api_key"))
    text = str(refused.value)
    assert all(word in text for word in words), text
    assert "the plan of BoxCreateExecutor" in text


@pytest.mark.parametrize(
    "canvas",
    [
        group(A, B),
        chain(A, group(B, C)),
        chord([A, B], C),
        CanvasExecutor.as_signature(Box(pk=1, name="b"), build=lambda ref: A),
    ],
)
def test_a_failure_path_is_one_line_of_tasks(canvas: Any) -> None:
    with pytest.raises(PlanError, match="use a chain of tasks"):
        flatten(canvas, parallel=False, what="the failure path")


def test_an_empty_secret_is_no_secret() -> None:
    assert len(flatten(mark.si(password="", api_key=None), redact=("password", "api_key"))) == 1


STORABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STORABLE,
        lambda part: st.lists(part) | st.dictionaries(STORABLE, part),
        max_leaves=10,
    )
)
def test_whatever_json_and_databases_have_is_accepted(value: Any) -> None:
    check_json(value, "an argument")


@pytest.mark.parametrize("value", ["a\0b", "\ud800", {"\0": 1}, [["\udfff"]]])
def test_text_that_no_database_stores_is_refused(value: Any) -> None:
    with pytest.raises(PlanError, match="no database stores"):
        check_json(value, "an argument")


def test_what_is_nested_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(PlanError, match="nested deeper"):
        check_json(value, "an argument")


def test_texts_with_a_class_of_their_own_are_texts() -> None:
    check_json([ResourceState.OK, mark_safe("<b>")], "an argument")
