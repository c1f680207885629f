# Kexian: the commands of the project. `make help` lists them.
# Everything that they install goes into .uv and .venv, everything that they build into _build; the
# packages that uv has fetched stay in its cache, for the next checkout (`.uv/bin/uv cache clean`).

PORT ?= 8888
BOOTSTRAP_PYTHON := $(or $(firstword $(foreach p,python3 python3.11 python,$(shell command -v $(p) 2>/dev/null))),$(shell command -v "$(PYTHON)" 2>/dev/null))
BIN := .venv/bin
export PYTHON

.PHONY: help book html pdf test lint lab clean distclean setup

help:  ## Show this list.
	@echo "Kexian, an executable companion to Scientific Spaces (kexue.fm)"
	@sed -n 's/^\([a-z]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST)

setup:  ## Set up .venv from the lock file (the other commands do it, too).
	@test -n "$(BOOTSTRAP_PYTHON)" || { echo "kexian: Python 3.11 is missing; install it (Debian: sudo apt-get install python3 python3-venv)." >&2; exit 3; }
	@"$(BOOTSTRAP_PYTHON)" tools/bootstrap.py

book: setup  ## Re-execute every notebook, build the HTML, print its first page. Goes on after an interruption.
	@$(BIN)/kexian run all
	@$(BIN)/kexian book --from runs

html: setup  ## Build the HTML from the stored outputs, without executing anything.
	@$(BIN)/kexian book --from stored

pdf: html  ## Print the book of the stored outputs into one PDF, _build/kexian.pdf (needs Chromium).
	@$(BIN)/kexian pdf

test: setup lint  ## Lint, then unit, notebook and book tests on all cores (KEXIAN_JOBS=1: on one).
	@$(BIN)/python tools/run_tests.py

lint: setup  ## Check style and formatting.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lab: setup  ## Open JupyterLab on the notebooks. Another port: make lab PORT=8890
	@$(BIN)/kexian lab --port $(PORT)

clean:  ## Remove what was built (_build and caches).
	rm -rf _build dist .pytest_cache .ruff_cache

distclean: clean  ## Remove the environment, too (.venv and .uv).
	rm -rf .venv .uv
