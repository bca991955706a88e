# Baton: `make demo` runs a whole upgrade, `make test` passes the tests, `make check` is what CI runs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check setup compile docs clean bench
demo: setup
	$(BIN)/baton demo $(DEMO_ARGS)

test: compile
	$(BIN)/pytest -n 2 --dist loadfile $(TEST_ARGS)

check: setup
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

docs: setup
	$(BIN)/python scripts/generate.py

bench: compile
	$(BIN)/python benchmarks/run.py

compile: setup
	$(BIN)/python -m compileall -q src
	$(BIN)/python scripts/compile.py

setup: $(STAMP)
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,fast]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) baton-demo .mypy_cache .ruff_cache .pytest_cache
