"""A Dramatiq pipeline: each message carries the rest of the plan; there is no journal, and no row says where it stands."""

from __future__ import annotations

import os

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
if not apps.ready:
    django.setup()

import dramatiq
from django.db import transaction
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from benchmarks import place
from benchmarks.workload import steps as work
from benchmarks.workload.models import Item

__all__ = ["open_operation", "prepare", "waiting"]


def _broker() -> Broker:
    if os.environ.get("BENCH_BROKER") == "redis":
        return RedisBroker(url=place.BROKER_URLS["redis"], namespace=f"{place.KEY_PREFIX}dramatiq")
    return RabbitmqBroker(url=place.BROKER_URLS["rabbitmq"])


broker = _broker()
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="pipeline")
def advance(pk: int, number: int) -> None:
    """A step."""
    work.advance(pk, number)


@dramatiq.actor(queue_name="pipeline")
def finish(pk: int) -> None:
    """The end."""
    work.finish(pk)


def prepare() -> None:
    """Forget messages of earlier runs."""
    broker.declare_queue("pipeline")
    broker.flush_all()


def waiting() -> int:
    """Return how many messages wait."""
    if isinstance(broker, RedisBroker):
        return int(broker.client.llen(f"{broker.namespace}:pipeline"))
    return int(broker.get_queue_message_counts("pipeline")[0])


def open_operation(item: Item, steps: int) -> None:
    """Move the item, and publish the pipeline after the commit."""
    work.schedule(item)
    messages = [advance.message_with_options(args=(item.pk, number), pipe_ignore=True) for number in range(steps)]
    messages.append(finish.message_with_options(args=(item.pk,), pipe_ignore=True))
    pipeline = dramatiq.pipeline(messages)
    transaction.on_commit(lambda: pipeline.run() and None)
