# What people and CI run. `make` alone lists it. Everything it needs it sets up itself: see README.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
HOST ?= redis-gateway
LAB ?= main
PYTEST_OPTIONS ?=
# Containers are root's. What is run so keeps its lab's cache in root's home.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

.DEFAULT_GOAL := help
.PHONY: help setup system check test fast hosts vms soak rehearse lab-up lab-down lab-ssh lab-status bench golden monitoring lock

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + \
		sys.version.split()[0] + ": name another by make PYTHON=...")'
	@.ci/packages python3-venv
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "making the Python environment: once, about a minute (its log: $(VENV)/setup.log)" >&2
	@$(RUN) -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.txt >$(VENV)/setup.log 2>&1 || \
		{ tail -n 15 $(VENV)/setup.log >&2; echo "pip failed, all of it: $(VENV)/setup.log" >&2; exit 1; }
	@touch $@

setup: $(VENV)/.ready ## the Python environment, from the locked requirements

system: setup
	@.ci/packages $$($(RUN) -m tests.lab packages)

check: setup ## lint, formatting, imports and types
	$(VENV)/bin/shellcheck templates/scripts/*.sh templates/backup/*.sh .ci/*
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy

fast: setup ## the tests that need no host: seconds
	$(VENV)/bin/pytest tests/unit tests/golden tests/plan tests/copies/test_changes.py $(PYTEST_OPTIONS)

hosts: system ## the tests on containers: minutes, needs root
	$(AS_ROOT) $(VENV)/bin/pytest tests/hosts -m "hosts and not vm and not soak" $(PYTEST_OPTIONS)

vms: system ## the tests on virtual machines: minutes
	$(VENV)/bin/pytest tests/hosts -m "vm and not soak" $(PYTEST_OPTIONS)

test: system check ## everything but the long tables of soak, side by side: what CI runs
	$(AS_ROOT) $(RUN) -m tests.side_by_side $(PYTEST_OPTIONS)

soak: system ## the long tables: a fault at every operation, a whole rehearsal; an hour
	$(AS_ROOT) $(VENV)/bin/pytest -m soak $(PYTEST_OPTIONS)

rehearse: system ## boot throw-away VMs, deploy, drill, verify; REHEARSAL=--help
	$(RUN) -m tests.lab.rehearsal $(REHEARSAL)

lab-up: system ## containers with the production addresses, until lab-down; several by LAB=name
	@$(AS_ROOT) $(RUN) -m tests.lab --lab $(LAB) up

lab-down: system ## remove the container hosts
	@$(AS_ROOT) $(RUN) -m tests.lab --lab $(LAB) down

lab-ssh: system ## a shell on a container host: make lab-ssh HOST=redis-crypto
	@$(AS_ROOT) $(RUN) -m tests.lab --lab $(LAB) ssh $(HOST)

lab-status: system ## the labs of this machine and their hosts
	@$(AS_ROOT) $(RUN) -m tests.lab status

bench: system ## how long a deploy with nothing to do takes, and what fences, metrics and status cost
	$(AS_ROOT) $(RUN) -m tests.bench
	$(AS_ROOT) $(RUN) -m tests.bench.clients
	$(AS_ROOT) $(RUN) -m tests.bench.backups
	$(AS_ROOT) $(RUN) -m tests.bench.metrics
	$(AS_ROOT) $(RUN) -m tests.bench.status

golden: setup ## write the rendered files anew after a wanted change
	$(RUN) -m tests.golden.update

monitoring: setup ## write monitoring/ anew after a change of tasks/reports/alerts.py or dashboard.py
	$(RUN) -m tasks.reports.alerts >monitoring/alerts.yaml
	$(RUN) -m tasks.reports.dashboard >monitoring/dashboard.json

lock: setup ## pin the newest allowed versions of all requirements
	$(RUN) -m pip install --quiet pip-tools
	$(VENV)/bin/pip-compile $(LOCK) --upgrade -o requirements.txt pyproject.toml
	$(VENV)/bin/pip-compile $(LOCK) --upgrade --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	$(VENV)/bin/pip-compile $(LOCK) --upgrade -o tests/hosts/moto/requirements.txt tests/hosts/moto/requirements.in
	$(VENV)/bin/pip-compile $(LOCK) --upgrade -o tests/hosts/grafana/requirements.txt tests/hosts/grafana/requirements.in
	cd tests/hosts/ioredis && npm update --package-lock-only --no-progress

LOCK := --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header \
	--no-annotate --no-emit-options --allow-unsafe
