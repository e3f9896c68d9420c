# `make train` and `make test` work on a fresh machine: each sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
# Two more than there are cores: tests on a cluster wait more than they compute.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)

.PHONY: train test format

train: .venv/ready
	$(BIN)/python launch.py $(ARGS)

test: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

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
