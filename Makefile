# make reproduce   sets up an environment, then runs the whole DAG on the embedded data set
# make test        sets up an environment, then runs the tests
# Needs python3 (3.11, 3.12 or 3.13) and make; everything else goes into .venv.

PYTHON ?= python3
VENV ?= .venv
CORES ?= all
ifneq ($(words $(VENV)),1)
$(error VENV="$(VENV)": give a folder without spaces)
endif
ifeq ($(filter all,$(CORES))$(shell expr "$(CORES)" : '[1-9][0-9]*$$' | grep -v '^0$$'),)
$(error CORES="$(CORES)": give a number from 1, or all)
endif
BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
READY := $(VENV)/.ready
export PATH := $(BIN):$(PATH)
# What would put packages elsewhere, or another library or options in place of these.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONPATH PYTHONHOME SNAKEMAKE_PROFILE
# A container may have no name for the user, and no home or one that cannot be written.
export USER ?= $(firstword $(shell id -un 2>/dev/null; id -u))
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.home
$(shell mkdir -p "$(CURDIR)/.home")
endif
SNAKEMAKE := snakemake --workflow-profile workflow/profiles/local --cores $(CORES)

.PHONY: help reproduce test nightly lint format reference crate site bench clean
.DEFAULT_GOAL := help

help:
	@grep '^# make ' Makefile | cut -c3-

reproduce: $(READY)
	$(SNAKEMAKE)
	@python -m unlearning show --runs results/mini/runs.csv
	@echo "Everything on one page: results/mini/report.html"
	@echo "The paper:              results/mini/paper.pdf"
	@echo "Reported beside ours:   results/mini/audit.html"

test: $(READY)
	rm -rf results/reliability/test
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# make nightly     fuzzes what is read for long: more than 100,000 inputs
nightly: $(READY)
	rm -rf results/reliability/nightly
	UNLEARNING_NIGHTLY=1 python -m pytest --numprocesses auto --dist loadfile tests/test_fuzz_*.py

# make lint        style of Python and of the workflow, and which way imports point
lint: $(READY)
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow/rules
	lint-imports --no-logo --no-cache
	snakemake --lint

format: $(READY)
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow/rules

# make reference   takes results/mini into paper/reference/mini, with its tables and figures
reference: $(READY)
	python workflow/scripts/update_reference.py mini

# make crate       writes results/mini/crate, the run as a research object; FULL=1 with logits and models
crate: $(READY)
	$(SNAKEMAKE) $(if $(FULL),full_crate,crate)

# make site        builds the documentation as a site in .site/html, in an environment of its own
site: .venv-site/.ready
	.venv-site/bin/cffconvert --validate
	.venv-site/bin/python workflow/scripts/build_site.py

# make bench       measures and writes benchmarks/RESULTS.md; BENCH_ARGS="training duck" for parts
bench: $(READY)
	python benchmarks/run.py $(BENCH_ARGS)

# make clean       removes the environment; data, results and what made them (.snakemake) stay
clean:
	rm -rf $(VENV) .home .venv-site .site

.venv-site/.ready: requirements-docs.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --disable-pip-version-check --requirement requirements-docs.txt
	touch $@

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "needs Python 3.11, 3.12 or 3.13, found " + sys.version.split()[0] + "; name one with PYTHON=...")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "this Python lacks venv (on Debian: apt install python3-venv)"; exit 1; }
	@echo "Installing $$(grep -c == requirements.txt) packages into $(VENV): one to six minutes; 1.5 GB, or 6 GB where pip takes torch with CUDA."
	$(PYTHON) -m venv $(VENV)
	python -m pip install --disable-pip-version-check --requirement requirements.txt
	python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@test -x "$(BIN)/snakemake" || { echo "pip put the packages elsewhere than $(VENV): see $(BIN)/python -m pip config list"; exit 1; }
	touch $@
