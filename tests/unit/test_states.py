"""The tables of states are the only source of the moves, pair by pair."""

from __future__ import annotations

from itertools import product

import pytest

from django_executors.exceptions import TransitionNotAllowed
from django_executors.states import (
    OPEN_OPERATION_STATES,
    OPERATION_TRANSITIONS,
    RESOURCE_TRANSITIONS,
    STEP_TRANSITIONS,
    OperationState,
    ResourceState,
    StepState,
    can_move,
    can_move_step,
    is_scheduled,
    is_transitional,
    resource_state,
    transition_target,
)
from tests.testapp.models import Box

ENDED = [state for state in OperationState if state not in OPEN_OPERATION_STATES]


@pytest.mark.parametrize(("name", "old"), list(product(RESOURCE_TRANSITIONS, ResourceState)))
def test_a_resource_moves_only_along_the_table(name: str, old: ResourceState) -> None:
    box = Box(name="b", state=old)
    targets = [new for (start, new) in RESOURCE_TRANSITIONS[name] if start == old]
    if targets:
        getattr(box, name)()
        assert [box.state] == targets
    else:
        with pytest.raises(TransitionNotAllowed) as refused:
            getattr(box, name)()
        assert box.state == old
        assert (refused.value.state, refused.value.transition) == (old, name)
        assert set(refused.value.allowed) == {start for start, _ in RESOURCE_TRANSITIONS[name]}
    assert transition_target(name, old) == (targets[0] if targets else None)


def test_a_transition_leads_from_a_state_to_one_state_only() -> None:
    for table in RESOURCE_TRANSITIONS.values():
        assert len({old for old, _ in table}) == len(table)


def test_the_model_has_a_method_for_every_transition_and_no_other() -> None:
    methods = {
        "begin_creating",
        "schedule_updating",
        "begin_updating",
        "schedule_deleting",
        "begin_deleting",
        "set_ok",
        "set_erred",
        "recover",
    }
    assert set(RESOURCE_TRANSITIONS) == methods
    assert all(callable(getattr(Box, name)) for name in methods)


def test_every_state_of_a_resource_can_be_left_by_failing() -> None:
    assert {old for old, _ in RESOURCE_TRANSITIONS["set_erred"]} == set(ResourceState)


def test_a_resource_under_deletion_never_becomes_ok() -> None:
    assert (ResourceState.DELETING, ResourceState.OK) not in RESOURCE_TRANSITIONS["set_ok"]


def test_an_erred_resource_becomes_ok_only_by_evidence() -> None:
    ways = [name for name, table in RESOURCE_TRANSITIONS.items() if (ResourceState.ERRED, ResourceState.OK) in table]
    assert ways == ["recover"]


@pytest.mark.parametrize(("old", "new"), list(product(OperationState, repeat=2)))
def test_an_operation_moves_only_along_the_table(old: OperationState, new: OperationState) -> None:
    assert can_move(old, new) is ((old, new) in OPERATION_TRANSITIONS)


@pytest.mark.parametrize(("old", "new"), list(product(StepState, repeat=2)))
def test_a_step_moves_only_along_the_table(old: StepState, new: StepState) -> None:
    assert can_move_step(old, new) is ((old, new) in STEP_TRANSITIONS)


@pytest.mark.parametrize("old", ENDED)
def test_an_ended_operation_moves_only_when_a_person_resumes_it(old: OperationState) -> None:
    moves = {new: reason for (start, new), reason in OPERATION_TRANSITIONS.items() if start == old}
    resumable = (OperationState.FAILED, OperationState.CANCELLED, OperationState.QUARANTINED)
    assert list(moves) == ([OperationState.WAITING] if old in resumable else [])
    assert all("person" in reason for reason in moves.values())


@pytest.mark.parametrize("old", [StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED])
def test_an_ended_step_moves_only_when_a_person_asks(old: StepState) -> None:
    moves = {new: reason for (start, new), reason in STEP_TRANSITIONS.items() if start == old}
    assert set(moves) <= {StepState.PENDING, StepState.SKIPPED}
    assert all("person" in reason or "resume" in reason or "retry" in reason for reason in moves.values())


@pytest.mark.parametrize("state", OPEN_OPERATION_STATES)
def test_every_open_operation_can_come_to_an_end(state: OperationState) -> None:
    reached, new = {state}, {state}
    while new:
        new = {target for (start, target) in OPERATION_TRANSITIONS if start in new} - reached
        reached |= new
    assert reached & set(ENDED)


@pytest.mark.parametrize("state", [state for state in OperationState if state != OperationState.SCHEDULED])
def test_every_operation_state_is_reached(state: OperationState) -> None:
    assert any(new == state for _, new in OPERATION_TRANSITIONS)


def test_every_move_has_a_reason() -> None:
    tables = [OPERATION_TRANSITIONS, STEP_TRANSITIONS, *RESOURCE_TRANSITIONS.values()]
    assert all(reason.strip() for table in tables for reason in table.values())


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (1, ResourceState.UPDATE_SCHEDULED),
        (2, ResourceState.UPDATING),
        (3, ResourceState.OK),
        (4, ResourceState.ERRED),
        (5, ResourceState.CREATION_SCHEDULED),
        (6, ResourceState.CREATING),
        (7, ResourceState.DELETION_SCHEDULED),
        (8, ResourceState.DELETING),
    ],
)
def test_the_classic_numbers_mean_the_same_states(number: int, state: ResourceState) -> None:
    assert resource_state(number) == state == resource_state(str(state))
    assert is_scheduled(number) is is_scheduled(state) is state.endswith("_scheduled")
    assert is_transitional(number) is is_transitional(state) is (state not in (ResourceState.OK, ResourceState.ERRED))


@pytest.mark.parametrize("value", [None, "", "available", 0, 9, 3.5, object()])
def test_another_projects_word_is_no_state_of_ours(value: object) -> None:
    assert resource_state(value) is None
    assert not is_transitional(value)
    assert not is_scheduled(value)
