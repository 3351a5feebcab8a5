"""Shows looks at an operation: as a tree that is drawn anew in a terminal, as a line per change anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from django_executors.states import OperationState

from .progress import Line, Look, worker_name

__all__ = ["Screen"]

LOOKS = {
    "pending": ("·", "dim"),
    "running": ("⟳", "cyan"),
    "waiting": ("⧗", "yellow"),
    "uncertain": ("?", "magenta"),
    "done": ("✓", "green"),
    "skipped": ("»", "dim"),
    "cancelled": ("✕", "red"),
    "failed": ("✕", "red"),
    "retried": ("↻", "yellow"),
    "taken over": ("⇄", "magenta"),
}
"""Glyph and colour of each state; the word always stands beside them."""

MOST_SILENT_SECONDS = 4.0
LONG_SECONDS = 0.7
LONGEST_REASON = 150
WIDTH_OF_FILES = 120


class Screen:
    """The only thing in the demo that prints."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=WIDTH_OF_FILES)
        self._live: Live | None = None
        self._shown: dict[str, str] = {}
        self._takeovers: set[int] = set()
        self._printed_at = time.monotonic()

    # -- between the looks --------------------------------------------------------------------------------------------

    def fact(self, name: str, text: str) -> None:
        """Say one thing about the set-up."""
        self._printed_at = time.monotonic()
        self.console.print(Text.assemble((f"{name:<9}", "bold"), text), soft_wrap=not self.console.is_terminal)

    def event(self, text: str, style: str = "bold") -> None:
        """Say that something happened; above the tree when there is one."""
        self._line(Text(text, style))

    def gap(self) -> None:
        """Leave a line empty."""
        self.console.print()

    def table(self, table: RenderableType) -> None:
        """Print a table below an empty line."""
        if self.console.is_terminal:
            self.console.print("", table, sep="\n")
            return
        with self.console.capture() as printed:
            self.console.print(table)
        for line in ("", *printed.get().splitlines()):
            self.console.print(Text(line.rstrip()))  # a file needs no spaces at the end of its lines

    # -- an operation on its way --------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, `show` draws over what it drew before; afterwards the last look stays in full."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live:
            try:
                yield
            finally:
                self._live = None

    def show(self, look: Look) -> None:
        """Show a look; in the terminal all of it, elsewhere what is new in it."""
        for takeover in look.takeovers:
            if takeover.event not in self._takeovers:
                self._takeovers.add(takeover.event)
                self.event(f"{worker_name(takeover.owner)} took over: {takeover.title}", "bold magenta")
        if self._live is not None:
            height = max(8, self.console.height - 3)
            self._live.update(Group(_headline(look), _tree(_fit(look.lines, height))), refresh=True)
        elif not self.console.is_terminal:
            self._changes(look)

    def show_in_full(self, look: Look) -> None:
        """Leave the last look on the terminal; elsewhere each of its lines was printed when it came."""
        if self.console.is_terminal:
            self.console.print(_headline(look), _tree(look.lines))
        else:
            self._line(_headline(look))

    def _changes(self, look: Look) -> None:
        for line in look.lines:
            if line.state in ("pending", "queued"):
                continue
            # Whether it is running or waiting changes all the time; how it ended, and that it takes a while, is news.
            takes_long = line.has_parts or (line.seconds or 0.0) >= LONG_SECONDS
            news = line.state if not line.is_going_on else "begun" if takes_long else ""
            if news and self._shown.get(line.key) != news:
                self._shown[line.key] = news
                self._line(_in_one_line(line))
        if time.monotonic() - self._printed_at >= MOST_SILENT_SECONDS:
            self._line(Text(f"… {_shorten(look.reason, LONGEST_REASON)}"))

    def _line(self, text: Text) -> None:
        self._printed_at = time.monotonic()
        if self.console.is_terminal:
            self.console.print(text)
        else:
            self.console.print(Text(f"{datetime.now(UTC):%H:%M:%S}Z ") + text, soft_wrap=True)


def _shorten(text: str, width: int) -> str:
    """Cut a text to a width."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _headline(look: Look) -> Text:
    operation = look.operation
    done, steps = look.steps
    started = operation.created_at
    seconds = ((operation.finished_at or look.now) - started).total_seconds()
    state = OperationState(operation.state)
    style = {"succeeded": "bold green", "failed": "bold red"}.get(state, "bold yellow")
    return Text.assemble(
        (str(operation), "bold"),
        f"  operation {str(operation.pk)[:8]}…  ",
        (str(state.label), style),
        f"  {seconds:.1f} s  {done}/{steps} steps",
    )


def _tree(lines: list[Line]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=38)
    table.add_column(no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, justify="right", min_width=7)
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
    for line in lines:
        glyph, style = LOOKS.get(line.state, ("○", "yellow"))
        title = Text.assemble("  " * (line.depth + 1), (glyph, style), " ", line.title)
        if line.state == "pending":
            title.stylize("dim")
        table.add_row(title, Text(line.state, style), _duration(line), Text(line.note))
    return table


def _in_one_line(line: Line) -> Text:
    glyph, _ = LOOKS.get(line.state, ("○", ""))
    parts = [f"{'  ' * line.depth}{glyph} {line.title}: {line.state}"]
    if not line.is_going_on and line.seconds is not None:
        parts.append(_duration(line))
    if line.note:
        parts.append(line.note)
    return Text("  ".join(parts))


def _duration(line: Line) -> str:
    if line.seconds is None or line.state == "pending":
        return ""
    return f"{line.seconds:.1f} s"


def _fit(lines: list[Line], height: int) -> list[Line]:
    """Fold what lies behind, then what lies ahead, until the tree is no higher than the terminal."""
    behind, ahead = 0, 0
    lines = list(lines)
    while len(lines) > height and lines[behind and 1].state in ("done", "skipped", "taken over", "retried"):
        del lines[behind and 1]
        behind += 1
        if behind == 1:
            lines.insert(0, Line("behind", 0, "done", ""))
        lines[0] = Line("behind", 0, "done", f"{behind} more")
    while len(lines) > height and lines[-2 if ahead else -1].state == "pending":
        del lines[-2 if ahead else -1]
        ahead += 1
        if ahead == 1:
            lines.append(Line("ahead", 0, "pending", ""))
        lines[-1] = Line("ahead", 0, "pending", f"{ahead} more")
    return lines
