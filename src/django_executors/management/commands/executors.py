"""``manage.py executors …``: look at operations, act on them, and run a dispatcher by hand."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, connections
from django.utils.timezone import localtime

from ... import registry
from ...consistency import Violation, check_consistency
from ...engine import actions
from ...engine.dispatcher import dispatch_once, dispatch_until
from ...exceptions import ExecutorsError
from ...models import Operation, Step
from ...states import OPEN_OPERATION_STATES, OperationState, StepState

_ACTIONS = ("cancel", "pause", "unpause", "resume", "retry", "skip")


class Command(BaseCommand):
    """One command with sub-commands; each ends with 0, or 1 and a sentence that says what to do."""

    help = "Look at operations, act on them, and run a dispatcher."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        listing = commands.add_parser("list", help="operations, the newest first, and why they do not move")
        listing.add_argument("--state", action="append", choices=OperationState.values, help="only these; repeatable")
        listing.add_argument("--limit", type=int, default=20)
        commands.add_parser("show", help="one operation with its steps").add_argument("operation")
        commands.add_parser("unknown", help="open operations that this code cannot continue")
        dispatch = commands.add_parser("dispatch", help="send messages about what is due, until stopped")
        dispatch.add_argument("--once", action="store_true", help="one look only")
        check = commands.add_parser("check-consistency", help="rows that contradict each other; ends with 1 if any do")
        check.add_argument("--format", choices=("table", "json"), default="table")
        check.add_argument("--watch", type=float, metavar="SECONDS", help="look again every so often, until stopped")
        check.add_argument("--database", help="alias of the database with the journal and the resources")
        for name in _ACTIONS:
            command = commands.add_parser(name, help=(getattr(actions, name, None) or actions.retry_from).__doc__)
            command.add_argument("operation")
            command.add_argument("--reason", default="", required=name == "skip")
            if name == "retry":
                command.add_argument("--step", type=int, required=True, help="number of the step, from 1")

    def handle(self, *args: Any, **options: Any) -> None:
        command: str = options["command"]
        if command in _ACTIONS:
            self._act(command, argparse.Namespace(**options))
        else:
            getattr(self, f"_{command.replace('-', '_')}")(argparse.Namespace(**options))

    def _find(self, key: str) -> Operation:
        try:
            return Operation.objects.get(pk=key)
        except (Operation.DoesNotExist, ValidationError) as error:
            raise CommandError(f"there is no operation {key}; `executors list` shows what is there") from error

    def _act(self, name: str, options: argparse.Namespace) -> None:
        operation = self._find(options.operation)
        more: dict[str, Any] = {"actor": "command line", "reason": options.reason}
        try:
            if name == "retry":
                operation = actions.retry_from(operation, options.step - 1, **more)
            else:
                operation = getattr(actions, name)(operation, **more)
        except (ExecutorsError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{operation.pk} {operation}: {operation.why()}")

    def _list(self, options: argparse.Namespace) -> None:
        found = Operation.objects.filter(parent=None)
        if options.state:
            found = found.filter(state__in=options.state)
        for operation in found[: options.limit]:
            self.stdout.write(f"{operation.pk} {operation.state:12} {operation}: {operation.why()}")

    def _show(self, options: argparse.Namespace) -> None:
        operation = self._find(options.operation)
        self.stdout.write(f"{operation} {operation.pk}\n{operation.why()}")
        self._steps(operation, "  ")

    def _steps(self, operation: Operation, indent: str) -> None:
        for step in operation.steps.all():
            if step.phase != "main" and step.state == StepState.PENDING:
                continue
            tried = f" (attempt {step.tries})" if step.tries > 1 else ""
            self.stdout.write(f"{indent}{step.position + 1:2} {step.state:10} {step.name}{tried} {step.error}".rstrip())
            for part in Operation.objects.filter(parent_step=step).order_by("branch"):
                self.stdout.write(f"{indent}   {part}: {part.state}")
                self._steps(part, indent + "      ")

    def _unknown(self, options: argparse.Namespace) -> None:
        steps = Step.objects.filter(
            operation__state__in=OPEN_OPERATION_STATES, kind=Step.Kind.TASK, finished_at=None
        ).select_related("operation")
        missing = [step for step in steps.iterator() if registry.find_task(step.task) is None]
        for step in missing:
            self.stdout.write(f"{step.operation_id} {step.operation}: step {step.position + 1} needs task {step.task}")
        if missing:
            raise CommandError("deploy code that has these tasks, or declare aliases on the tasks that replace them")

    def _dispatch(self, options: argparse.Namespace) -> None:
        if options.once:
            self.stdout.write(f"{dispatch_once()} messages sent")
            return
        with _until_stopped() as stopped:
            dispatch_until(stopped)

    def _check_consistency(self, options: argparse.Namespace) -> None:
        if options.watch is None:
            found = check_consistency(options.database)
            self._report(found, options.format)
            seen: set[Any] = {each for each in found if not each.is_warning}
        else:
            seen = self._watch(options)
        if seen:
            raise CommandError(
                f"{len(seen)} contradictions; docs/how-to/check-consistency.md says what each rule means"
            )

    def _watch(self, options: argparse.Namespace) -> set[Any]:
        """Report what is new at each look, until stopped; return every contradiction that was seen."""
        seen: set[Any] = set()
        last: set[Any] = set()
        with _until_stopped() as stopped:
            while not stopped.is_set():
                try:
                    # Not by the text: it has figures that change.
                    found = {(e.rule, e.operation_id, e.resource): e for e in check_consistency(options.database)}
                except (OperationalError, InterfaceError) as error:
                    self.stderr.write(f"the database cannot be reached: {error}")
                    connections.close_all()
                else:
                    new = [each for key, each in found.items() if key not in last]
                    self._report(new, "lines" if options.format == "json" else "table", quiet=True)
                    last = set(found)
                    seen |= {key for key, each in found.items() if not each.is_warning}
                stopped.wait(options.watch)
        return seen

    def _report(self, found: list[Violation], form: str, *, quiet: bool = False) -> None:
        rows = [
            {
                "rule": each.rule,
                "warning": each.is_warning,
                "operation": str(each.operation_id) if each.operation_id else None,
                "resource": each.resource or None,
                "text": each.text,
            }
            for each in found
        ]
        if form == "json":
            self.stdout.write(json.dumps(rows, indent=2))
        elif form == "lines":
            for row in rows:
                self.stdout.write(json.dumps({"at": localtime().isoformat(timespec="milliseconds"), **row}))
        elif rows:
            width = max(len(each.resource) for each in found)
            for each in found:
                kind = "warning  " if each.is_warning else "violation"
                self.stdout.write(
                    f"{each.rule:3} {kind} {each.operation_id or '-'!s:36} {each.resource or '-':{width}} {each.text}"
                )
        elif not quiet:
            self.stdout.write("no contradictions")


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, so that the command ends in order, also as a container's first process."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
