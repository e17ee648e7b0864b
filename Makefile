# `make` lists the targets. Tools are called as modules: a script's first line can't hold a path
# with a space in it, `python -m` can.
SHELL := /bin/sh
PY := .venv/bin/python
# make PYTHON=/path/to/python takes that one and no other
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python)
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# tests run in as many processes as there are cores; one that has run its share takes of another's
SHARED_OUT := --numprocesses logical --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1|/p' Makefile | while IFS='|' read -r name what; \
	do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: .venv/installed ## index the standard library on local workers, and on one thread
	$(PY) examples/index_sources.py --compare --workers 2

test: lint ## run all checks and the whole test suite
	$(PY) -m pytest $(SHARED_OUT)

lint: .venv/installed-dev ## format, lint, types, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

test-all: ## run the suite under every CPython from 3.11 that is found
	@PYTHON='$(PYTHON)' sh tests/every_python.sh $(SHARED_OUT)

bench: .venv/installed-dev ## run the benchmarks
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(PY) "$$file" || exit 1; done

clean: ## remove environments and caches
	rm -rf .venv .venvs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@for python in $(CANDIDATES); do \
	if "$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	"$$python" -m venv .venv && exit 0; \
	rm -rf .venv; exit 1; fi; done; \
	echo 'No Python from 3.11 found; install one, or name it: make PYTHON=/path/to/python' >&2; exit 1

.venv/installed: pyproject.toml | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch .venv/installed

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch .venv/installed-dev .venv/installed
