# Every target does its own set-up: a machine with Python (3.10 or newer) and make is enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
REAL := .venv/.real-libraries

# What the shell around make sets must not reach into .venv.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTEST_ADDOPTS PIP_USER PIP_TARGET PIP_REQUIRE_VIRTUALENV

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench reference fuzz kills

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## build .venv with everything in it

# The loaders of this repository: separate packages, which need nothing beyond what ioi-bench has. The template is left out.
PLUGINS := $(filter-out plugins/ioi-bench-example/,$(sort $(dir $(wildcard plugins/*/pyproject.toml))))

$(STAMP): pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(foreach plugin,$(PLUGINS),-e ./$(plugin))
	@touch $@

demo: $(STAMP) ## score a shipped SAE suite on the shipped model (the first time a few minutes, most of it set-up)
	$(BIN)/ioi-bench evaluate reference_saes/ioi-mini/topk-k3-s0 --prompts 1000

# Whose own files the loaders are tested against; nothing but the tests needs them.
$(REAL): $(STAMP) plugins/real-libraries.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r plugins/real-libraries.txt
	@touch $@

test: $(STAMP) $(REAL) ## lint, types, the floors, every test, coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --cov=ioi_bench --cov-report=term-missing:skip-covered

# Each step goes on where it was stopped. The suites here are replaced when all of it is done.
SWEEP := runs/reference
reference: $(STAMP) ## train, select and score the reference suites anew (hours on two cores: says how long first)
	$(BIN)/python reference_saes/estimate.py reference_saes/recipes/ioi-mini.toml $(SWEEP)
	$(BIN)/ioi-bench train reference_saes/recipes/ioi-mini.toml --out $(SWEEP) --resume
	rm -rf $(SWEEP)/selected
	$(BIN)/ioi-bench select $(SWEEP) --prompts 2000 --train-prompts 10000 --half
	$(BIN)/ioi-bench study post $(SWEEP) --out reference_saes
	rm -rf reference_saes/ioi-mini && cp -r $(SWEEP)/selected reference_saes/ioi-mini && rm reference_saes/ioi-mini/selection.csv
	$(BIN)/python reference_saes/manifest.py --cards $(SWEEP)
	$(BIN)/ioi-bench study half $(SWEEP) --out reference_saes/half.json

bench: $(STAMP) ## measure speed as ratios; writes benchmarks/latest.json
	$(BIN)/python -m benchmarks

# Of each target; `make fuzz SECONDS=60` lets atheris lead the inputs for so long (checked on Python 3.11).
INPUTS := 500
SECONDS :=
fuzz: $(STAMP) ## hostile inputs for every reader (minutes); with SECONDS=60 led by coverage, a minute a target
	$(if $(SECONDS),$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3')
	$(BIN)/python -W ignore tests/hostile --inputs $(INPUTS) $(if $(SECONDS),--seconds $(SECONDS))

kills: $(STAMP) ## kill -9 at 20 random moments of evaluate, train, select and all that is written (minutes)
	for work in evaluate cache train select save pull; do rm -rf runs/kills; \
		$(BIN)/python tests/hostile/hostile_kills.py $$work 20 0 runs/kills || exit 1; done; rm -rf runs/kills
