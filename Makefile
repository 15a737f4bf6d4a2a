# Two commands matter: `make demo` shows Tule at work, `make test` proves it. Everything installs itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: help install demo test check soak bench lock clean

help: ## show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tule needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

install: $(STAMP) ## install Tule into .venv; leaves .venv/bin/tule

demo: install ## start Tule, deploy examples/orders, place orders and show what became of them
	$(BIN)/python examples/orders/demo.py

test: $(DEV_STAMP) ## run the whole test suite; WORKERS=n processes at once
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(DEV_STAMP) ## formatting, lint, types and import contracts
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(DEV_STAMP) ## the fault suites at full length: about an hour
	TULE_SOAK=1 $(BIN)/python -m pytest -m faults

bench: $(DEV_STAMP) ## every table of figures, one after the other
	$(BIN)/python -m bench

lock: $(DEV_STAMP) ## write the lock files anew from pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --extra postgresql --extra node --extra build -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --extra postgresql --extra node --extra build --extra dev -o requirements-dev.lock pyproject.toml

clean: ## remove what was installed and built
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
