"""The matrix: each supported Django and Celery, on each database that is here. ``make matrix`` runs it."""

from __future__ import annotations

import os

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

LOCKS = {"4.2": "requirements/django42.txt", "5.2": "requirements/dev.txt"}
DATABASES = {
    "sqlite": None,  # the tests' own default
    "postgres": "TEST_POSTGRES_URL",
    "mariadb": "TEST_MARIADB_URL",
}


@nox.session
@nox.parametrize("celery", ["5.4", "5.5", "newest"], ids=["celery54", "celery55", "newest"])
@nox.parametrize("django", list(LOCKS), ids=["django42", "django52"])
def tests(session: nox.Session, django: str, celery: str) -> None:
    """``-- sqlite`` (postgres, mariadb) runs on that database alone; what follows a database goes to pytest."""
    session.install("--require-hashes", "-r", LOCKS[django])
    if celery != "newest":
        session.install(f"celery[redis]~={celery}.0")  # outside the lock: with whatever this release works with
    session.install("--no-deps", "--no-build-isolation", "-e", ".")

    wanted = [name for name in DATABASES if name in session.posargs] or list(DATABASES)
    arguments = [argument for argument in session.posargs if argument not in DATABASES]
    for name in wanted:
        variable = DATABASES[name]
        url = os.environ.get(variable, "") if variable else None
        if url == "":
            session.warn(f"no {name} here ({variable} is not set)")
            continue
        environment = {"TEST_DATABASE_NAME": "test_django_executors_matrix"}  # apart from a `make test` meanwhile
        if url:
            environment |= {"DATABASE_URL": url, "BROKER_URL": os.environ.get("TEST_RABBITMQ_URL", "memory://")}
        paths = ["tests/integration"] if url else ["tests/unit", "tests/integration"]
        processes = os.environ.get("TEST_PROCESSES", "2")
        session.run("pytest", "-n", processes, *arguments, *paths, env=environment)
