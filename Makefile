# `make train`, `make check` and `make test` work on a fresh machine: each sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
CORES := $(shell getconf _NPROCESSORS_ONLN)
# Two more than there are cores: tests on a cluster wait more than they compute.
WORKERS := $(shell expr $(CORES) + 2)

.PHONY: train check test figures lint system test-next format

train: .venv/ready
	$(BIN)/python launch.py $(ARGS)

# Under a minute on two cores.
check: lint
	$(BIN)/pytest -m "not slow" --numprocesses $(CORES)

test:
	$(PYTHON) tests/system.py --if-root
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

# Every table and figure of the papers in small, trained in full: do they show what the papers show?
# About half an hour on two cores.
figures: .venv/ready-dev
	$(BIN)/pytest -m figures tests/sweep/test_effects.py

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# What the tests need beside Python: a SLURM and a browser. Once for a machine, as root.
system:
	$(PYTHON) tests/system.py

# The fast tests with the newest release of everything, bounds or not: what will break soon?
# pip takes OmegaConf 2.4 beside Hydra 1.3, which does not want it, only without dependencies.
test-next: NEXT := $(shell mktemp -d)
test-next:
	$(PYTHON) -m venv $(NEXT)
	$(NEXT)/bin/pip install --quiet --editable '.[dev]'
	$(NEXT)/bin/pip install --quiet --upgrade hydra-core submitit wandb
	$(NEXT)/bin/pip install --quiet --upgrade --no-deps omegaconf
	$(NEXT)/bin/pip list
	$(NEXT)/bin/pytest -m "not slow" --numprocesses $(CORES); status=$$?; rm -r $(NEXT); exit $$status

format: .venv/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compiled by all cores at once; what packages hold for another Python fails, and is of no use here.
.venv/ready: EXTRAS := [all]
.venv/ready-dev: EXTRAS := [dev]
.venv/ready .venv/ready-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.$(EXTRAS)'
	$(BIN)/python -m compileall -qq --workers 0 .venv/lib || true
	touch .venv/ready $@
