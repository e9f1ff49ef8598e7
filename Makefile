# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak servers clean

help:
	@echo "make demo   set up, then send the sample campaign through the embedded sandbox"
	@echo "make test   set up, then run everything: tests, types, lint, layers"
	@echo "make check  types, lint and layers only"
	@echo "make bench  the speed of the hot path, beside other mailers"
	@echo "make soak   thousands of kills and a minute of fuzzing a parser"

setup: $(READY)

# --without-pip and `pip --python`: works where Debian leaves ensurepip out of python3.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --editable '.[all,dev]'
	touch $(READY)

demo: setup
	$(BIN)/mailer send campaigns/newsletter.yaml --sandbox --report out/report.json --report out/report.html

servers:
	sh tests/servers/install.sh

test: setup servers check
	$(BIN)/pytest -n auto --cov --cov-report=term:skip-covered

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks

soak: setup
	$(BIN)/python -m tests.soak

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
