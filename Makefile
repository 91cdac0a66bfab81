# `make demo` and `make test` are all a newcomer needs; `make check` is for daily work (no engine, no network).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO := demo/qwen3-tiny

.PHONY: demo test check format docs engine browser changelog clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

engine: $(STAMP)
	$(BIN)/seatrial engine install cpu

browser:
	@scripts/ensure_browser.sh

demo: $(STAMP) engine
	test -f $(DEMO)/config.json || $(BIN)/seatrial tiny qwen3 $(DEMO)
	$(BIN)/seatrial run $(DEMO) --target cpu

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/docs.py --check
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m 'not engine and not browser and not hardware'

# The tests that start the engine or a browser run one after another: they want the machine for themselves.
test: $(STAMP) engine browser
	$(BIN)/python scripts/docs.py --check
	$(BIN)/python -m pytest -n 4 --dist worksteal -m 'not engine and not browser'
	$(BIN)/python -m pytest -m 'engine or browser' --durations 25

docs: $(STAMP)
	$(BIN)/python scripts/docs.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

changelog: $(STAMP)
	$(BIN)/python scripts/changelog.py

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
