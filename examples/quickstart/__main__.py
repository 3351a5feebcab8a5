"""Run it: ``python -m examples.quickstart``. A database in memory, no broker, no worker."""

import django
from celery import Celery
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django_executors", "examples.quickstart"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
app = Celery("quickstart", broker="memory://")
app.set_default()
django.setup()

from examples.quickstart.models import Volume, VolumeCreateExecutor  # noqa: E402 - after the set-up

call_command("migrate", run_syncdb=True, verbosity=0)
volume = Volume.objects.create(name="data-1")
operation = VolumeCreateExecutor.execute(volume, is_async=False)
volume.refresh_from_db()

print(f"{operation}: {operation.state}")
for step in operation.steps.exclude(phase="failure"):
    print(f"  {step.position + 1} {step.name}: {step.get_state_display()}")
print(f"{volume.name} is {volume.state}, {volume.runtime_state}, {volume.backend_id}")
