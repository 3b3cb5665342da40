# Two commands: `make run` starts a server, `make test` runs everything that CI runs.
# Both need Python 3.11 or newer, make and git, and nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
GOLDEN := .golden
SUPPLY := .supply
LOCK := docs/deployment/requirements.txt
BUILD_LOCK := docs/deployment/build-requirements.txt
LFX := .lfx

.PHONY: run test check fuzz bench bench-engine bench-keys bench-lfx soak lfx golden starters langflow-fixtures
.PHONY: screenshots lock locked sbom audit clean

run: $(VENV)/.run
	@LANGFLOW_CONFIG_DIR="$${LANGFLOW_CONFIG_DIR:-data}" exec $(BIN)/keyturn quickstart

# A file's tests stay together: they share servers, databases and the environments of clients.
test: check
	$(BIN)/pytest --numprocesses auto --dist loadfile

# What tries things at random, for long: EXAMPLES of each, or only FUZZ.
EXAMPLES ?= 1000
FUZZ ?= tests/fuzz
fuzz: $(VENV)/.test
	KEYTURN_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest $(FUZZ) --numprocesses auto --dist loadfile

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive service migrations wsgi.py

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.http
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.streams

# Whether a server still holds after 20,000 requests of every kind what it held after the first thousand, and no more.
soak: $(VENV)/.test
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.soak --database postgresql

# A key check among a thousand keys and among a million.
bench-keys: $(VENV)/.test
	$(BIN)/python -m benchmarks.keys
	$(BIN)/python -m benchmarks.keys --database postgresql

# Pictures of every page, by day, by night and on a phone; needs Chromium.
screenshots: $(VENV)/.test
	$(BIN)/python -m tests.e2e.pages.screenshots

# The engine beside lfx, Langflow's own executor; needs a network the first time.
bench-engine: $(VENV)/.test $(GOLDEN)/.made
	$(BIN)/python -m benchmarks.engine $(GOLDEN)

# What a run costs that goes to lfx in a process of its own.
bench-lfx: $(VENV)/.test
	$(BIN)/python -m benchmarks.lfx

# An environment with lfx, Langflow's own executor, for flows that the embedded engine cannot run: docs/lfx.md.
lfx: $(LFX)/.made
	@echo "KEYTURN_LFX_PYTHON=$(abspath $(LFX))/bin/python"

$(LFX)/.made:
	test -x $(LFX)/bin/python || $(PYTHON) -m venv $(LFX)
	$(LFX)/bin/python -m pip install --quiet --disable-pip-version-check lfx==1.13.0
	@touch $@

# Record again what Langflow's own executor answers; needs a network, and an environment of its own.
golden: $(GOLDEN)/.made
	$(GOLDEN)/bin/python tests/golden/record.py $(GOLDEN)/langflow-1.5.1/langflow/initial_setup/starter_projects

# The table of Langflow's starter projects: which of them run here.
starters: $(VENV)/.test $(GOLDEN)/.projects
	$(BIN)/python -m benchmarks.starters $(GOLDEN)

# Make the databases of tests/moving again, with real Langflows of both ages; needs a network and PostgreSQL's tools.
langflow-fixtures: $(VENV)/.test $(GOLDEN)/langflow-0.5.1-env/.made $(GOLDEN)/langflow-1.13.0-env/.made
	$(BIN)/python tests/moving/make_fixtures.py $(GOLDEN)

# Pin what a deployment installs, with hashes, for every Python from 3.11 on. Nothing younger than a week: what was
# slipped into a project's release has mostly been found by then.
lock: $(SUPPLY)/.made
	$(SUPPLY)/bin/uv pip compile setup.cfg --extra celery --extra redis --output-file $(LOCK) \
	  --upgrade --exclude-newer "7 days" --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	  --custom-compile-command "make lock"
	sed -n 's/^requires = \["\(setuptools.*\)"\]$$/\1/p' pyproject.toml | \
	$(SUPPLY)/bin/uv pip compile - --output-file $(BUILD_LOCK) \
	  --upgrade --exclude-newer "7 days" --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	  --custom-compile-command "make lock"

# Build and install with what is pinned alone, as the Containerfile does, and ask pip whether it fits together.
locked:
	rm -rf $(SUPPLY)-build $(SUPPLY)-locked build dist
	$(PYTHON) -m venv $(SUPPLY)-build
	$(SUPPLY)-build/bin/python -m pip install --quiet --require-hashes --requirement $(BUILD_LOCK)
	$(SUPPLY)-build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(PYTHON) -m venv $(SUPPLY)-locked
	$(SUPPLY)-locked/bin/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: --requirement $(LOCK)
	$(SUPPLY)-locked/bin/python -m pip install --quiet --no-deps --no-index dist/keyturn-*.whl
	$(SUPPLY)-locked/bin/python -m pip check
	$(SUPPLY)-locked/bin/keyturn --version

# The list of what that has installed, with licences and who needs whom, for scanners (CycloneDX).
sbom: $(SUPPLY)/.made locked
	$(SUPPLY)/bin/cyclonedx-py environment $(SUPPLY)-locked/bin/python --output-reproducible \
	  --output-file dist/keyturn.cdx.json
	$(SUPPLY)-locked/bin/python tests/deployment/compare_sbom.py dist/keyturn.cdx.json

# Known holes in what is pinned; asks PyPI's advisory service, and fails when that cannot tell.
audit: $(SUPPLY)/.made
	$(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes --requirement $(LOCK)

$(SUPPLY)/.made: Makefile
	test -x $(SUPPLY)/bin/python || $(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet 'uv>=0.9,<1' 'pip-audit>=2.9,<3' 'cyclonedx-bom>=7,<8'
	@touch $@

$(GOLDEN)/langflow-%-env/.made:
	mkdir -p $(GOLDEN)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet langflow-base==$* openai
	@touch $@

$(GOLDEN)/.projects:
	mkdir -p $(GOLDEN)
	$(PYTHON) -m pip download --quiet --no-deps --dest $(GOLDEN) langflow-base==1.13.0
	$(PYTHON) -m pip download --quiet --no-deps --dest $(GOLDEN) langflow-base==0.5.1
	$(PYTHON) -m zipfile -e $(GOLDEN)/langflow_base-1.13.0-py3-none-any.whl $(GOLDEN)/langflow-1.13.0
	$(PYTHON) -m zipfile -e $(GOLDEN)/langflow_base-0.5.1-py3-none-any.whl $(GOLDEN)/langflow-1.5.1
	@touch $@

$(GOLDEN)/.made: $(GOLDEN)/.projects tests/golden/requirements.txt
	test -x $(GOLDEN)/bin/python || $(PYTHON) -m venv $(GOLDEN)
	$(GOLDEN)/bin/python -m pip install --quiet --requirement tests/golden/requirements.txt
	@touch $@

$(VENV)/.run: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Keyturn needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) $(SUPPLY)* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
