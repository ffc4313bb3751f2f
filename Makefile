# Everything runs in .venv; each target installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml hatch_build.py $(wildcard protos/watchword/*/v1/*.proto)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := services adapters tests deploy docs hatch_build.py
BASELINE := $(lastword $(sort $(wildcard protos/releases/*.binpb)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test test-long check static format lint types imports protos sql coverage generated bench bench-long clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Start a server, verify a number, check the receipt, stop
	@$(BIN)/watchword demo

run: $(VENV)/.run ## Serve in dev mode on 127.0.0.1:50051 until Ctrl-C
	@$(BIN)/watchword serve --dev

test: $(VENV)/.dev ## Run the test suite
	$(BIN)/pytest -n 2 --dist loadgroup -m "not long" --cov --cov-report=

test-long: $(VENV)/.dev ## Run what is too long for every change
	$(BIN)/pytest -m long

check: static test coverage ## Run everything that a change must pass

static: lint types imports protos sql ## Run every check that needs no test

format: $(VENV)/.dev ## Format code and protos
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix --select I $(CODE)
	$(BIN)/buf format -w

lint: $(VENV)/.dev ## Check format and style
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: $(VENV)/.dev ## Check types, strictly
	$(BIN)/mypy

imports: $(VENV)/.dev ## Check who may import whom
	$(BIN)/lint-imports

protos: $(VENV)/.dev ## Check the protocol: style, format, compatibility with the last release
	$(BIN)/buf lint
	$(BIN)/buf format -d --exit-code
	$(BIN)/buf breaking --against $(BASELINE)

sql: $(VENV)/.dev ## Check that the migrations lock nothing for long and break no older version
	$(BIN)/squawk adapters/watchword_adapters/stores/postgresql/migrations/*.sql

coverage: ## Show what the last test run covered; fails below the floor
	$(BIN)/coverage report --skip-covered --skip-empty

generated: $(VENV)/.dev ## Write the committed files that are generated: board, list of cases
	$(BIN)/python deploy/grafana/board.py
	$(BIN)/python docs/security_cases.py

bench: $(VENV)/.bench ## Measure the CPU of a verification beside two empty calls (twice 30 s)
	$(BIN)/watchword bench
	$(BIN)/watchword bench --store postgresql

bench-long: $(VENV)/.bench ## Measure memory after a million verifications
	$(BIN)/watchword bench --long

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(SOURCES) | $(VENV)/bin/python
	@echo "Installing Watchword into $(VENV) ..."
	@$(PIP) install -e '.[server,twilio,cli]'
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(VENV)/bin/python
	@echo "Installing Watchword and its development tools into $(VENV) ..."
	@$(PIP) install -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(SOURCES) | $(VENV)/bin/python
	@echo "Installing Watchword and its benchmark into $(VENV) ..."
	@$(PIP) install -e '.[server,postgresql,cli,bench]'
	@touch $@
