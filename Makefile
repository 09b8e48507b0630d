# Every target does its own set-up: a machine with Python (3.10 or newer) and make is enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# What the shell around make sets must not reach into .venv.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTEST_ADDOPTS PIP_USER PIP_TARGET PIP_REQUIRE_VIRTUALENV

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## build .venv with everything in it

# The plugins of this repository: separate packages, which need nothing beyond what ioi-bench has.
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))

$(STAMP): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(foreach plugin,$(PLUGINS),-e ./$(plugin))
	@touch $@

demo: $(STAMP) ## score a shipped SAE suite on the shipped model (the first time a few minutes, most of it set-up)
	$(BIN)/ioi-bench evaluate reference_saes/ioi-mini/topk --prompts 1000

test: $(STAMP) ## lint, types, the floors, every test, coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --cov=ioi_bench --cov-report=term-missing:skip-covered

bench: $(STAMP) ## measure speed as ratios; writes benchmarks/latest.json
	$(BIN)/python -m benchmarks
