# make demo    set up, then the main job on the embedded models, ending with a table and report.html
# make demo-ner  the same for named entities
# make test    set up, then the whole test suite, real-vLLM tests included
# make check   set up, then lint, format, types, import rules, configuration tests and the documentation site
# make setup   the virtual environment in .venv and the embedded models; all of the above do it by themselves
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: setup demo demo-ner test check format clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.tutelage-ready

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh
	@touch $@

demo: $(STAMP)
	@$(BIN)/tutelage train experiment=quickstart_cls

demo-ner: $(STAMP)
	@$(BIN)/tutelage train experiment=quickstart_ner

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not vllm"
	@$(BIN)/python -m pytest -m vllm

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/conf tests/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
