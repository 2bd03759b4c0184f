# Every target does the set-up it needs in .venv; a second call is instant.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help audit test bench lint soak lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# The environment is that of the lock, to the hash. Bytecode is compiled once, which halves every start.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "keras-audit needs Python 3.11 to 3.13, not %d.%d; try make PYTHON=python3.11 %s" % (*v, "audit"))'
	@echo "installing into .venv: some minutes, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if command -v uv >/dev/null 2>&1; then \
	    uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock && \
	    uv pip install --quiet --python $(BIN)/python --no-deps --editable . ; \
	else \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-compile -r requirements.lock && \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . && \
	    { $(BIN)/python -m compileall -q -j 0 $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') >/dev/null 2>&1 || true; } ; \
	fi
	@touch $@

audit: $(READY)  ## audit the bundled example: Adult income
	@$(BIN)/keras-audit run configs/adult_income.yaml || { code=$$?; [ $$code -eq 1 ] || exit $$code; }

# Two processes, a file's tests in one of them, the long files of flows first.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## run the tests, in two processes; PYTEST_ARGS= is one
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(READY)  ## measure speed on two cores, as ratios within one run; writes docs/performance.md
	@$(BIN)/python tests/bench/run.py

soak: $(READY)  ## run the long forms of the tests too
	@$(BIN)/python -m pytest --soak

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock:  ## resolve the dependencies again (needs uv)
	@uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --no-header --quiet --upgrade pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
