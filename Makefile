# make run    the gateway on 127.0.0.1:8080 with routing.yaml
# make test   the tests, and how much of the code they reach; ARGS=tests/rules for some of them
# make covered  what the last whole run reached of the rules, the adapters and the model: all of it
# make check  what must be clean: ruff, mypy, import-linter
# make bench  the figures, as ratios in one run
# make lock   both lock files anew (needs uv)

PYTHON ?= python3
BIN := .venv/bin
SPEAK := env PYTHONPATH=$(CURDIR) $(BIN)/python
WRAP = printf '\#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m gateway "$$@"\n' '$(CURDIR)' '$(CURDIR)/$(BIN)/python' > $(BIN)/tocsin && chmod +x $(BIN)/tocsin

.PHONY: run test covered check bench lock clean

run: .venv/ready
	@$(SPEAK) -m gateway serve --quickstart

test: .venv/ready-dev
	@$(SPEAK) -m pytest $(if $(ARGS),$(ARGS),--cov --cov-report=term:skip-covered --cov-fail-under=95)
	@$(if $(ARGS),true,$(MAKE) --no-print-directory covered)

covered: .venv/ready-dev
	@$(BIN)/coverage report --include='gateway/rules/*,gateway/model.py,adapters/*' --skip-covered --show-missing --fail-under=100

check: .venv/ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@env PYTHONPATH=$(CURDIR) $(BIN)/lint-imports

bench: .venv/ready-dev
	@$(SPEAK) -m bench $(ARGS)

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -o requirements.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -o requirements-dev.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tocsin needs Python 3.11 or newer; found: $$($(PYTHON) --version). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { v=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); echo "Python's venv is not complete here; install it first: apt install python$$v-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/ready: .venv/bin/python requirements.lock
	@echo "Installing what requirements.lock names …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(WRAP)
	@touch $@

.venv/ready-dev: .venv/bin/python requirements-dev.lock
	@echo "Installing what requirements-dev.lock names …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(WRAP)
	@touch $@ .venv/ready
