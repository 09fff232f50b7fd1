# Two commands are enough: `make demo` to see litebert work, `make test` to see that it does.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# The demo needs no tools of the developer: where `.venv` is not made yet it gets a smaller environment of its own.
DEMO_VENV := $(if $(wildcard .venv/.installed),.venv,.venv-demo)

# pip's complaints about package folders it does not find are no news; its errors are shown and stop make.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
HUSH = 2> >(grep -v 'WARNING: Location .* is ignored' >&2 || true)

.PHONY: help setup demo demo-scratch test soak check format bench clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: .venv/.installed  ## Make .venv with every extra

demo: $(DEMO_VENV)/.installed  ## See it work: search, fine-tune, compare and predict with litebert-small
	@$(DEMO_VENV)/bin/python examples/demo

demo-scratch: $(DEMO_VENV)/.installed  ## See a tiny model made of nothing but text: pre-train, fine-tune, compare
	@$(DEMO_VENV)/bin/python examples/demo/scratch.py

test: setup  ## Run every test; set LITEBERT_DATA to run those on public data sets too
	@$(BIN)/python -m pytest -n 2 --dist loadfile

soak: setup  ## Kill runs sixty times and see that they end bit by bit as if nothing had happened
	@$(BIN)/python -m tests.soak

check: setup  ## Lint, types and the order of the rooms, in less than a minute
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_architecture.py

format: setup  ## Format the code and mend what ruff can mend by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# benchmarks/batches.py and mini.py measure a prepared folder and a run that you name: their first lines say how.
bench: setup  ## Measure tokenizer, sentence splitting and preparation on LITEBERT_DATA
	@for name in tokenizer sentences prepare; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

clean:  ## Remove environments, caches and the demo's output
	rm -rf .venv .venv-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output ./*.egg-info

.venv/.installed: EXTRAS := dev,peers,demo,tune
.venv-demo/.installed: EXTRAS := demo
.venv/.installed .venv-demo/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"litebert needs Python 3.11 or later, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11 ...")'
	@echo "Installing litebert into $(@D) (a few minutes the first time)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) '.[$(EXTRAS)]' $(HUSH)
	@touch $@
