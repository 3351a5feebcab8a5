"""A dispatcher, as a process of its own, that is killed between its commit and its messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_executors import clock
from django_executors.consistency import check_consistency
from django_executors.models import Operation
from tests.brokers import broker_at, purge
from tests.crash.driving import drive_to_end
from tests.settings import broker
from tests.testapp.executors import BoxUpdateExecutor
from tests.testapp.models import Box

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]

DISPATCH = """
import os, signal
import django
django.setup()
import tests.celeryapp
from django.core.management import execute_from_command_line
from django_executors import faults
if os.environ.get("DIE_AT"):
    faults.install(lambda point: point == os.environ["DIE_AT"] and os.kill(os.getpid(), signal.SIGKILL))
execute_from_command_line(["manage.py", "executors", "dispatch"])
"""


@pytest.fixture(params=["TEST_REDIS_URL", "TEST_RABBITMQ_URL"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real broker, which the tests' app uses meanwhile."""
    url = os.environ.get(request.param, "")
    if not url:
        assert os.environ.get("CI") != "true", f"{request.param} is not set"
        pytest.skip(f"{request.param} is not set")
    with broker_at(*broker(url)):
        purge()
        yield url
        purge()


@pytest.fixture
def dispatcher(broker_url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts ``manage.py executors dispatch``; it may be told where to die."""
    started: list[subprocess.Popen[bytes]] = []

    def start(die_at: str = "") -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.worker_settings",
            "WORKER_DATABASE_NAME": str(connection.settings_dict["NAME"]),
            "BROKER_URL": broker_url,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "DIE_AT": die_at,
        }
        started.append(subprocess.Popen([sys.executable, "-c", DISPATCH], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(30)


def wait_until(condition: Callable[[], Any], what: str, seconds: float) -> float:
    """Wait for a condition; return after how many seconds it was true."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        if condition():
            return time.monotonic() - begin
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def test_what_a_killed_dispatcher_did_not_send_is_sent_by_another(
    dispatcher: Callable[..., subprocess.Popen[bytes]],
) -> None:
    boxes = [Box.objects.create(name=f"b{number}", state="ok") for number in range(5)]
    operations = [BoxUpdateExecutor.execute(box, updated_fields=["name"]) for box in boxes]
    assert purge() == 5, "the messages of the commits are lost"
    Operation.objects.update(nudge_at=clock.now())
    killed = dispatcher(die_at="after dispatch")
    assert killed.wait(30) == -signal.SIGKILL
    assert set(Operation.objects.values_list("nudges", flat=True)) == {1}, "it had committed that it would send"
    assert purge() == 0, "and did not"
    other = dispatcher()
    wait_until(lambda: set(Operation.objects.values_list("nudges", flat=True)) == {2}, "sent again", 11 + 20)
    other.terminate()
    assert other.wait(30) == 0, "it ends in order when it is asked to"
    assert purge() == 5
    assert check_consistency() == []
    assert [drive_to_end(operation).state for operation in operations] == ["succeeded"] * 5
