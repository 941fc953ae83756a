# `make help` lists what there is. Everything lands in .venv, dist and .services; nothing else is touched.
# ARGS is passed on:  make run ARGS="--port 9000"   make test ARGS="tests/web -k ranges"

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# -qq: errors only, not the warnings about every index that lacks a package.

.DEFAULT_GOAL := help
.PHONY: help run test test-all torture torture-uploads torture-backups seeded-faults fuzz contract check fmt bench screenshots wheel lock sbom audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed ## start the appliance on 127.0.0.1:8080, with ./data
	@exec $(BIN)/appliance serve $(ARGS)

# Most tests wait for a server, a browser or a disk: three at a time take half as long on two cores.
test: $(VENV)/.installed-dev ## run the tests; those that miss a service are skipped, and named
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

test-all: export APPLIANCE_TEST_ALL := 1
test-all: test ## run the thorough tests too; twice as long

# The long form of the torture suite; half an hour. KILLS=200 is shorter.
KILLS ?= 1000
torture: export APPLIANCE_TEST_TORTURE_KILLS := $(KILLS)
torture: $(VENV)/.installed-dev ## kill the server 1,000 times and more, and look for what was lost
	$(BIN)/python -m pytest tests/torture $(ARGS)

seeded-faults: $(VENV)/.installed-dev ## put faults into a copy and see that the tests catch each
	$(BIN)/python scripts/seeded-faults $(ARGS)

EXAMPLES ?= 100
contract: export APPLIANCE_TEST_EXAMPLES := $(EXAMPLES)
contract: $(VENV)/.installed-dev ## make a hundred requests of each operation, and hold the answers to /openapi.json
	$(BIN)/python -m pytest tests/contract $(ARGS)

torture-uploads: export APPLIANCE_TEST_TRANSFERS ?= 500
torture-uploads: $(VENV)/.installed-dev ## cut 500 uploads at random bytes, and look whether all arrive
	$(BIN)/python -m pytest -s tests/acceptance/test_cut_uploads.py $(ARGS)

torture-backups: export APPLIANCE_TEST_BACKUPS ?= 50
torture-backups: $(VENV)/.installed-dev ## back up a loaded appliance 50 times, and restore each
	$(BIN)/python -m pytest -s tests/acceptance/test_backup.py -k under_load $(ARGS)

FILES ?= 10000
fuzz: export APPLIANCE_TEST_FUZZ := $(FILES)
fuzz: $(VENV)/.installed-dev ## damage 10,000 files of every kind, and see that each ends well
	$(BIN)/python -m pytest tests/fuzz $(ARGS)

check: $(VENV)/.installed-dev ## lint, format, types, layers, lock files, known holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_locks.py
	@$(MAKE) --no-print-directory audit

fmt: $(VENV)/.installed-dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev ## measure against the peers and its own goals; ONLY=queue runs one
	$(BIN)/python -m bench $(ONLY) $(ARGS)

screenshots: export PATH := $(CURDIR)/$(BIN):$(PATH)
screenshots: $(VENV)/.installed-dev ## take the pictures of the docs from the running pages
	scripts/screenshots $(ARGS)

# By way of the source distribution, so that it is known to be complete.
wheel: $(VENV)/.installed ## build the wheel and the source distribution into dist
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m hatchling build --target sdist --directory dist
	$(PIP) wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist dist/*.tar.gz
	@ls dist/*.whl

# The pins stay as they are where pyproject.toml allows it; make lock ARGS=--upgrade takes the newest.
# The development lock holds everything and is solved first; the others are cut from it.
COMPILE = $(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate
lock: $(VENV)/uv/bin/uv ## bring the lock files up to date with pyproject.toml
	$(COMPILE) $(ARGS) pyproject.toml --all-extras --group dev --output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --all-extras --constraint requirements-dev.lock --output-file requirements-image.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements-build.lock
	$(COMPILE) --group supply --constraint requirements-dev.lock --output-file requirements-supply.lock

# What the image installs, by name, version and hash; for whoever has to know what runs with them.
sbom: $(VENV)/supply/.installed ## write the bill of materials (CycloneDX) to dist/sbom.json
	@mkdir -p dist
	$(VENV)/supply/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application \
	  --output-reproducible --output-format JSON --output-file dist/sbom.json requirements-image.lock

audit: $(VENV)/supply/.installed ## look for known holes in what is pinned; needs the network
	@$(BIN)/python scripts/audit $(VENV)/supply/bin/pip-audit requirements-dev.lock

clean: ## remove what these targets made; ./data stays
	@test ! -d .services || scripts/services stop
	rm -rf $(VENV) .services dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find appliance tests scripts bench -name __pycache__ -prune -exec rm -rf {} +

# --- the virtual environment. The stamps make a second start immediate; a changed lock file or
# pyproject.toml installs again. The build tools are pinned too, so the build is not isolated.

SETTINGS := requirements.lock requirements-build.lock pyproject.toml

$(VENV)/.installed: $(SETTINGS) | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes a minute."
	@$(PIP) install -qq --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(SETTINGS) | $(BIN)/python
	@echo "Installing into $(VENV), with the development tools; the first time takes a minute."
	@$(PIP) install -qq --require-hashes -r requirements-dev.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $(VENV)/.installed $@

$(VENV)/supply/.installed: requirements-supply.lock | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)/supply
	@$(VENV)/supply/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -r requirements-supply.lock
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Where a newer one has another name:  make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON)' can make no virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }

$(VENV)/uv/bin/uv: | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip install --quiet uv
