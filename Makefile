# Two commands matter: `make demo` and `make test`. Each works on a fresh clone with git, make and Python 3.11+.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test test-faults check format docs bench screenshots wheel clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

# A stamp per set of packages: installed again only when what is asked for changes. CPU torch comes from PyTorch's own
# index where the machine has no NVIDIA card, so that a laptop does not fetch gigabytes of CUDA.
$(VENV)/train.stamp: pyproject.toml constraints.txt
	@scripts/install.sh "$(PYTHON)" "$(VENV)" train
	@touch $@

$(VENV)/dev.stamp: $(VENV)/train.stamp
	@scripts/install.sh "$(PYTHON)" "$(VENV)" train,dev
	@touch $@

demo: $(VENV)/train.stamp ## Train a LoRA on the photos in examples/photos, on this machine, in about three minutes
	@$(BIN)/fluxgym-tui demo $(DEMO_ARGS)

test: $(VENV)/dev.stamp ## Run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-faults: $(VENV)/dev.stamp ## Run the whole kill matrix: every process, every phase
	@$(BIN)/python -m pytest -m faults $(PYTEST_ARGS)

check: $(VENV)/dev.stamp ## Format, lint, types, import contracts, generated docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/make_docs.py --check

format: $(VENV)/dev.stamp ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/dev.stamp ## Write the generated pages of docs/
	@$(BIN)/python scripts/make_docs.py

bench: $(VENV)/dev.stamp ## Measure the speed budgets and write docs/performance.md
	@$(BIN)/python scripts/bench.py $(BENCH_ARGS)

SHOTS ?= /tmp/fluxgym
screenshots: $(VENV)/dev.stamp ## Run the demo and write docs/screenshots/ from the app itself
	@$(BIN)/fluxgym-tui demo --plain --workspace $(SHOTS)
	@$(BIN)/python scripts/make_screenshots.py $(SHOTS)

wheel: $(VENV)/dev.stamp ## Build the wheel and the source archive into dist/
	@$(BIN)/python -m build --outdir dist .

clean: ## Remove what was made here, the virtual environment included
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
