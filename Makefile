# Targets: setup demo test check bench docs lock clean. Everything is installed into .venv; a second run is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench docs lock clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP) ## install everything from the hashed lock into .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "trustseg needs Python >= 3.11, got $$($(PYTHON) --version); set PYTHON=python3.12, say"; exit 2; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "no virtual environment could be made; install Python's venv module"; exit 2; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## generate chest X-rays, train 2 heads x 3 regimes, attack, measure, write report.html
	$(BIN)/trustseg demo

test: setup check ## lint, types, import rules and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

check: setup ## lint, format, types, import rules, spelling
	$(BIN)/ruff check src tests scripts benchmarks
	$(BIN)/ruff format --check src tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell src tests scripts benchmarks docs README.md CHANGELOG.md Makefile experiments/

bench: setup ## measure speeds as ratios in one run
	$(BIN)/python benchmarks/ratios.py

docs: setup ## make the figures of the docs again
	$(BIN)/python scripts/phantom_sheet.py
	$(BIN)/python scripts/shift_sheet.py

lock: setup ## resolve the dependencies again
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--extra dev --extra tensorboard pyproject.toml -o requirements.lock

clean: ## remove what make and the tools made, not runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info
