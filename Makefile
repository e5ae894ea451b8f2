# Everything a change needs, on a machine with Python 3.11+ and make.
#
#   make run    VQE for H2 and LiH on the embedded service
#   make test   what a change must pass: format, lint, layers, types, docs, tests
#   make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/.runnable
READY := $(VENV)/.ready
# The lists are whole, so nothing is to be resolved: pip 23 would go past the pins of extras.
ifneq ($(shell command -v uv 2>/dev/null),)
CREATE := uv venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL := uv pip install --quiet --python $(BIN)/python --no-deps
else
CREATE := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
endif
# Clients with separate environments, and the folder of tests/ibm_clients that each runs.
CLIENTS := runtime-0.11.3:legacy runtime-0.15.1:legacy ibmq-0.20.2:ibmq prefect-qiskit-0.2.1:foreign
# The rooms that touch Qiskit, without what came later than the floor (docs/reference/clients.md says what).
FLOOR := tests/codec tests/program tests/tasks/test_primitives.py tests/ibm \
	tests/ibm_clients/test_today.py tests/ibm_clients/test_sessions.py \
	tests/ibm_clients/test_today_surface.py \
	--ignore tests/program/test_executor.py \
	-k "not quantum_program and not of_its_type[QuantumCircuit] and not have_their_times" \
	-W "ignore:The ParameterVector:UserWarning" \
	-W "ignore:Treating CircuitInstruction:DeprecationWarning"
CLIENT_ENVIRONMENT := $(PYTHON) tests/ibm_clients/environments.py
# Program sources that IBM published, and the environment of an image of their time.
PUBLISHED := .run/published/.ready
OLD_IMAGE := image-qiskit-0.45
SOURCES := prefect_qiskit_runtime flows tests docs

# `make run` and the tests keep their Prefect database and embedded service to themselves.
RUN_ENV := PREFECT_HOME=$(CURDIR)/.run/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false \
	PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120

.DEFAULT_GOAL := help
.PHONY: help run test check format test-fast test-all test-browser test-legacy clients task-runners crashes browser fuzz bench molecules docs docs-serve serve requirements clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# What the package needs is half of what its development needs.
$(RUNNABLE): requirements.txt pyproject.toml
	@echo "Installing into $(VENV), once; it may take some minutes ..."
	@$(CREATE)
	@$(INSTALL) -r requirements.txt
	@$(INSTALL) -e .
	@touch $@

$(READY): requirements-dev.txt $(RUNNABLE)
	@echo "Installing what development needs into $(VENV) ..."
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

run: $(RUNNABLE)  ## VQE for H2 and LiH as runtime programs, streamed into a Prefect flow
	@mkdir -p .run/prefect
	@$(RUN_ENV) $(BIN)/python flows/vqe.py
	@echo "Its jobs: PREFECT_HOME=.run/prefect $(BIN)/prefect-qiskit-runtime jobs ls"

test: check docs test-fast test-browser test-legacy  ## Everything a change must pass

check: $(READY)  ## Format, lint, spelling, layers, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/pyright

test-fast: $(READY) $(PUBLISHED)  ## The tests without the slow ones
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --ignore tests/browser

test-all: $(READY) $(PUBLISHED)  ## All tests
	@$(CLIENT_ENVIRONMENT) $(OLD_IMAGE)
	$(BIN)/python -m pytest

