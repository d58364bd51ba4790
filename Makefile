# Two commands on a fresh machine (python3 >= 3.11, pip, make): `make demo` and `make test`. `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE  # without byte code every import of torch takes four times as long
export WANDB_MODE ?= offline

PYTEST := $(BIN)/python -m pytest
N := 1000
SEED := 1
PARALLEL := -n 2 --dist worksteal
MKDOCS := NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs

.DEFAULT_GOAL := demo
.PHONY: help demo test test-all prove fuzz test-slurm test-gpu test-oldest test-newest check bench measure docs docs-serve docs-pictures install clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1:/p' Makefile | while IFS=: read -r name what; do printf '%-14s%s\n' "$$name" "$$what"; done

demo: $(VENV)/.installed  ## train a VAE on 8x8 digits and draw from it; about a minute
	$(BIN)/genlab fit vae/digits track.wandb=off
	$(BIN)/genlab sample vae/digits

test: $(VENV)/.installed-dev  ## what needs no GPU, no network and no long training: minutes on two cores
	$(PYTEST) $(PARALLEL)

test-all: $(VENV)/.installed-dev  ## also every law over everything, long trainings included: up to three hours
	$(PYTEST) $(PARALLEL) -m "not prove and not slurm and not gpu and not benchmarks"

prove: $(VENV)/.installed-dev  ## long proofs: many kills, mutants, very many files; hours
	$(PYTEST) -m prove --timeout 0

test-slurm: $(VENV)/.installed-dev  ## on a real Slurm: needs root, slurm-wlm and munge
	$(PYTEST) -m slurm tests/slurm -rs

test-gpu: $(VENV)/.installed-dev  ## on this machine's GPUs; a report to send back in build/field
	@$(BIN)/genlab doctor --gpu --out build/field

test-oldest: $(VENV)/bin/uv  ## the tests with the oldest supported versions, in .venv-oldest
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-oldest
	$(BIN)/uv pip compile --quiet --python .venv-oldest/bin/python --resolution lowest-direct --extra test \
		pyproject.toml -o .venv-oldest/versions.txt
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python -r .venv-oldest/versions.txt
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --no-deps -e .
	.venv-oldest/bin/python -m pytest $(PARALLEL)

test-newest: $(VENV)/bin/uv  ## the tests with the newest versions of everything, in .venv-newest
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-newest
	$(BIN)/uv pip install --quiet --python .venv-newest/bin/python --upgrade -e '.[test]'
	.venv-newest/bin/python -m pytest $(PARALLEL)

fuzz: $(VENV)/.installed-dev  ## wrong recipes and command lines at random: make fuzz N=5000 SEED=1
	$(BIN)/python -m tests.fuzz recipes $(N) $(SEED)
	$(BIN)/python -m tests.fuzz lines $(N) $(SEED)

check: $(VENV)/.installed-dev  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev  ## ratios of speed; on an otherwise idle machine
	$(PYTEST) -m benchmarks -s

measure: $(VENV)/.installed-dev  ## train RECIPE with SEEDS seeds; write the results into its head
	$(BIN)/python -m tests.measure $(RECIPE) --seeds $(or $(SEEDS),5)

docs: $(VENV)/.installed-docs  ## the site in build/site, built strictly, and its checks
	$(MKDOCS) build
	$(PYTEST) -m site tests/docs
	@echo "open build/site/index.html in a browser, or call make docs-serve"

docs-serve: $(VENV)/.installed-docs  ## the site at localhost:8000, built anew as you write
	$(MKDOCS) serve --watch genlab --watch recipes

docs-pictures: $(VENV)/.installed-dev  ## the images of the site's pages of methods, trained anew: a quarter of an hour
	$(BIN)/python -m docs.builder.pictures

install: $(VENV)/.installed  ## genlab itself, editable, into .venv

$(VENV)/bin/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "genlab needs python >= 3.11: make PYTHON=python3.12"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[test,lint]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[docs]'
	touch $@

clean:  ## remove .venv and the caches of tools
	rm -rf $(VENV) build .venv-oldest .venv-newest .pytest_cache .mypy_cache .ruff_cache
