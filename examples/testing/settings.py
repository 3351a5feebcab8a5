"""The least that Django and Celery need."""

SECRET_KEY = "for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_executors", "examples.testing"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "testing-example.sqlite3"}}