clients: $(READY) $(PUBLISHED)  ## IBM's own clients, of several generations, against the service
	@$(CLIENT_ENVIRONMENT) $(OLD_IMAGE)
	SURFACE=whole $(BIN)/python -m pytest tests/ibm_clients
	@set -e; for client in $(CLIENTS); do \
		name=$${client%%:*}; suite=tests/ibm_clients/$${client##*:}; \
		$(CLIENT_ENVIRONMENT) $$name; \
		echo "$$name"; \
		SURFACE=whole SERVICE_PYTHON=$(CURDIR)/$(BIN)/python \
			PUBLISHED=$(CURDIR)/$(dir $(PUBLISHED)) \
			OLD_IMAGE=$(CURDIR)/.run/clients/$(OLD_IMAGE)/bin/python \
			.run/clients/$$name/bin/python -m pytest -c $$suite/pytest.ini $$suite; \
	done
	@$(CLIENT_ENVIRONMENT) floor
	.run/clients/floor/bin/python -m pytest -m "not slow" $(FLOOR)

test-legacy: $(READY)  ## A sample of what qiskit-ibm-runtime 0.15.1 does against the service
	@$(CLIENT_ENVIRONMENT) runtime-0.15.1; made=$$?; \
	if [ $$made = 3 ]; then echo "The tests of qiskit-ibm-runtime 0.15.1 are skipped."; exit 0; fi; \
	if [ $$made != 0 ]; then exit $$made; fi; \
	SERVICE_PYTHON=$(CURDIR)/$(BIN)/python .run/clients/runtime-0.15.1/bin/python -m pytest -q \
		-c tests/ibm_clients/legacy/pytest.ini tests/ibm_clients/legacy/test_legacy.py -k ibm_quantum

test-browser: $(READY)  ## A sample of the UI in a real browser, which is installed where that may be done
	@tests/browser/install_chromium.sh; installed=$$?; \
	if [ $$installed = 3 ]; then echo "The tests in a browser are skipped."; exit 0; fi; \
	if [ $$installed != 0 ]; then exit $$installed; fi; \
	$(BIN)/python -m pytest -q -m "not slow" tests/browser

task-runners: $(READY)  ## The example flows on workers of Dask and of Ray, in other processes
	@$(CLIENT_ENVIRONMENT) task-runners
	.run/clients/task-runners/bin/python -m pytest tests/task_runners

crashes: $(READY)  ## Kill flows at each of their steps and count the jobs that were paid
	@$(CLIENT_ENVIRONMENT) prefect-qiskit-0.2.1
	$(BIN)/python -m pytest tests/crashes tests/deployments
	$(BIN)/python -m tests.crashes.matrix $(CRASHES)

browser: $(READY)  ## The UI of `make serve` in a real browser: forms, progress, plots; takes the pictures of docs/images
	@tests/browser/install_chromium.sh
	SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/browser

fuzz: $(READY)  ## Random circuits, requests, damaged texts and changed answers of IBM, in large numbers
	FUZZ_EXAMPLES=300 $(BIN)/python -m pytest tests/service/test_openapi.py tests/program/test_any_circuit.py --timeout 3600
	FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest tests/codec/test_random_circuits.py --timeout 3600
	FUZZ_EXAMPLES=20000 $(BIN)/python -m pytest tests/codec/test_decoder_fuzz.py --timeout 3600
	FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest tests/ibm/test_any_answer.py --timeout 3600
	FUZZ_EXAMPLES=100 $(BIN)/python -m pytest tests/ibm/test_calls_with_any_answer.py --timeout 3600

# The wheel has them beside the client of that time; none of it is installed into an environment.
$(PUBLISHED): tests/ibm_clients/published.txt $(READY)
	@$(INSTALL) --require-hashes --upgrade --target $(@D) -r $<
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

serve: $(READY)  ## A Prefect server with its UI, the blocks, and the flows of prefect.yaml (Ctrl-C ends it)
	@mkdir -p .run/prefect
	@$(RUN_ENV) $(BIN)/python flows/serve.py

requirements:  ## Pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make requirements" --quiet -o requirements.txt
	uv pip compile pyproject.toml --group dev --constraint requirements.txt --universal \
		--python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make requirements" --quiet -o requirements-dev.txt
	for file in tests/ibm_clients/requirements/*.in; do \
		extra=; case $$file in \
			*/floor.in) extra="pyproject.toml --resolution lowest-direct";; \
			*/task-runners.in) extra="pyproject.toml --group examples --constraint requirements-dev.txt";; \
		esac; \
		uv pip compile $$file $$extra --universal --python-version 3.11 --generate-hashes --upgrade \
			--build-constraints tests/ibm_clients/requirements/build.txt \
			--custom-compile-command "make requirements" --quiet -o $${file%.in}.txt || exit 1; \
	done

clean:  ## Remove what make made
	rm -rf $(VENV) .run site .pytest_cache .ruff_cache
