"""What must hold whenever something was committed, sent or done. Each breach is one sentence.

The rows are read through a connection of their own: what is judged is what every other process could see at that moment.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from django.db import connection

from django_executors.context import StepContext
from django_executors.states import is_transitional

from .committed import Operation, Rows
from .plans import KINDS, LIMIT

if TYPE_CHECKING:
    from .world import World

__all__ = ["Invariants"]


class Invariants:
    """Checks a world; the first breach is kept in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._keys: dict[tuple[str, int], str] = {}
        self.restart()

    def restart(self) -> None:
        """Forget the schedule before."""
        self._version = -1
        self._before: dict[str, Operation] = {}
        self._keys.clear()
        self.may_run_again: Counter[str] = Counter()
        """How often persons allowed the steps to run again that may not do so by themselves; by idempotency key."""
        self.marked_before: Counter[str] = Counter()
        """Marks that a step had left before a person made it run again."""

    def key(self, operation: str, position: int) -> str:
        """Return a step's idempotency key."""
        found = self._keys.get((operation, position))
        if found is None:
            found = self._keys[operation, position] = f"ex-{uuid5(UUID(operation), str(position)).hex}"
        return found

    def rows(self) -> Rows:
        """Return what is committed."""
        return Rows(self.world.database, self.key)

    # -- at every commit ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check all rows, if anything was committed since the last look."""
        version = self.world.database.version()
        if version == self._version:
            return
        self._version = version
        rows = self.rows()
        for text in self._breaches(rows):
            self.world.breach(text)
            return
        self._before = rows.operations

    def _breaches(self, rows: Rows) -> Any:
        yield from self._leases(rows)
        yield from self._claims(rows)
        yield from self._operations(rows)
        yield from self._states(rows)
        yield from self._waits(rows)
        yield from self._effects(rows)
        yield from self._slots(rows)

    def _leases(self, rows: Rows) -> Any:
        for pk, before in self._before.items():
            was_held = before.owner and before.due_at is not None and before.due_at > self.world.time.text()
            if was_held and rows.operations[pk].token != before.token:
                yield f"an operation was taken from {before.owner}, whose lease had not ended"

    def _claims(self, rows: Rows) -> Any:
        for resource, holder in rows.claims.items():
            if holder not in rows.operations or not rows.operations[holder].is_open:
                yield f"{resource} is claimed by an operation that has ended"
        by_box: dict[str, set[str]] = defaultdict(set)
        for operation in rows.open:
            if not operation.executor:
                continue
            by_box[operation.box].add(operation.root)
            if rows.claims.get(f"testapp.box:{operation.box}") != operation.root:
                yield f"an open operation does not hold its resource box {operation.box}"
        for box, roots in by_box.items():
            if len(roots) > 1:
                yield f"{len(roots)} open operations on box {box}"

    def _operations(self, rows: Rows) -> Any:
        for operation in rows.operations.values():
            if operation.is_open:
                if operation.state != "paused" and (operation.due_at is None or operation.nudge_at is None):
                    yield f"an operation is {operation.state} and has no timer"
                if operation.parent is not None and not rows.operations[operation.parent].is_open:
                    yield "an operation ended before its parts"
                if operation.cancel_requested and operation.state not in ("cancelling", "compensating"):
                    yield f"a cancelled operation is {operation.state} again"
                continue
            if operation.owner:
                yield f"an operation that ended is still held by {operation.owner}"
            if operation.cancel_requested and operation.state in ("succeeded", "failed"):
                yield f"a cancelled operation ended as {operation.state}"
            if operation.state == "succeeded":
                for step in operation.steps:
                    if step.phase in ("main", "success") and not step.is_done:
                        yield f"an operation succeeded and its step {step.task} is {step.state}"

    def _states(self, rows: Rows) -> Any:
        working: dict[str, Operation] = {}
        for operation in rows.open:
            if operation.executor:
                working[operation.box] = operation
        for box, state in rows.boxes.items():
            operation = working.get(box)
            if operation is not None:
                expected = _expected(operation)
                if state != expected:
                    yield f"box {box} is {state}, its open operation says {expected}"
            elif is_transitional(state) and box in self.world.promised and f"testapp.box:{box}" not in rows.claims:
                # With a claim, an outer operation has not come to it yet.
                yield f"box {box} is {state}, and no operation is open"
        for box, operation in working.items():
            if box not in rows.boxes and not _is_done(operation, "DeletionTask"):
                yield f"box {box} is gone while its operation is open"

    def _waits(self, rows: Rows) -> Any:
        waiting = [
            each for each in rows.open if each.wait_kind == "parts" and not each.owner and each.state != "paused"
        ]
        for operation in waiting:
            steps = {step.id for step in operation.steps if not step.is_done}
            parts = [part for part in rows.operations.values() if part.parent_step in steps]
            if parts and not any(part.is_open for part in parts) and _sleeps(operation, self.world):
                yield "an operation sleeps, though all its parts have ended"

    def _effects(self, rows: Rows) -> Any:
        cloud = self.world.cloud
        for operation in rows.operations.values():
            for step in operation.steps:
                if step.kind != "task" or step.state == "skipped":
                    continue
                if step.task.endswith("MarkTask"):
                    wanted = self.marked_before[str(step.id)] + step.is_done
                    if rows.marks[str(step.id)] != wanted:
                        yield f"a row-only step is {step.state} and has done its work {rows.marks[str(step.id)]} times"
                elif step.is_done and '"' in step.kwargs and "Backend" in step.task and not cloud.accepted[step.key]:
                    yield f"a step is recorded as done and the cloud was never asked: {step.task} {step.kwargs}"

    def _slots(self, rows: Rows) -> Any:
        held: Counter[str] = Counter(key for key, _, is_held in rows.slots if is_held)
        waiting: Counter[str] = Counter(key for key, _, is_held in rows.slots if not is_held)
        for _, operation, is_held in rows.slots:
            if not rows.operations[operation].is_open:
                yield f"a slot is {'held' if is_held else 'waited for'} by an operation that has ended"
        for key, count in held.items():
            if count > LIMIT:
                yield f"{count} slots of {key} are held, the limit is {LIMIT}"
        for key, count in waiting.items():
            if held[key] < LIMIT:
                yield f"{count} wait for a slot of {key} while one is free"

    # -- at rest ----------------------------------------------------------------------------------------------------------

    def check_rest(self) -> None:
        """Check that nobody sleeps who could go on; when all is still, and no process died before it had told the others."""
        rows = self.rows()
        for _, holder, is_held in rows.slots:
            operation = rows.operations[holder]
            waits = operation.wait_kind == "throttle" and operation.state == "waiting"
            if is_held and waits and _sleeps(operation, self.world):
                self.world.breach("an operation sleeps, though the slot that it waits for is its own")

    # -- at messages and requests -----------------------------------------------------------------------------------------

    def message_sent(self, operation_id: str) -> None:
        """Check that a message is about a row that its receiver can see."""
        if connection.in_atomic_block:
            self.world.breach("a message was sent before the commit it tells about")
        elif not self.world.database.committed(
            "SELECT 1 FROM django_executors_operation WHERE id = ?", (UUID(operation_id).hex,)
        ):
            self.world.breach("a message was sent about an operation that is not there")

    def request_sent(self, step: StepContext) -> None:
        """Check that whoever sends a request holds the lease now, by the database's clock."""
        if step.operation_id is None:
            return
        held = getattr(step.ensure_lease, "__self__", None)
        rows = self.world.database.committed(
            "SELECT lease_owner, lease_token, due_at FROM django_executors_operation WHERE id = ?",
            (step.operation_id.hex,),
        )
        owner, token, due_at = rows[0]
        actor = self.world.process
        if actor is None or owner != actor.owner or (held is not None and token != held.token):
            self.world.breach(f"a request was sent by {actor and actor.owner}, the lease is {owner or 'nobody'}'s")
        elif due_at is None or due_at <= self.world.time.text():
            self.world.breach(f"a request was sent by {owner}, whose lease has ended")

    def request_done(self, key: str, *, is_repeatable: bool) -> None:
        """Check that the cloud has no two objects for one key, and has not done twice what must not be repeated."""
        if len(self.world.cloud.things.get(key, ())) > 1:
            self.world.breach("the cloud has two objects for one key")
        if not is_repeatable and self.world.cloud.accepted[key] > 1 + self.may_run_again[key]:
            self.world.breach("what may not run twice was done twice")

    # -- when persons intervene -------------------------------------------------------------------------------------------

    def restarted(self, operation_id: str) -> None:
        """Note that a person made an operation go on: what its steps have done before does not count against it."""
        rows = self.rows()
        for step in rows.operations[operation_id].steps:
            self.marked_before[str(step.id)] = rows.marks[str(step.id)] - step.is_done
            self.may_run_again[step.key] += 1


def _sleeps(operation: Operation, world: World) -> bool:
    return operation.due_at is None or operation.due_at > world.time.text()


def _is_done(operation: Operation, task: str) -> bool:
    # Not one that was skipped: it has written nothing.
    return any(step.state == "succeeded" and step.task.endswith(task) for step in operation.steps)


def _expected(operation: Operation) -> str:
    """Return the state that a resource must have, as a function of its open operation."""
    if _is_done(operation, "ErrorStateTransitionTask"):
        return "erred"
    if any(step.state == "succeeded" and '"set_ok"' in step.kwargs for step in operation.steps):
        return "ok"
    stem = KINDS[operation.executor]
    begins = [step for step in operation.steps if '"begin_' in step.kwargs]
    if any(step.began or step.state == "succeeded" for step in begins):
        return f"{stem}ing"
    return f"{'update' if stem == 'updat' else stem + 'ion'}_scheduled"
