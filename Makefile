# make run    the gateway on 127.0.0.1:8080 with routing.yaml
# make test   the tests, and how much of the code they reach; ARGS=tests/rules for some of them
# make covered  what the last whole run reached of the rules, the adapters and the model: all of it
# make check  what must be clean: ruff, mypy, import-linter
# make bench  the figures, as ratios in one run of twenty minutes, into docs/proof; ARGS="--only a,b" for some parts
# make chaos  faults, played for real: at most an hour; ARGS="--only T1,T5" for some; writes docs/proof/faults.md
# make audit  what is publicly known against the pinned versions (needs a network that reaches pypi.org)
# make sbom   the bill of materials of what runs, in dist/
# make lock   the lock files anew (needs uv)

PYTHON ?= python3
# Most tests wait for something; a file is run by one process, from its top to its end. In the order of their names: by the
# number of their tests, the few that take a minute each would come last, one by one.
SIDE_BY_SIDE ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
SPEAK := env PYTHONPATH=$(CURDIR) $(BIN)/python
WRAP = printf '\#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m gateway "$$@"\n' '$(CURDIR)' '$(CURDIR)/$(BIN)/python' > $(BIN)/tocsin && chmod +x $(BIN)/tocsin

LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header
LOCKS := requirements.lock requirements-dev.lock requirements-audit.lock requirements-build.lock

.PHONY: run test covered check bench chaos audit sbom lock clean

run: .venv/ready
	@$(SPEAK) -m gateway serve --quickstart

test: .venv/ready-dev
	@$(SPEAK) -m pytest $(if $(ARGS),$(ARGS),$(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered --cov-fail-under=95)
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

chaos: .venv/ready-dev
	@$(SPEAK) -m chaos $(ARGS)

# A package that the service does not know is no good news: --strict.
audit: .venv-audit/ready
	@.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off $(LOCKS:%=-r %)

sbom: .venv-audit/ready
	@mkdir -p dist
	@PYTHONWARNINGS=ignore::UserWarning .venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o dist/tocsin.cdx.json requirements.lock
	@echo dist/tocsin.cdx.json

lock:
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) pyproject.toml --group dev -o requirements-dev.lock
	$(LOCK) --group audit -o requirements-audit.lock
	$(LOCK) --group build -o requirements-build.lock

clean:
	rm -rf .venv .venv-audit .mypy_cache .ruff_cache .pytest_cache .coverage

.venv-audit/ready: .venv/bin/python requirements-audit.lock
	@echo "Installing what requirements-audit.lock names …" >&2
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@

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
