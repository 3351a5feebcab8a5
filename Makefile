# The commands that people and CI both use. A fresh machine needs make and Python 3.11; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
READY := $(VENV)/.ready
SERVICES = set -a && . ./var/services.env && set +a &&
ON_SERVICES = $(wildcard tests/integration tests/acceptance tests/crash)
PYTEST = $(VENV)/bin/pytest -n $${TEST_PROCESSES:-2} --dist worksteal $(ARGS)

.PHONY: help demo test test-sqlite test-postgres test-mariadb services chaos simulate bench lint format matrix lock clean

help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s%s\n", $$1, $$2}' Makefile

demo: $(READY) ## Run the main job on SQLite, a worker in this process and the simulator; ARGS=... goes to it.
	@$(VENV)/bin/python -m demo $(ARGS)

test: test-sqlite test-postgres test-mariadb ## Run every test, then those for services again; ARGS=... goes to pytest.

test-sqlite: $(READY) services ## Run every test on SQLite.
	$(SERVICES) $(PYTEST) tests

test-postgres: $(READY) services ## Run the tests that need a database on PostgreSQL, with RabbitMQ.
	@$(SERVICES) if [ -z "$$TEST_POSTGRES_URL" ]; then echo "no PostgreSQL here: skipped"; else set -x; \
	DATABASE_URL=$$TEST_POSTGRES_URL BROKER_URL=$${TEST_RABBITMQ_URL:-memory://} $(PYTEST) $(ON_SERVICES); fi

test-mariadb: $(READY) services ## Run the tests that drive the engine by hand on MariaDB.
	@$(SERVICES) if [ -z "$$TEST_MARIADB_URL" ]; then echo "no MariaDB here: skipped"; else set -x; \
	DATABASE_URL=$$TEST_MARIADB_URL $(PYTEST) tests/integration; fi

chaos: $(READY) ## Kill, stop, cut and flush while thousands of operations run; ARGS=--short takes two minutes.
	$(VENV)/bin/python -m tests.chaos $(ARGS)

simulate: $(READY) ## Try the engine on thousands of simulated schedules; ARGS=... goes to the simulation.
	$(VENV)/bin/python -m tests.simulation $(ARGS)

bench: $(BENCH)/.ready services ## Measure this engine beside its rivals; ARGS=... goes to the benchmarks.
	@$(SERVICES) $(BENCH)/bin/python -m benchmarks $(ARGS)

services: ## Find or start the databases and brokers for the tests; with CI=true all must be there.
	@$(PYTHON) scripts/services.py $(if $(filter true,$(CI)),--require)

lint: $(READY) ## Check style, formatting, types and the direction of imports.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## Format the code, and repair what ruff can repair.
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

matrix: $(READY) services ## Run the tests for each Django, Celery and database; ARGS=... goes to nox.
	$(SERVICES) $(VENV)/bin/nox $(ARGS)

lock: $(READY) ## Write requirements/*.txt anew from the *.in files; ARGS=--upgrade takes newer releases.
	@for name in dev django42 bench; do $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --annotation-style line $(ARGS) requirements/$$name.in --output-file requirements/$$name.txt; done

clean: ## Remove what the other commands made, except the environment in .venv.
	rm -rf var .nox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find src tests demo scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The environment: rebuilt only when the lock or the project's own metadata changes.
$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes -r requirements/dev.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The rivals are needed by the benchmarks alone.
$(BENCH)/.ready: requirements/bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --require-hashes -r requirements/bench.txt
	$(BENCH)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
