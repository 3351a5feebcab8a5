"""``manage.py executors …``: look at operations, act on them, and run a dispatcher by hand."""

from __future__ import annotations

import argparse
import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import registry
from ...conf import settings
from ...engine import actions
from ...engine.dispatcher import dispatch_once
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
            getattr(self, f"_{command}")(argparse.Namespace(**options))

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
        while True:
            sent = dispatch_once()
            if options.once:
                self.stdout.write(f"{sent} messages sent")
                return
            time.sleep(settings.DISPATCH_SECONDS)
