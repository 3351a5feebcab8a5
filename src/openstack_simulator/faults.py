"""Faults on request: errors, delays, answers lost after the work was done, objects that go to ERROR.

A :class:`Fault` says which requests it is for and what happens to them. All of its conditions must hold.
"""

import itertools
import json
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from openstack_simulator.lifecycle import Effects

SERVICE_ALIASES = {
    "volume": "block_storage",
    "volumev3": "block_storage",
    "block-storage": "block_storage",
    "cinder": "block_storage",
    "nova": "compute",
    "neutron": "network",
    "glance": "image",
    "keystone": "identity",
}


@dataclass(kw_only=True)
class Fault:
    """A rule: the requests it is for, and what happens to them.

    Which requests: ``service`` (``"compute"``, ``"block_storage"``, ...), ``method``, ``path`` (a regular expression
    searched in the path), ``body`` (the same, in the body's text) and ``name`` (a regular expression for the whole of
    the ``name`` in the body). Of the matching requests, ``nth`` picks one (counted from 1), ``after`` skips the first
    so many, ``count`` is how often the rule acts at most, and ``probability`` (0 to 1, drawn with ``seed``) leaves it
    to chance.

    What happens: see the fields below; a rule may name several.
    """

    service: str | None = None
    method: str | None = None
    path: str | None = None
    body: str | None = None
    name: str | None = None
    nth: int | None = None
    after: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0

    status: int | None = None
    """Answer with this HTTP status instead of doing the work."""
    message: str = "The simulator was asked to fail here."
    """The text in the error body that goes with ``status``."""
    retry_after: float | None = None
    """Seconds for the Retry-After header that goes with ``status``."""
    delay: float = 0.0
    """Real seconds to wait before anything else."""
    answer_delay: float = 0.0
    """Real seconds between doing the work and answering; other requests see what was done meanwhile."""
    drop_before: bool = False
    """Close the connection before doing the work."""
    lose_answer: bool = False
    """Do the work, then close the connection without an answer."""
    error_state: str | None = None
    """What the request starts ends in its error state; the text becomes a server's fault message."""
    stuck: bool = False
    """What the request starts never ends."""
    stale: float = 0.0
    """The object that the request makes is not found for so many seconds on the cloud's clock."""

    id: int = 0
    matched: int = 0
    """How many requests met the conditions."""
    hits: int = 0
    """How often the rule acted."""
    _random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.service is not None:
            self.service = SERVICE_ALIASES.get(self.service, self.service)
        for pattern in (self.path, self.body, self.name):
            if pattern is not None:
                re.compile(pattern)
        self._random.seed(self.seed)

    def fires(self, service: str, method: str, path: str, body: bytes) -> bool:
        """Whether the rule acts on this request; counts the request as matched, and as hit if so."""
        if not self._matches(service, method, path, body):
            return False
        self.matched += 1
        if self.matched <= self.after or (self.nth is not None and self.matched != self.nth):
            return False
        if self.count is not None and self.hits >= self.count:
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def _matches(self, service: str, method: str, path: str, body: bytes) -> bool:
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method.upper() == method)
            and (self.path is None or re.search(self.path, path) is not None)
            and (self.body is None or re.search(self.body, body.decode("utf-8", "replace")) is not None)
            and (self.name is None or re.fullmatch(self.name, _name_in(body)) is not None)
        )

    def as_dict(self) -> dict[str, Any]:
        """The rule and its counts, as the control API shows it."""
        return {key: value for key, value in asdict(self).items() if not key.startswith("_")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Fault":
        """Make a rule from JSON.

        Raises:
            ValueError: A key is no condition or effect, or an expression is not a regular one.
        """
        known = {one.name for one in fields(cls)} - {"id", "matched", "hits", "_random"}
        unknown = set(values) - known
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it may have {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error


def _name_in(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    for value in [document, *document.values()] if isinstance(document, dict) else []:
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            return str(value["name"])
    return ""


@dataclass
class Verdict:
    """What all rules together do to one request."""

    delay: float = 0.0
    answer_delay: float = 0.0
    drop_before: bool = False
    lose_answer: bool = False
    failure: Fault | None = None
    effects: Effects = field(default_factory=Effects)


class Faults:
    """The rules in force. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._rules: list[Fault] = []

    def __iter__(self) -> "itertools.chain[Fault]":
        return itertools.chain(list(self._rules))

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, fault: Fault | None = None, /, **conditions_and_effects: Any) -> Fault:
        """Put a rule in force and return it; its ``hits`` tell later how often it acted.

        Raises:
            ValueError: An unknown condition or effect.
        """
        rule = fault if fault is not None else Fault.from_dict(conditions_and_effects)
        with self._lock:
            rule.id = next(self._ids)
            self._rules.append(rule)
        return rule

    def remove(self, fault_id: int) -> bool:
        """Take a rule out of force; whether there was one with this id."""
        with self._lock:
            before = len(self._rules)
            self._rules = [rule for rule in self._rules if rule.id != fault_id]
            return len(self._rules) < before

    def clear(self) -> None:
        """Take all rules out of force."""
        with self._lock:
            self._rules = []

    def judge(self, service: str, method: str, path: str, body: bytes) -> Verdict:
        """Ask every rule about a request and add up what they do to it; of several errors the first counts."""
        verdict = Verdict()
        with self._lock:
            for rule in self._rules:
                if not rule.fires(service, method, path, body):
                    continue
                verdict.delay += rule.delay
                verdict.answer_delay += rule.answer_delay
                verdict.drop_before |= rule.drop_before
                verdict.lose_answer |= rule.lose_answer
                if rule.status is not None and verdict.failure is None:
                    verdict.failure = rule
                effects = verdict.effects
                effects.error_state = effects.error_state if effects.error_state is not None else rule.error_state
                effects.stuck |= rule.stuck
                effects.stale = max(effects.stale, rule.stale)
        return verdict
