# Everything runs in one environment, .venv, which each target sets up when it is missing or old.
PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test lint format docs venv clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    the whole story on the built-in scenes, with a report (ARGS=--quick: a minute)"
	@echo "make test    all tests (ARGS='-k projectors': some of them)"
	@echo "make lint    ruff, mypy, and the layers of imports"
	@echo "make format  mends what ruff can mend"
	@echo "make docs    the documentation, as pages in site/"
	@echo "make venv    only the environment"
	@echo "make clean   removes the environment and every cache"

demo: $(READY)
	$(BIN)/anyteacher demo $(ARGS)

# One thread a worker: the tests are many and small.
test: $(READY)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tables are made from the code; --strict takes a broken link for an error, but not with --quiet.
docs: $(READY)
	$(BIN)/python docs/tables.py
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html"

venv: $(READY)

# The stamp is written last, so that an installation cut short is done again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "anyteacher needs Python 3.10 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Setting up .venv, once: this takes a few minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,bench,dev,docs]' -c constraints.txt
	@touch $@

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
