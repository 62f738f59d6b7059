# Needs make and Python >= 3.11; everything else is installed into .venv. Stamp files there make a second call instant.

# The first Python here that is new enough; `make PYTHON=/path/to/python train` decides otherwise.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python; done) python3)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: help train test check conformance bench clean
.DELETE_ON_ERROR:

help:
	@echo "make train        install into .venv, train the embedded policy to use tools, write runs/tools-0/report.html"
	@echo "make test         install the tools for development too, run the whole test suite"
	@echo "make check        style, types and layers: ruff, mypy, import-linter"
	@echo "make conformance  the official MCP conformance suite, both protocol revisions (needs npm)"
	@echo "make bench        measure every promised number beside its peer"
	@echo "make clean        remove .venv, caches and build results; runs/ is kept"

train: $(VENV)/.train
	$(BIN)/palaestra train tools

# One thread per process: the suite is parallel already, a file at a time so that what a file sets up is set up once.
# The summary names every skipped test and why it was skipped.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The suite and the Node it runs on are pinned with their hashes; none of their install scripts is run.
conformance: $(VENV)/.dev
	npm ci --prefix tests/conformance --ignore-scripts --no-audit --no-fund --loglevel=error
	@test -x tests/conformance/node_modules/.bin/node || { echo "the suite's Node is pinned for Linux on x64 and arm64" \
		"only; this is $$(uname -sm)" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s tests/conformance/test_official_suite.py

bench: $(VENV)/.bench
	@for name in $$($(BIN)/python -c 'from palaestra.benchmarks.catalog import CATALOG; print(*CATALOG)'); do \
		$(BIN)/palaestra bench "$$name" || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist htmlcov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
		tests/conformance/node_modules .coverage .coverage.* src/palaestra.egg-info
	find . -path ./runs -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Palaestra needs Python 3.11 or newer and '$(PYTHON)' is not (or is" \
		"missing). Name one: make PYTHON=/path/to/python3.11 train" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' lacks venv or ensurepip." \
		"On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(BIN)/pip
	@echo "Installing the trainer into $(VENV): one to three minutes, 1.5 GB with a CPU build of torch ..."
	@$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

# `dev` contains `train`, so `make train` after `make test` has nothing left to install.
$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	@echo "Installing the trainer and the development tools into $(VENV): two to four minutes ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/.train $@

$(VENV)/.bench: pyproject.toml | $(BIN)/pip
	@echo "Installing the peers benchmarks are measured beside into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[train,bench]'
	@touch $(VENV)/.train $@
