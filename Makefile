# Everything a person or a machine does with this tree. `make` alone lists it.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
RUNTIME := .venv/.runtime
DEV := .venv/.dev
SELF := .venv/.self
TESTS ?= tests
PYTEST ?= $(BIN)/pytest
COMPILE := --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

.PHONY: help demo up services test test-unit lint format types layers check bench schema boards screenshots lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The runtime set alone is enough to run; the dev set contains it, with the same pins.
$(BIN)/python:
	$(PYTHON) -m venv .venv

$(RUNTIME): requirements.lock | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.lock
	touch $@

$(DEV): requirements-dev.lock | $(RUNTIME)
	$(PIP) install --require-hashes -r requirements-dev.lock
	touch $@

# Anew when a top-level package is added: the editable install lists them.
$(SELF): pyproject.toml $(wildcard liuhen.py */__init__.py) | $(RUNTIME)
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

.venv: $(DEV) $(SELF) ## the virtual environment with everything, from the lock

demo: $(RUNTIME) $(SELF) ## simulated recorders and cameras, embedded, nothing to configure
	$(BIN)/liuhen demo $(ARGS)

up: $(RUNTIME) $(SELF) ## everything in one process, embedded
	$(BIN)/liuhen up $(ARGS)

services: ## fetch what the tests run for real: Kafka, MinIO, Prometheus, PostgreSQL, Chromium …
	scripts/fetch-services
	$(PYTHON) -m tests.services.samples

test: $(DEV) $(SELF) services ## all tests, on real services; TESTS=path for some
	PYTEST='$(PYTEST)' scripts/run-tests $(TESTS)

test-unit: $(DEV) $(SELF) ## the tests that need no service
	$(PYTEST) -m "not (kafka or minio or postgres or prometheus or browser or gstreamer or docker or faults)" $(TESTS)

lint: $(DEV) $(SELF) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV) $(SELF) ## put the format right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) $(SELF) ## mypy, strict
	$(BIN)/mypy

layers: $(DEV) $(SELF) ## imports only go down
	PYTHONPATH=. $(BIN)/lint-imports

check: lint types layers ## lint, types and layers

bench: $(DEV) $(SELF) services ## the benchmarks, each beside a peer
	for benchmark in benchmarks/bench_*.py; do $(BIN)/python -m "benchmarks.$$(basename "$$benchmark" .py)" $(ARGS); done

schema: $(DEV) $(SELF) ## write docs/reference anew from the code
	$(BIN)/python -m domain.schema docs/reference

boards: $(DEV) $(SELF) ## write the boards of Grafana anew from the code
	$(BIN)/python -m dashboards.boards dashboards/grafana

screenshots: $(DEV) $(SELF) services ## take the pictures of the guide anew
	$(BIN)/python -m tests.screenshots docs/guide $(ARGS)
	$(BIN)/python -m tests.screenshots_desks docs/guide

lock: ## resolve the dependencies anew
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip --quiet --disable-pip-version-check install uv
	.venv-lock/bin/uv pip compile $(COMPILE) --upgrade -o requirements.lock requirements.in pyproject.toml
	.venv-lock/bin/uv pip compile $(COMPILE) --upgrade -c requirements.lock --extra dev -o requirements-dev.lock requirements.in pyproject.toml
	rm -rf .venv-lock

clean: ## remove what was made here; the cache of services stays
	rm -rf .venv .venv-lock build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
