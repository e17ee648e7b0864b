# `make` lists the targets. Tools are called as modules: a script's first line can't hold a path
# with a space in it, `python -m` can.
SHELL := /bin/sh
PY := .venv/bin/python
PIP := -m pip --disable-pip-version-check --quiet
# where this is set, each of a thousand processes that tests start compiles the library for itself
unexport PYTHONDONTWRITEBYTECODE
# tests run in as many processes as there are cores; one that has run its share takes of another's
# make test PYTEST_FLAGS='-x --lf' gives pytest these instead
PYTEST_FLAGS ?= --numprocesses logical --maxprocesses 8 --dist worksteal
# make PYTHON=/path/to/python takes that one and no other
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11 python)
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# the version of each package in development, and the lowest ones that pyproject.toml allows
LOCK := requirements/dev.txt
OLDEST := requirements/oldest.txt
# what has an environment of its own, by the name of its group in pyproject.toml
GROUPS := bench docs packaging
COMPILE := .venvs/lock/bin/python -m uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --upgrade --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
# the longest first: two run at a time
LINTS := lint-types lint-typing lint-rules lint-format lint-imports
.PHONY: help demo check test test-all test-engines test-newest test-oldest lint $(LINTS) docs wheel-test lock bench bench-compare bench-glance attack soak campaign chaos clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1|/p' Makefile | while IFS='|' read -r name what; \
	do printf '  make %-14s %s\n' "$$name" "$$what"; done

demo: .venv/installed ## index the standard library on local workers, and on one thread
	$(PY) examples/index_sources.py --compare --workers 2

check: lint ## run all checks and the tests that aren't slow
	$(PY) -m pytest -m 'not slow' $(PYTEST_FLAGS)

test: lint ## run all checks and the whole test suite
	$(PY) -m pytest $(PYTEST_FLAGS)

lint: .venv/installed-dev ## format, lint, types, import contracts
	@$(MAKE) --no-print-directory --jobs 2 $(LINTS)

lint-types: ; $(PY) -m mypy
lint-typing: ; $(PY) -m pyright --pythonpath $(PY)
lint-rules: ; $(PY) -m ruff check .
lint-format: ; $(PY) -m ruff format --check .
lint-imports: ; $(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

test-all: ## run the suite under every CPython from 3.11 that is found
	@PYTHON='$(PYTHON)' PYTEST_FLAGS='$(PYTEST_FLAGS)' sh tests/every_python.sh $(LOCK)

test-engines: .venv/installed-dev ## run the tests that need ssh, Slurm, MPI; install these, if root on Debian
	sh tests/engines/run.sh $(PY) $(ENGINES_FLAGS)

test-newest: .venv/bin/python ## run the suite with the newest packages that pyproject.toml allows
	$(PY) -m venv --clear .venvs/newest
	.venvs/newest/bin/python $(PIP) install --editable '.[dev]'
	.venvs/newest/bin/python -m pytest $(PYTEST_FLAGS)

test-oldest: ## run the suite with the lowest packages that pyproject.toml allows, on Python 3.11
	@PYTHON='$(PYTHON)' PYTEST_FLAGS='$(PYTEST_FLAGS)' sh tests/every_python.sh $(OLDEST) 3.11

docs: .venvs/docs/installed ## build the documentation site in site/, strictly
	NO_MKDOCS_2_WARNING=1 .venvs/docs/bin/python -m mkdocs build --strict

wheel-test: .venv/installed-dev .venvs/packaging/installed ## build sdist and wheel, and try the wheel in a fresh environment
	sh tests/wheel/run.sh $(PY) .venvs/packaging/bin/python

lock: .venv/bin/python ## renew the locked versions of all packages
	@[ -x .venvs/lock/bin/python ] || $(PY) -m venv .venvs/lock
	.venvs/lock/bin/python $(PIP) install 'uv>=0.13'
	$(COMPILE) pyproject.toml --extra dev --output-file $(LOCK)
	$(COMPILE) pyproject.toml --extra dev --output-file $(OLDEST) --resolution lowest-direct
	for group in $(GROUPS); do \
	$(COMPILE) $$([ "$$group" != bench ] || echo pyproject.toml) --group "$$group" \
	--output-file "requirements/$$group.txt" || exit 1; done

# as the locked environment has no distio, the work tree is where it is imported from
BENCH := PYTHONPATH='$(CURDIR):$(CURDIR)/worker' .venvs/bench/bin/python -m
bench: .venvs/bench/installed ## measure distio beside its peers, and write benchmarks/report.md; QUICK=1: a first look
	$(BENCH) benchmarks $(if $(QUICK),--quick --to build/bench) $(BENCH_FLAGS)

# make bench-compare REV=v1 BENCH_FLAGS='round-trip tiny-calls' asks these questions alone
bench-compare: .venvs/bench/installed ## compare the work tree with the commit REV, in turns
	@[ -n '$(REV)' ] || { echo 'Name a commit: make bench-compare REV=HEAD' >&2; exit 1; }
	$(BENCH) benchmarks --against '$(REV)' $(if $(QUICK),--quick) $(BENCH_FLAGS)

bench-glance: .venvs/bench/installed ## print the table of README, measured anew
	$(BENCH) benchmarks.glance $(BENCH_FLAGS)

attack: .venv/installed-dev ## let attackers and liars do a hundred times as much as in the suite
	TESTS_ATTACK=100 TESTS_LIARS=500 $(PY) -m pytest -s tests/processes/test_attacks.py tests/coordination/test_liars.py

soak: .venv/installed-dev ## let a server run for five minutes on threads, and on a cluster: is its memory flat?
	$(PY) benchmarks/soak.py --seconds 300

# make campaign N=100000 simulates so many schedules of each small program, and generated programs
N ?= 10000
campaign: .venv/installed-dev ## simulate N schedules of each program that a lost worker must not harm
	CAMPAIGN=$(N) $(PY) -m pytest $(PYTEST_FLAGS) tests/simulation/test_recovering.py
	$(PY) -m pytest $(PYTEST_FLAGS) --seeds $(N) tests/simulation/test_generated_simulation.py tests/simulation/test_talking_simulation.py \
	tests/simulation/test_everything_dies.py

chaos: .venv/installed-dev ## kill 200 workers, 50 coordinators, 20 whole programs: is each Result right?
	CHAOS_KILLS=$${CHAOS_KILLS:-200} CHAOS_COORDINATOR_KILLS=$${CHAOS_COORDINATOR_KILLS:-50} \
	CHAOS_WHOLE_KILLS=$${CHAOS_WHOLE_KILLS:-10} $(PY) -m pytest tests/processes/test_chaos.py \
	tests/processes/test_cut_networks.py tests/processes/test_whole_programs.py $(CHAOS_FLAGS)

clean: ## remove environments and caches
	rm -rf .venv .venvs dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@for python in $(CANDIDATES); do \
	if "$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	"$$python" -m venv .venv && exit 0; \
	rm -rf .venv; exit 1; fi; done; \
	echo 'No Python from 3.11 found; install one, or name it: make PYTHON=/path/to/python' >&2; exit 1

.venv/installed: pyproject.toml | .venv/bin/python
	$(PY) $(PIP) install --editable .
	@touch .venv/installed

.venv/installed-dev: pyproject.toml $(LOCK) | .venv/bin/python
	sh tests/install_locked.sh $(PY) $(LOCK)
	@touch .venv/installed-dev .venv/installed

.venvs/%/installed: requirements/%.txt | .venv/bin/python
	$(PY) -m venv --clear .venvs/$*
	.venvs/$*/bin/python $(PIP) install --require-hashes --requirement $<
	@touch $@
