# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check bench nodemailer soak servers lock audit generated clean

help:
	@echo "make demo       set up, then send the sample newsletter through the embedded sandbox"
	@echo "make test       set up, then run everything: lint, types, layers, spelling, tests, coverage"
	@echo "make test-fast  the tests that need no mail server and no browser, in less than a minute"
	@echo "make check      lint, types, layers and spelling only"
	@echo "make bench      the speed of the hot path, beside other mailers"
	@echo "make soak       thousands of kills, and a minute of fuzzing for each parser"
	@echo "make generated  write what is made from the code anew: help, tables and schema in docs, man page, completions"
	@echo "make lock       write requirements-dev.txt anew: every version with its hashes"
	@echo "make audit      look for known vulnerabilities in the installed packages"
	@echo "make clean      remove what the others made"

# --without-pip and `pip --python` (22.3): Debian's python3 has no ensurepip unless python3-venv is installed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mailer needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." \
	         "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null || \
	  { echo "mailer needs pip 22.3 or newer for its set-up; on Debian: apt-get install python3-pip" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)

# Installs the package in place with the extras that are named, for .venv/.ready-EXTRAS.
INSTALL = $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --editable

$(VENV)/.ready-all: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[all]'
	@touch $@

$(VENV)/.ready-dev: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[all,dev]'
	@touch $@ $(VENV)/.ready-all

$(VENV)/.ready-bench: pyproject.toml $(VENV)/.ready-dev
	$(INSTALL) '.[all,dev,bench]'
	@touch $@

setup: $(VENV)/.ready-dev

demo: $(VENV)/.ready-all
	$(BIN)/mailer send campaigns/newsletter.yaml --sandbox --report out/report.json --report out/report.html

test: setup servers check
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered

# What a change is tried with first: no server of Debian's, no browser, no soak. One process more than there are cores,
# because a test that waits for a socket or a disk leaves its core to another. Byte code is kept, whatever the environment
# says: each process and each command that a test starts would compile every module anew.
test-fast: setup
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $$(( $$(nproc) + 1 )) --dist worksteal -q --quick --ignore tests/servers --ignore tests/browser --ignore tests/faults --ignore tests/machines

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tests.prose

# What the tests against real programs need, from Debian's packages.
servers:
	sh tests/servers/install.sh

bench: $(VENV)/.ready-bench nodemailer
	$(BIN)/python -m benchmarks

# A contender of the benchmark. Without npm, or without a registry, its rows are left out.
nodemailer:
	@test -d benchmarks/contenders/node_modules/nodemailer || { cd benchmarks/contenders && \
	  npm install --no-package-lock --no-audit --no-fund --silent; } || \
	  echo "nodemailer could not be installed (npm): the benchmark continues without it" >&2

# pip-tools and pip-audit are no dependencies of the tests; they live in an environment of their own.
$(VENV)-tools/.ready: | $(BIN)/python
	$(PYTHON) -m venv --without-pip $(VENV)-tools
	$(PYTHON) -m pip --python $(VENV)-tools/bin/python install --quiet --disable-pip-version-check pip pip-tools pip-audit
	@touch $@

# Every extra but `all` and `bench`: `all` names the package itself, which has no hash.
lock: $(VENV)-tools/.ready
	CUSTOM_COMPILE_COMMAND="make lock" $(VENV)-tools/bin/pip-compile --quiet --generate-hashes --allow-unsafe --no-header \
	  --no-emit-find-links --no-emit-index-url --no-emit-trusted-host --no-emit-options --strip-extras --no-annotate \
	  $$($(BIN)/python -c 'import tomllib; print(*("--extra=" + name for name in \
	    tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"] if name not in ("all", "bench")))') \
	  --output-file requirements-dev.txt pyproject.toml

audit: $(VENV)-tools/.ready
	$(VENV)-tools/bin/pip-audit --require-hashes --disable-pip --requirement requirements-dev.txt

# What is made from the code: the help in docs/commands.md, the tables of docs/campaign.md, the schema beside the samples,
# the man page and the completions, which the wheel installs.
generated: setup
	$(BIN)/python -m tests.cli.help_blocks
	$(BIN)/python -m tests.campaign_page
	$(BIN)/mailer schema > campaigns/campaign.schema.json
	$(BIN)/python -m tests.cli.manual

soak: setup servers
	$(BIN)/python -m tests.soak

clean:
	rm -rf $(VENV) $(VENV)-tools .venv-system out dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov benchmarks/contenders/node_modules
