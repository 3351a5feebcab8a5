"""The load: instances that live a whole life in the cloud, and many small operations on boxes, with a bounded backlog.

Everything is opened from this process, which is not killed, straight at the database. When the database is away in the middle
of a commit, nobody knows whether the operation was opened: it is opened again with the same idempotency key.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import Error, connection, transaction

from django_executors.exceptions import OperationConflict
from django_executors.models import Operation
from django_executors.states import OPEN_OPERATION_STATES, ResourceState
from django_executors_openstack.executors.instances import (
    InstanceCreateExecutor,
    InstanceDeleteExecutor,
    InstancePullExecutor,
    InstanceStartExecutor,
    InstanceStopExecutor,
)
from django_executors_openstack.executors.volumes import (
    VolumeAttachExecutor,
    VolumeCreateExecutor,
    VolumeDetachExecutor,
)
from django_executors_openstack.models import Cloud, Flavor, FloatingIP, Image, Instance, Port, Subnet, Tenant, Volume
from tests.chaos.operations import SHAPES, BoxChangeExecutor, BoxMakeExecutor, BoxRemoveExecutor
from tests.testapp.models import Box

__all__ = ["Load", "make_tenant"]

logger = logging.getLogger("chaos")

MOST_DELETES = 4
"""How often the deletion of one instance is tried; the cloud may refuse for reasons that it was told to have."""

PATIENCE_SECONDS = 60.0


def make_tenant(limits: dict[str, int]) -> Tenant:
    """Make the row of the simulated cloud's tenant and pull what it offers."""
    cloud = Cloud.objects.create(
        name="simulator", cloud_name="simulator", state=ResourceState.OK, provision_limits=limits
    )
    tenant = Tenant.objects.create(cloud=cloud, name="demo", state=ResourceState.OK)
    backend = tenant.get_backend()
    for pull in ("pull_flavors", "pull_images", "pull_networks", "pull_subnets", "detect_external_network"):
        getattr(backend, pull)()
    return tenant


class Life:
    """One instance from its creation to its end, or to the end of the run."""

    def __init__(self, pk: int, wishes: int) -> None:
        self.pk = pk
        self.wishes = wishes
        self.deletes = 0
        self.volume: int | None = None


