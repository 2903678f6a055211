# Everything runs in .venv, from the exact versions of constraints.txt. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= python3
# Where torch comes from. Empty: the CPU build. For CUDA (remove an older .venv first):
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?=
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)

# A python3 that is too old (or too new) is passed over, unless the user named one.
ifeq ($(origin PYTHON),file)
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11
else
PYTHONS := $(PYTHON)
endif

RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-quick test-all check docs fix clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-17s %s\n", $$1, $$2 }'

setup: $(DEV) ## install the package and its development tools into .venv

demo: $(RUNTIME) ## train on the embedded faces for 3 minutes and draw samples
	@$(BIN)/vaegan train faces --minutes 3
	@$(BIN)/vaegan sample runs/last -n 64 --seed 0 --out runs/last/samples.png
	@echo
	@echo "What happened: the package drew 8,300 comic faces. A VAE learned to squeeze each into 64 numbers and to draw it again from"
	@echo "them; then its decoder went on learning as the generator of a GAN, against two critics that tell drawn faces from made ones."
	@echo "One of them looks through a network that was trained on photographs. Three minutes are a start: glasses and even skin take more."
	@echo
	@echo "  64 new faces            runs/last/samples.png"
	@echo "  the model learning      runs/last/progress.webp (or .gif)"
	@echo "  ten minutes more        $(BIN)/vaegan train --resume runs/last --minutes 10"
	@echo "  your own images         $(BIN)/vaegan preview FOLDER, then $(BIN)/vaegan train FOLDER --minutes 4"

# Networks in tests are so small that a second thread of torch gains little: two processes of one thread each take 10 minutes for 15.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-quick: $(DEV) ## run the tests that take less than two minutes together
	@$(PYTEST) -m "not slow and not heavy"

test: $(DEV) ## run the tests
	@$(PYTEST)

test-all: $(DEV) ## run the tests, the slow ones too
	@$(PYTEST) -m ""

check: $(DEV) ## formatting, lint, types, layers, documentation
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright --warnings
	@$(BIN)/lint-imports
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build

docs: $(DEV) ## build the documentation into docs/_build
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build

fix: $(DEV) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: ## remove what was built and every cache of the tools; .venv and runs stay
	@rm -rf build dist docs/_build .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	@find src tests docs -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHONS); do \
	    if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
	        echo "Creating $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	        exit 0; \
	    fi; \
	done; \
	echo "vaegan needs Python 3.11, 3.12 or 3.13; none found as: $(PYTHONS). Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1

# Torch comes first and by itself: on Linux the default index's build brings gigabytes of CUDA packages, so the CPU
# build is asked for by name, from the user's own index if that has it and else from PyTorch's. Elsewhere the default
# build is already without CUDA. A torch of the right version that is already in .venv is left alone.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing torch $(TORCH_VERSION) and the packages that vaegan needs"
	@if $(BIN)/python -c 'import sys, importlib.metadata as m; sys.exit(m.version("torch").split("+")[0] != "$(TORCH_VERSION)")' 2>/dev/null; then \
	    :; \
	elif [ -n "$(TORCH_INDEX)" ]; then \
	    $(PIP) install --index-url "$(TORCH_INDEX)" "torch==$(TORCH_VERSION)"; \
	elif [ "$$(uname -s)" = Linux ]; then \
	    $(PIP) install -q -c constraints.txt "torch==$(TORCH_VERSION)+cpu" 2>/dev/null || \
	    $(PIP) install --index-url $(TORCH_CPU_INDEX) "torch==$(TORCH_VERSION)+cpu"; \
	else \
	    $(PIP) install -c constraints.txt "torch==$(TORCH_VERSION)"; \
	fi || { echo "torch $(TORCH_VERSION) could not be installed: check the network, or name an index that has it: make setup TORCH_INDEX=URL" >&2; exit 1; }
	@$(PIP) install -q -c constraints.txt setuptools
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e .
	@touch $@

$(DEV): $(RUNTIME)
	@echo "Installing the tools for tests, checks and documentation"
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[dev,docs,heif,hub,maps,onnx,parquet]"
	@touch $@
