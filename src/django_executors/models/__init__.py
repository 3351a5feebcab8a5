"""The rows: mixins for resources, and the journal."""

from .event import Event
from .operation import Claim, Operation
from .resource import ActionMixin, BackendMixin, ErrorMessageMixin, ResourceBase, RuntimeStateMixin, StateMixin
from .step import Attempt, Step
from .throttle import Slot, Throttle

__all__ = [
    "ActionMixin",
    "Attempt",
    "BackendMixin",
    "Claim",
    "ErrorMessageMixin",
    "Event",
    "Operation",
    "ResourceBase",
    "RuntimeStateMixin",
    "Slot",
    "StateMixin",
    "Step",
    "Throttle",
]
