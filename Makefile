# Everything a change needs, on a machine with Python 3.11+ and make.
#
#   make run    VQE for H2 and LiH on the embedded service
#   make test   what a change must pass: format, lint, layers, types, docs, tests
#   make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Clients from before 2024 do not install on later Pythons than this.
LEGACY := 0.11.3 0.15.1
LEGACY_PYTHON ?= python3.11
SOURCES := prefect_qiskit_runtime flows tests docs

# `make run` and the tests keep their Prefect database and embedded service to themselves.
RUN_ENV := PREFECT_HOME=$(CURDIR)/.run/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false \
	PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120

.DEFAULT_GOAL := help
.PHONY: help run test check format test-fast test-all clients bench molecules docs docs-serve serve requirements clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements-dev.txt pyproject.toml
	@echo "Installing into $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

run: $(READY)  ## VQE for H2 and LiH as runtime programs, streamed into a Prefect flow
	@mkdir -p .run/prefect
	@$(RUN_ENV) $(BIN)/python flows/vqe.py
	@echo "Its jobs: PREFECT_HOME=.run/prefect $(BIN)/prefect-qiskit-runtime jobs ls"

test: check docs test-fast  ## Everything a change must pass

check: $(READY)  ## Format, lint, spelling, layers, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/pyright

test-fast: $(READY)  ## The tests without the slow ones
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: $(READY)  ## All tests
	$(BIN)/python -m pytest

clients: $(READY) $(LEGACY:%=.run/clients/%/.ready)  ## IBM's own clients, of several generations, against the service
	$(BIN)/python -m pytest tests/clients
	@for version in $(LEGACY); do \
		echo "qiskit-ibm-runtime $$version"; \
		SERVICE_PYTHON=$(CURDIR)/$(BIN)/python .run/clients/$$version/bin/python -m pytest \
			-c tests/clients/legacy/pytest.ini tests/clients/legacy || exit 1; \
	done

.run/clients/%/.ready: tests/clients/legacy/requirements-%.txt
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(LEGACY_PYTHON) $(@D) && \
		uv pip install --quiet --python $(@D)/bin/python -r $< \
			--build-constraints tests/clients/legacy/build-constraints.txt; \
	else \
		$(LEGACY_PYTHON) -m venv $(@D) && \
		PIP_CONSTRAINT=tests/clients/legacy/build-constraints.txt $(@D)/bin/python -m pip install \
			--quiet --disable-pip-version-check -r $<; \
	fi
	@touch $@

bench: $(READY)  ## Benchmarks, as ratios against plain qiskit in the same run
	$(BIN)/python tests/benchmarks

molecules:  ## Compute the shipped molecules again with PySCF and compare
	$(PYTHON) -m venv .run/chemistry
	.run/chemistry/bin/pip install --quiet --upgrade pip
	.run/chemistry/bin/pip install --quiet --group chemistry
	.run/chemistry/bin/python flows/generate_molecules.py --check

docs: $(READY)  ## Build the documentation strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(READY)  ## Read the documentation in a browser
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

format: $(READY)  ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(READY)  ## Start a Prefect server with its UI and keep it in the foreground
	@mkdir -p .run/prefect
	@$(RUN_ENV) $(BIN)/prefect server start

requirements:  ## Pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make requirements" --quiet -o requirements.txt
	uv pip compile pyproject.toml --group dev --constraint requirements.txt --universal \
		--python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make requirements" --quiet -o requirements-dev.txt

clean:  ## Remove what make made
	rm -rf $(VENV) .run site .pytest_cache .ruff_cache
