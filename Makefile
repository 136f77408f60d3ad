# Two commands do everything: `make demo` and `make test`. Both prepare what they need in .venv and the
# user's cache folder, and touch nothing else. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.prepared
export PYTHONSAFEPATH := 1
# Tests and runbooks start hundreds of Python processes: without compiled files each compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-drills test-kubernetes test-fast check format lock clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(STAMP) ## Python packages into .venv, external programs into the user's cache folder
	@$(BIN)/huidu doctor --obtain --quiet

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "huidu needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "setup: Python packages into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: setup ## The main job on one machine: provision, prove under load, release, roll back
	@$(BIN)/huidu runbook run go-live $(ARGS)

# Tests with servers mostly wait: three at a time on two cores. Those with Kubernetes are only named (-rs): they
# share one control plane, so they have a target of their own.
test: setup check ## Checks and all tests but the longest drills and those with Kubernetes
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not server and not drill" -rs $(ARGS)
	@$(BIN)/python -m pytest -n 3 --dist loadfile -m "server and not drill" --durations=10 $(ARGS)

test-drills: setup ## The longest drills and enumerations of crashes, the judge's quick bench
	@$(BIN)/python -m pytest -n 3 --dist loadfile -m drill --durations=10 $(ARGS)

test-kubernetes: setup ## Tests with a real Kubernetes control plane (built once, 7 minutes)
	@$(BIN)/huidu doctor --obtain --quiet --kubernetes
	@$(BIN)/python -m pytest -m kubernetes --durations=10 tests/kubernetes $(ARGS)

test-fast: $(STAMP) ## The tests that need no server (under a minute on two cores)
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not server and not slow" $(ARGS)

check: $(STAMP) ## Lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## Pin the dependencies again (needs uv: pip install uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --extra local --extra har --extra kubernetes --extra dev pyproject.toml -o requirements.lock

clean: ## Remove the environment and the local state (stops the local stack first)
	@[ ! -x $(BIN)/huidu ] || $(BIN)/huidu stack down
	@rm -rf $(VENV) .huidu
