"""Who takes part, as data. What each of them does is in a module of its own, which only its own processes import.

Such a module has:

- ``migrate()``: make tables besides Django's (optional);
- ``waiting()``: how many operations wait to be begun, by its own count;
- ``open_many(items, steps)``: start operations on many items at once, where it can (optional);
- ``prepare()``: forget messages of earlier runs (optional);
- ``open_operation(item, steps)``: start an operation on an item, in the caller's transaction;
- ``check(items, steps)``: raise unless its own books say that every operation ended well (optional).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["RIVALS", "Rival", "chosen"]

_ITEMS = "SELECT count(*) FROM workload_item WHERE state <> 'ok'"
_OPERATIONS = "SELECT count(*) FROM django_executors_operation WHERE finished_at IS NULL"
_CELERY = ("{python}", "-m", "celery", "-A", "benchmarks.celeryapp", "worker", "--concurrency=2", "--pool=prefork")


@dataclass(frozen=True)
class Rival:
    """One way to run operations of several steps."""

    name: str
    title: str
    module: str
    broker: str = ""
    baseline: str = ""
    workers: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    unfinished: str = _ITEMS


def _celery(name: str, title: str, module: str, broker: str, **options: str) -> Rival:
    ours = module == "ours"
    return Rival(
        name=name,
        title=title,
        module=f"benchmarks.rivals.{module}",
        broker=broker,
        baseline=f"chain-{broker}",
        workers=((*_CELERY, "--queues", "tasks"),),
        environment={"BENCH_BROKER": broker, "BENCH_TASKS": f"benchmarks.rivals.{module}", **options},
        unfinished=_OPERATIONS if ours else _ITEMS,
    )


_PERSISTENT = {"BENCH_PERSISTENT": "1"}
_LATE = {"BENCH_LATE": "1", **_PERSISTENT}

RIVALS: tuple[Rival, ...] = (
    _celery("ours-rabbitmq", "this engine, row-only steps", "ours", "rabbitmq", **_PERSISTENT),
    _celery("ours-backend-rabbitmq", "this engine, plain steps", "ours", "rabbitmq", BENCH_PLAIN="1", **_PERSISTENT),
    _celery("ours-closing-rabbitmq", "this engine, row-only, Celery's closing", "ours", "rabbitmq"),
    _celery("chain-rabbitmq", "Celery chain", "chain", "rabbitmq", **_PERSISTENT),
    _celery("chain-late-rabbitmq", "Celery chain, acks_late", "chain", "rabbitmq", **_LATE),
    _celery("chain-closing-rabbitmq", "Celery chain, closing connections", "chain", "rabbitmq"),
    _celery("ours-redis", "this engine, row-only steps", "ours", "redis", **_PERSISTENT),
    _celery("ours-backend-redis", "this engine, plain steps", "ours", "redis", BENCH_PLAIN="1", **_PERSISTENT),
    _celery("chain-redis", "Celery chain, results", "chain", "redis", BENCH_RESULTS="1", **_PERSISTENT),
    _celery("chain-late-redis", "Celery chain, results, acks_late", "chain", "redis", BENCH_RESULTS="1", **_LATE),
)


def _dramatiq(broker: str) -> Rival:
    module = "benchmarks.rivals.dramatiq_pipeline"
    return Rival(
        name=f"dramatiq-{broker}",
        title="Dramatiq pipeline",
        module=module,
        broker=broker,
        baseline=f"chain-{broker}",
        workers=(("{python}", "-m", "dramatiq", module, "--processes", "2", "--threads", "1"),),
        environment={"BENCH_BROKER": broker},
    )


def _limit(kind: str, title: str, *workers: str) -> Rival:
    module = "benchmarks.rivals.limits"
    return Rival(
        name=f"limit-{kind}",
        title=title,
        module=module,
        baseline="chain-rabbitmq",
        workers=tuple(("{python}", "-m", module, *worker.split()) for worker in workers),
    )


_PROCRASTINATE = ("{python}", "-m", "django", "procrastinate", "worker", "--queues", "steps", "--concurrency", "1")

RIVALS += (
    _dramatiq("rabbitmq"),
    _dramatiq("redis"),
    Rival(
        name="dbos",
        title="DBOS Transact",
        module="benchmarks.rivals.dbos_workflow",
        baseline="chain-rabbitmq",
        workers=(("{python}", "-m", "benchmarks.rivals.dbos_workflow"),) * 2,
        unfinished="SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'",
    ),
    Rival(
        name="procrastinate",
        title="procrastinate, a job per step",
        module="benchmarks.rivals.procrastinate_jobs",
        baseline="chain-rabbitmq",
        workers=(_PROCRASTINATE,) * 2,
        environment={
            "BENCH_APPS": "procrastinate.contrib.django",
            "BENCH_JOBS": "benchmarks.rivals.procrastinate_jobs",
        },
        unfinished="SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'",
    ),
    _limit("orm", "limit: loop, Django's ORM", "orm 0", "orm 1"),
    _limit("orm-shared", "limit: the same, a commit per operation", "orm-shared 0", "orm-shared 1"),
    _limit("psycopg", "limit: loop, psycopg", "psycopg 0", "psycopg 1"),
    _limit("pgbench", "limit: pgbench", "pgbench"),
)


def chosen(names: str) -> list[Rival]:
    """Return the rivals that a comma-separated list names, each by its name or the beginning of it; all when empty.

    Raises:
        ValueError: A name fits nobody.
    """
    wanted = [name.strip().replace("celery-", "chain-") for name in names.split(",") if name.strip()]
    for name in wanted:
        if not any(rival.name.startswith(name) for rival in RIVALS):
            raise ValueError(f"no rival {name!r}; there are {', '.join(rival.name for rival in RIVALS)}")
    exact = {rival.name for rival in RIVALS}
    return [
        rival
        for rival in RIVALS
        if not wanted
        or any(rival.name == name or (name not in exact and rival.name.startswith(name)) for name in wanted)
    ]
