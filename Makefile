# Two commands: `make run` starts a server, `make test` runs everything that CI runs.
# Both need Python 3.11 or newer, make and git, and nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
GOLDEN := .golden

.PHONY: run test fuzz check bench bench-engine golden starters langflow-fixtures screenshots clean

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

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.http
	$(BIN)/python -m benchmarks.stream

# Pictures of every page, by day, by night and on a phone; needs Chromium.
screenshots: $(VENV)/.test
	$(BIN)/python -m tests.e2e.pages.screenshots

# The engine beside lfx, Langflow's own executor; needs a network the first time.
bench-engine: $(VENV)/.test $(GOLDEN)/.made
	$(BIN)/python -m benchmarks.engine $(GOLDEN)

# Record again what Langflow's own executor answers; needs a network, and an environment of its own.
golden: $(GOLDEN)/.made
	$(GOLDEN)/bin/python tests/golden/record.py $(GOLDEN)/langflow-1.5.1/langflow/initial_setup/starter_projects

# The table of Langflow's starter projects: which of them run here.
starters: $(VENV)/.test $(GOLDEN)/.projects
	$(BIN)/python -m benchmarks.starters $(GOLDEN)

# Make the databases of tests/moving again, with real Langflows of both ages; needs a network and PostgreSQL's tools.
langflow-fixtures: $(VENV)/.test $(GOLDEN)/langflow-0.5.1-env/.made $(GOLDEN)/langflow-1.13.0-env/.made
	$(BIN)/python tests/moving/make_fixtures.py $(GOLDEN)

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
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
