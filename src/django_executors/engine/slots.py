"""Which slot a step needs, and how an operation waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import journal, throttling
from ..conf import settings
from ..models import Step
from ..states import StepState, WaitKind

if TYPE_CHECKING:
    from .drive import Driver

__all__ = ["Need", "need_of", "rest_for_slot"]


class Need(NamedTuple):
    """A slot that a step needs before it may start."""

    key: str
    resource: str
    limit: int


def need_of(task: Any, args: list[Any], kwargs: dict[str, Any]) -> Need:
    """Ask a throttled task which slot it needs; make sure the throttle's row is there before a transaction locks it."""
    need = Need(*task.throttle(args, kwargs))
    throttling.ensure(need.key)
    return need


def rest_for_slot(driver: Driver, step: Step, key: str) -> None:
    """Let an operation wait that has joined the line. A wake since then raised ``signals``, so the wait ends at once."""
    uncertain = step.state in (StepState.RUNNING, StepState.UNCERTAIN)
    driver.rest(
        WaitKind.THROTTLE,
        f"waiting for a free slot of {key}",
        settings.WAIT_FLOOR_SECONDS,
        lambda: journal.update_step(step, state=StepState.UNCERTAIN if uncertain else StepState.WAITING),
        wait_key=key[:255],
    )