class Load:
    """Opens operations while there is room.

    Attributes:
        executed: Every operation whose ``execute()`` has returned, by id, with its kind.
        opened: How many, by kind.
    """

    def __init__(
        self, tenant: Tenant, choice: random.Random, *, instances: int, small: int, lives: int, boxes: int
    ) -> None:
        self.tenant = tenant
        self.choice = choice
        self.wanted = {"instance": instances, "small": small}
        self.executed: dict[uuid.UUID, str] = {}
        self.opened: Counter[str] = Counter()
        self.reopened = 0
        self.conflicts = 0
        self._most_lives, self._most_boxes = lives, boxes
        self._keys = 0
        self._lives: dict[Life, uuid.UUID | None] = {}
        self._boxes: dict[int, uuid.UUID | None] = {}
        self._flavor = Flavor.objects.get(name="m1.small")
        self._image = Image.objects.get()
        self._subnet = Subnet.objects.get(cidr="10.20.0.0/20")

    def count(self, group: str) -> int:
        """Return how many operations of a group, ``"instance"`` or ``"small"``, were opened."""
        return sum(number for kind, number in self.opened.items() if kind.startswith(group))

    @property
    def done(self) -> bool:
        """Whether as much as wanted was opened."""
        return all(self.count(group) >= wanted for group, wanted in self.wanted.items())

    def turn(self) -> None:
        """Open what there is room for; returns soon, also when the database is away."""
        try:
            connection.close_if_unusable_or_obsolete()
            busy = self._still_open()
            self._turn_of_lives(busy)
            self._turn_of_boxes(busy)
        except Error as error:
            logger.info("the load waits for the database: %s", str(error).strip()[:200])
            connection.close()

    def _still_open(self) -> set[uuid.UUID]:
        current = [pk for pk in [*self._lives.values(), *self._boxes.values()] if pk is not None]
        return set(
            Operation.objects.filter(pk__in=current, state__in=OPEN_OPERATION_STATES).values_list("pk", flat=True)
        )

    # -- opening for certain ----------------------------------------------------------------------------------------

    def _open(self, kind: str, execute: Callable[[str], Operation]) -> uuid.UUID | None:
        """Open one operation and note it; None when its resource is held or is in another state by now."""
        self._keys += 1
        key = f"c{self._keys}"
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                known = Operation.objects.filter(idempotency_key=key).first()
                operation = known or execute(key)
            except Error:
                if time.monotonic() > end:
                    raise
                self.reopened += 1
                connection.close()
                time.sleep(0.1)
            except OperationConflict:
                self.conflicts += 1
                return None
            else:
                self.executed[operation.pk] = kind
                self.opened[kind] += 1
                return operation.pk

    # -- instances ----------------------------------------------------------------------------------------------------

    def _turn_of_lives(self, busy: set[uuid.UUID]) -> None:
        for life, operation_id in list(self._lives.items()):
            if operation_id in busy:
                continue
            instance = Instance.objects.filter(pk=life.pk).first()
            if instance is None or life.deletes >= MOST_DELETES:
                del self._lives[life]
                continue
            self._lives[life] = self._go_on(life, instance)
        while len(self._lives) < self._most_lives:
            made: list[int] = []
            operation_id = self._open("instance create", lambda key, made=made: self._create(key, made))
            pk = made[0] if made else int(Operation.objects.get(pk=operation_id).resource_pk)
            self._lives[Life(pk, self.choice.randint(1, 6))] = operation_id

    def _create(self, key: str, made: list[int]) -> Operation:
        made.clear()
        with transaction.atomic():
            instance = Instance.objects.create(
                tenant=self.tenant, name=f"server-{key}", flavor=self._flavor, image=self._image
            )
            Volume.objects.create(
                tenant=self.tenant, name=f"boot-{key}", size=1, image=self._image, bootable=True, instance=instance
            )
            port = Port.objects.create(
                tenant=self.tenant,
                name=f"port-{key}",
                network=self._subnet.network,
                subnet=self._subnet,
                instance=instance,
            )
            if self.choice.random() < 0.25:
                FloatingIP.objects.create(
                    tenant=self.tenant, port=port, external_network_id=self.tenant.external_network_id
                )
            operation = InstanceCreateExecutor.execute(instance, flavor=self._flavor, idempotency_key=key)
        made.append(instance.pk)
        return operation

    def _go_on(self, life: Life, instance: Instance) -> uuid.UUID | None:
        """Choose what comes next in an instance's life."""
        if life.wishes <= 0 or instance.state == ResourceState.ERRED:
            life.deletes += 1
            return self._act("instance delete", InstanceDeleteExecutor, instance)
        life.wishes -= 1
        volume = Volume.objects.filter(pk=life.volume).first() if life.volume is not None else None
        if volume is not None and volume.state == ResourceState.OK:
            life.volume = None
            if volume.device:
                return self._act("instance volume detach", VolumeDetachExecutor, volume)
            life.volume, life.wishes = volume.pk, life.wishes + 1
            return self._act("instance volume attach", VolumeAttachExecutor, volume, server=instance)
        wish = self.choice.choice(["power", "power", "pull", "volume"])
        if wish == "volume":
            return self._create_volume(life)
        if wish == "pull":
            return self._act("instance pull", InstancePullExecutor, instance)
        if instance.runtime_state == "SHUTOFF":
            return self._act("instance start", InstanceStartExecutor, instance)
        return self._act("instance stop", InstanceStopExecutor, instance)

    def _create_volume(self, life: Life) -> uuid.UUID | None:
        made: list[int] = []

        def create(key: str) -> Operation:
            made.clear()
            with transaction.atomic():
                volume = Volume.objects.create(tenant=self.tenant, name=f"data-{key}", size=1)
                operation = VolumeCreateExecutor.execute(volume, idempotency_key=key)
            made.append(volume.pk)
            return operation

        operation_id = self._open("instance volume create", create)
        life.volume = made[0] if made else int(Operation.objects.get(pk=operation_id).resource_pk)
        life.wishes += 2
        return operation_id

    def _act(self, kind: str, executor: Any, resource: Any, **kwargs: Any) -> uuid.UUID | None:
        def execute(key: str) -> Operation:
            resource.refresh_from_db()
            return executor.execute(resource, idempotency_key=key, **kwargs)

        return self._open(kind, execute)

    # -- boxes --------------------------------------------------------------------------------------------------------

    def _turn_of_boxes(self, busy: set[uuid.UUID]) -> None:
        for pk, operation_id in list(self._boxes.items()):
            if operation_id in busy:
                continue
            box = Box.objects.filter(pk=pk).first()
            if box is None:
                del self._boxes[pk]
                continue
            self._boxes[pk] = self._change(box)
        while len(self._boxes) < self._most_boxes:
            made: list[int] = []

            def make(key: str, made: list[int] = made) -> Operation:
                made.clear()
                with transaction.atomic():
                    box = Box.objects.create(name=f"box-{key}")
                    operation = BoxMakeExecutor.execute(box, key=key, idempotency_key=key)
                made.append(box.pk)
                return operation

            operation_id = self._open("small make", make)
            pk = made[0] if made else int(Operation.objects.get(pk=operation_id).resource_pk)
            self._boxes[pk] = operation_id

    def _change(self, box: Box) -> uuid.UUID | None:
        shape = self.choice.choice([*SHAPES, "remove"])

        def execute(key: str) -> Operation:
            box.refresh_from_db()
            if shape == "remove":
                return BoxRemoveExecutor.execute(box, key=key, idempotency_key=key)
            other = None
            if shape == "nested":
                other = Box.objects.create(name=f"inner-{key}", state=ResourceState.OK)
            return BoxChangeExecutor.execute(
                box, updated_fields=["name"], shape=shape, key=key, other=other, idempotency_key=key
            )

        return self._open(f"small {shape}", execute)
