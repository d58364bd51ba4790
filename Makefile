# Two commands on a fresh machine (python3 >= 3.11, pip, make): `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE  # without byte code every import of torch takes four times as long
export WANDB_MODE ?= offline

.PHONY: demo test test-all test-slurm check bench install clean

demo: $(VENV)/.installed  ## train a VAE on 8x8 digits and draw from it; about a minute
	$(BIN)/genlab fit vae/digits track.wandb=off
	$(BIN)/genlab sample vae/digits

test: $(VENV)/.installed-dev  ## everything that needs no GPU, no network and no long training
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(VENV)/.installed-dev  ## also the trainings of minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not slurm and not benchmarks"

test-slurm: $(VENV)/.installed-dev  ## on a real Slurm: needs root, slurm-wlm and munge
	$(BIN)/python -m pytest -m slurm tests/slurm -rs

check: $(VENV)/.installed-dev  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev  ## ratios of speed; on an otherwise idle machine
	$(BIN)/python -m pytest -m benchmarks -s

install: $(VENV)/.installed

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

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
