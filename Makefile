# `make demo` and `make test` need nothing but Python 3.11 or newer: the first use sets up .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test campaign check docs format lint types clean

demo: $(INSTALLED)  ## fit and predict on the embedded demonstration set
	$(BIN)/ensemble-minerals demo --out artifacts/demo

JOBS ?= 2
test: $(INSTALLED)  ## the whole test suite, two files of tests at a time; JOBS=1 for one after the other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile)

SCALE ?= 1
campaign: $(INSTALLED)  ## attack what the program promises, and count: two hours at most; SCALE=0.1 PART=cache for less
	PYTHONPATH=.:tests $(BIN)/python -m campaign --scale $(SCALE) $(addprefix --part ,$(PART))

check: lint types test  ## everything that must be green

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(INSTALLED)
	$(BIN)/mypy --strict

docs: $(INSTALLED)  ## the documentation, into artifacts/site: open index.html there
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Ranges stand in pyproject.toml; constraints.txt is the exact set that was tested. torch and torchvision
# must come from one resolution, or pip may pair releases that do not fit each other.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache
