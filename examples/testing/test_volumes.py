import pytest

from django_executors.testing import assert_transcript, crash_everywhere, transcript
from examples.testing.models import Volume, VolumeCreateExecutor

pytestmark = pytest.mark.django_db


def test_a_volume_is_created(run_operation, storage):
    volume = Volume.objects.create(name="data-1")
    operation = run_operation(VolumeCreateExecutor.execute(volume))
    volume.refresh_from_db()
    assert (operation.state, volume.state, volume.runtime_state) == ("succeeded", "ok", "available")
    assert list(storage.objects) == [volume.backend_id]


def test_a_slow_volume_is_waited_for(run_operation, storage):
    storage.will("show_volume", "creating", "creating")
    operation = run_operation(VolumeCreateExecutor.execute(Volume.objects.create(name="data-1")))
    assert_transcript(
        operation,
        [
            "create_volume: running, succeeded",
            "pull_runtime_state: waited, succeeded",
            "set_ok: running, succeeded",
            "succeeded",
        ],
    )


def test_a_cloud_that_is_away_for_a_moment_is_tried_again(run_operation, storage):
    storage.unavailable("create_volume", times=2)
    operation = run_operation(VolumeCreateExecutor.execute(Volume.objects.create(name="data-1")))
    words = ["running", "retried", "running", "retried", "running", "succeeded"]
    assert transcript(operation, step="create_volume") == words


def test_a_lost_answer_makes_no_second_volume(run_operation, storage):
    storage.lose_answer("create_volume")
    operation = run_operation(VolumeCreateExecutor.execute(Volume.objects.create(name="data-1")))
    assert operation.state == "succeeded"
    assert len(storage.objects) == 1
    storage.assert_one_object_per_key()


def test_a_crash_anywhere_makes_no_second_volume_and_loses_none(storage, executors_clock):
    def execute():
        storage.objects.clear()
        return VolumeCreateExecutor.execute(Volume.objects.create(name="data-1"))

    def check(operation):
        volume = operation.resource
        assert (operation.state, volume.state) == ("succeeded", "ok")
        assert list(storage.objects) == [volume.backend_id]

    crashes = crash_everywhere(execute, check)
    assert len(crashes) >= 8


@pytest.mark.django_db(transaction=True)
def test_lost_and_doubled_messages_only_delay(executors_broker, storage):
    executors_broker.lose = 0.5
    executors_broker.duplicate = 0.5
    operation = VolumeCreateExecutor.execute(Volume.objects.create(name="data-1"))
    operation = executors_broker.run(operation)
    assert operation.state == "succeeded"
    assert storage.count("create_volume") == 1
