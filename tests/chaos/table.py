"""The account as an aligned table, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checks import Finding

__all__ = ["Report"]

MOST_SHOWN = 20


@dataclass
class Report:
    """Lines of the table; each with a value and, where something is required, whether it is so."""

    name: str
    seed: str
    versions: dict[str, str]
    lines: list[tuple[str, Any, str]] = field(default_factory=list)
    offenders: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, value: Any) -> None:
        """Add a line that requires nothing."""
        self.lines.append((what, value, ""))

    def need(self, what: str, value: int, least: int) -> None:
        """Add a line whose value must be so much at least."""
        enough = value >= least
        self.lines.append((what, value, f"at least {least}" if enough else f"TOO LITTLE, at least {least}"))
        if not enough:
            self.offenders[what] = [f"{value}, wanted are at least {least}"]

    def zero(self, finding: Finding) -> None:
        """Add a line that must be 0."""
        self.lines.append(
            (finding.name, len(finding.offenders), "WRONG, must be 0" if finding.offenders else "0 is right")
        )
        if finding.offenders:
            self.offenders[finding.name] = finding.offenders

    @property
    def passed(self) -> bool:
        return not self.offenders

    def text(self) -> str:
        """Return the table, and the evidence for everything that is wrong."""
        width = max(len(what) for what, _, _ in self.lines)
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        out = [f"{self.name}, seed {self.seed}", versions, ""]
        out += [f"{what:<{width}}  {value!s:>20}  {verdict}".rstrip() for what, value, verdict in self.lines]
        for note in self.notes[:MOST_SHOWN]:
            out.append(f"note: {note}")
        for what, offenders in self.offenders.items():
            out += ["", f"== {what}: {len(offenders)}"]
            out += offenders[:MOST_SHOWN]
        out += ["", f"{self.name}: {'passed' if self.passed else 'FAILED'} (seed {self.seed})"]
        return "\n".join(out)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "name": self.name,
            "seed": self.seed,
            "passed": self.passed,
            "versions": self.versions,
            "lines": [
                {"what": what.strip(), "value": value, "verdict": verdict} for what, value, verdict in self.lines
            ],
            "offenders": self.offenders,
            "notes": self.notes,
        }
