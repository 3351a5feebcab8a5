"""The step, the same function for every rival, and the ends of an operation for those that have no engine to write them."""

from __future__ import annotations

import time

from .models import Item

__all__ = ["OutOfOrder", "advance", "erred", "finish", "schedule"]


class OutOfOrder(Exception):
    """A step ran twice, was left out, or ran before the one in front of it."""


def advance(pk: int, number: int) -> None:
    """Do step ``number``, from 0: load the row and change one column.

    Raises:
        OutOfOrder: It is not this step's turn.
    """
    item = Item.objects.get(pk=pk)
    if item.value != number:
        raise OutOfOrder(f"step {number} found {item.value} steps done on item {pk}")
    item.value = number + 1
    fields = ["value"]
    if number == 0:
        item.first_step_at = time.time()
        fields.append("first_step_at")
    item.save(update_fields=fields)


def schedule(item: Item) -> None:
    """Move the item as a request does before it starts work in the background."""
    item.state = Item.States.UPDATE_SCHEDULED
    item.save(update_fields=["state"])


def finish(pk: int) -> None:
    """End an operation: the item is OK."""
    _end(pk, Item.States.OK)


def erred(pk: int) -> None:
    """End an operation that failed."""
    _end(pk, Item.States.ERRED)


def _end(pk: int, state: str) -> None:
    item = Item.objects.get(pk=pk)
    item.state = state
    item.save(update_fields=["state"])
