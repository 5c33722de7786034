# make setup      create .venv and install the embedded models (also part of all targets below)
# make demo       run experiment=quickstart_cls: EvoKD on SNIPS and its pool, ending with a table and
#                 report.html
# make demo-ner   run experiment=quickstart_ner: EvoKD on its own texts, for entities
# make demo-large run experiment=quickstart_large: fetch a teacher four times the size first (478 MB)
# make test       run all other tests, including those with a real vLLM engine and llama.cpp server
# make check      check lint, format, types, imports, and run the tests of configuration and docs
# make format     fix lint and format
# make clean      remove .venv, caches and builds
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup demo demo-ner demo-large test check format clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.tutelage-ready
# Tests of configuration and documentation are a part of `check`, and all others of `test`.
SETTINGS := tests/conf tests/docs
REST := tests $(SETTINGS:%=--ignore %)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh
	@touch $@

demo: $(STAMP)
	@$(BIN)/tutelage train experiment=quickstart_cls

demo-ner: $(STAMP)
	@$(BIN)/tutelage train experiment=quickstart_ner

demo-large: $(STAMP)
	@$(BIN)/tutelage assets qwen2.5-coder-0.5b
	@$(BIN)/tutelage train experiment=quickstart_large

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(REST) -n 2 --dist loadfile -m "not vllm"
	@$(BIN)/python -m pytest tests/integration -m vllm

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SETTINGS) -n 2
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
