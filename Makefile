# rollout-local: `make help` lists what there is. Everything runs on a machine with only Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q install --no-compile -c $(CONSTRAINTS)
WORKERS = $(shell $(BIN)/python -c 'import os; print(os.cpu_count() + 1)')
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
CONSTRAINTS := experiments/constraints.txt
MAKE_VENV = test -x $(BIN)/python || $(if $(filter 3.%,$(PYTHON)),python3,$(PYTHON)) -m venv $(VENV)
DEMO_DB := .rollout/demo.db

.DEFAULT_GOAL := help
.PHONY: help demo ui test check coverage format lint types layers record record-real bench faults versions airgap clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(MAKE_VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/test-installed: pyproject.toml $(CONSTRAINTS)
	@$(MAKE_VENV)
	$(PIP) -e '.[test]'
	@touch $(VENV)/installed $@

$(VENV)/dev-installed: pyproject.toml $(CONSTRAINTS)
	@$(MAKE_VENV)
	$(PIP) -e '.[test,dev]'
	@touch $(VENV)/installed $(VENV)/test-installed $@

demo: $(VENV)/installed ## replay a run of a real model offline and show its report
	@$(BIN)/rollout experiments reproduce experiments/topic-sorting --report --keep $(DEMO_DB) --quiet
	@echo
	@echo "Browse what the run did:"
	@echo "  make ui"
	@echo "The same with your own model (needs its key):"
	@echo "  cd experiments/topic-sorting && ../../$(BIN)/rollout optimize run --module target --dataset messages.jsonl \\"
	@echo "    --instruction message --expected topic --task-name name --verifier verifier.json --splits-file splits.json \\"
	@echo "    --task-model openai/gpt-4.1-nano --reflection-model openai/gpt-4.1 --max-metric-calls 80"

ui: $(VENV)/installed ## browse the demo's run (or DB=file)
	@$(BIN)/rollout ui --db $(or $(DB),$(DEMO_DB))

test: $(VENV)/test-installed ## the whole test suite
	$(PYTEST) -m "not long"

check: $(VENV)/dev-installed ## format, lint, types, layers, the whole suite with its coverage: what CI calls
	@$(MAKE) -s -j 3 lint types layers
	@$(MAKE) -s coverage
	$(PYTEST) -m "not long and unmeasured"

coverage: $(VENV)/test-installed ## the tests whose branch coverage is measured; fails below 95 %
	$(PYTEST) -m "not long and not unmeasured" --cov --cov-report=term

format: $(VENV)/dev-installed ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev-installed
	$(BIN)/mypy

layers: $(VENV)/dev-installed
	$(BIN)/lint-imports --no-cache

faults: $(VENV)/test-installed ## the long fault suite (minutes)
	$(BIN)/python -m pytest -q -m long

versions: $(VENV)/installed ## the short journey with the versions that people have (minutes; ROWS="lowest openai-2")
	$(BIN)/python -m tests.versions $(ROWS)

bench: $(VENV)/test-installed ## ratios against plain dspy.GEPA and plain vcrpy, in one run (BEFORE=revision: an older build, too)
	BEFORE=$(BEFORE) $(BIN)/python -m tests.bench

record: $(VENV)/installed ## make the shipped recordings again, from the simulator, and their locks
	$(BIN)/python -m tests.record

record-real: $(VENV)/installed ## run the experiments of real models live again and compare (1.3 GB, minutes; NAME= WRITE=1)
	$(BIN)/python -m tests.real_models $(if $(WRITE),--write) $(NAME)

airgap: $(VENV)/installed ## an archive that installs and replays without a network (PLATFORM= PYTHON=3.12 REQUIREMENTS=)
	$(BIN)/python -m tests.airgap $(if $(PLATFORM),--platform $(PLATFORM)) $(if $(filter 3.%,$(PYTHON)),--python $(PYTHON)) $(if $(REQUIREMENTS),--requirements $(REQUIREMENTS))

clean: ## remove what make made
	rm -rf $(VENV) .rollout build dist *.egg-info
