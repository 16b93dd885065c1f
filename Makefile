# Everything runs in .venv, which is made anew whenever pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin

# Where pip finds a CPU build of torch by itself, nothing need be set; else TORCH_INDEX="--extra-index-url ADDRESS".
TORCH_INDEX ?=

.PHONY: demo test torture figures lint format docs

demo: .venv/ready
	rm -rf demo
	$(BIN)/ldseg demo -o demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Can it be broken? Some fifteen minutes on two cores; the figures go into benchmarks/results/torture.json.
torture: .venv/ready
	$(BIN)/python benchmarks/torture.py

# All trainings and scores of benchmarks/plan.py that are missing; what is there: benchmarks/figures.py --list.
figures: .venv/ready
	$(BIN)/python benchmarks/figures.py --data-root $(DATA) --work $(WORK)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/ready
	$(BIN)/mkdocs build --strict --quiet --site-dir site

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt $(TORCH_INDEX) torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[demo,dev,dicom,docs,export]"
	touch $@
